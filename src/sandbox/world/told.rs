//! What `serve` is told: the sandbox's settings.

use std::{collections::BTreeMap, path::Path};

use secrecy::ExposeSecret;

use super::{
    MODEL_KEYS, PLATFORM_NAMESPACE, Secrets, WorldOptions, config_repo::ConfigRepo,
    database::WorldDatabase,
};
use crate::sandbox::github::GitHubModel;

/// All that `serve`'s settings are made of.
pub(super) struct Told<'a> {
    pub(super) folder: &'a Path,
    pub(super) options: &'a WorldOptions,
    pub(super) secrets: &'a Secrets,
    pub(super) github: &'a GitHubModel,
    pub(super) database: &'a WorldDatabase,
    pub(super) config: &'a ConfigRepo,
    pub(super) kubeconfig: &'a Path,
    pub(super) installation: &'a str,
    pub(super) ports: [u16; 3],
}

impl Told<'_> {
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        let [run, api, ops] = self.ports;
        let address = self.options.run_address;
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let tokens = &self.secrets.tokens;
        let database = self.database;
        let told = [
            ("INSTALLATION_ID", self.installation.to_owned()),
            ("DATABASE_URL", database.url.expose_secret().to_owned()),
            (
                "API_DATABASE_URL",
                database.api_url.expose_secret().to_owned(),
            ),
            ("CONFIG_SOURCE", self.config.path().display().to_string()),
            ("FORGE_API_URL", self.github.rest_url()),
            ("FORGE_GRAPHQL_URL", self.github.graphql_url()),
            ("FORGE_GIT_URL", self.github.base_url()),
            ("FORGE_TOKEN", tokens.writing.clone()),
            ("FORGE_READ_TOKEN", tokens.reading.clone()),
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("PLATFORM_NAMESPACE", PLATFORM_NAMESPACE.to_owned()),
            (
                "RUN_LISTEN",
                std::net::SocketAddr::new(address, run).to_string(),
            ),
            ("RUN_CIDR", format!("{address}/{prefix}")),
            ("RUN_TOKEN_KEYS", format!("1:{}", self.secrets.run_key)),
            (
                "RUN_GIT_CACHE",
                self.folder.join("git-cache").display().to_string(),
            ),
            (
                "MODEL_KEYS",
                self.folder.join(MODEL_KEYS).display().to_string(),
            ),
            ("API_LISTEN", format!("127.0.0.1:{api}")),
            ("API_TOKEN", self.secrets.api_token.clone()),
            ("OPS_LISTEN", format!("127.0.0.1:{ops}")),
            ("PROFILE", "sandbox".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        told.into_iter()
            .map(|(name, value)| (format!("CODEXK8S_{name}"), value))
            .collect()
    }
}
