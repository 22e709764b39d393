//! The forge's Git as the run API reads it: clone addresses and the credential
//! that only reads, as an `Authorization` header.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    domain::ids::{RepositoryId, RepositoryName},
    forge::Forge,
};

use super::port::{GitRemote, GitRemotes};

/// Git remotes of a forge.
pub struct ForgeGit {
    forge: Arc<dyn Forge>,
}

impl ForgeGit {
    /// Remotes of this forge, read with its credential.
    pub fn new(forge: Arc<dyn Forge>) -> Self {
        Self { forge }
    }
}

#[async_trait]
impl GitRemotes for ForgeGit {
    async fn remote(
        &self,
        _repository: RepositoryId,
        name: &RepositoryName,
    ) -> anyhow::Result<GitRemote> {
        let url = self.forge.clone_url(name);
        let url = url
            .parse()
            .with_context(|| format!("clone address {url}"))?;
        let credentials = self.forge.git_credentials().await?;
        let pair = format!(
            "{}:{}",
            credentials.username,
            credentials.password.expose_secret()
        );
        let header = format!("Basic {}", STANDARD.encode(pair));
        Ok(GitRemote {
            url,
            authorization: Some(SecretString::from(header)),
        })
    }
}
