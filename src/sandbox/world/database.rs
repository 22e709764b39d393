//! The world's database with its two logins: a private server's, or a new one on
//! the server that `DATABASE_URL` names.

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::{
    sandbox::postgres::{Durability, PrivatePostgres},
    store::{ApiRole, admin, migrate},
};

/// A database of the world's own; it goes with the server, or by [`WorldDatabase::remove`].
#[derive(Debug)]
pub(super) struct WorldDatabase {
    /// The reconciler's login.
    pub(super) url: SecretString,
    /// The API roles' login.
    pub(super) api_url: SecretString,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Private {
        server: PrivatePostgres,
    },
    Beside {
        url: SecretString,
        name: String,
        user: String,
    },
}

impl WorldDatabase {
    /// Makes the database; `shared` is a server to make it on.
    pub(super) async fn make(shared: Option<SecretString>) -> anyhow::Result<Self> {
        let id = Uuid::new_v4().simple().to_string();
        let name = format!("codexk8s_{}", &id[..12]);
        let user = format!("{name}_api");
        let password = &id[12..];
        let database = if let Some(url) = shared {
            Self {
                url: at(&url, &name, None)?,
                api_url: at(&url, &name, Some((&user, password)))?,
                place: Place::Beside { url, name, user },
            }
        } else {
            let server = PrivatePostgres::start(None, Durability::Fast).await?;
            Self {
                url: server.url(&name),
                api_url: server.url_as(&name, &user, password),
                place: Place::Private { server },
            }
        };
        database.fill().await?;
        Ok(database)
    }

    /// The server, where it is our own.
    pub(super) fn private(&self) -> Option<&PrivatePostgres> {
        match &self.place {
            Place::Private { server } => Some(server),
            Place::Beside { .. } => None,
        }
    }

    async fn fill(&self) -> anyhow::Result<()> {
        let (root, name) = self.parts()?;
        admin::create_database(&root, &name, None)
            .await
            .context("make the database")?;
        let role = ApiRole::from_url(&self.api_url).context("read the API's login")?;
        migrate(&self.url, Some(&role))
            .await
            .context("migrate the database")
    }

    fn parts(&self) -> anyhow::Result<(SecretString, String)> {
        let url = url::Url::parse(self.url.expose_secret()).context("read the database's URL")?;
        let name = url.path().trim_start_matches('/').to_owned();
        let root = match &self.place {
            Place::Private { .. } => at(&self.url, "postgres", None)?,
            Place::Beside { url, .. } => url.clone(),
        };
        Ok((root, name))
    }

    /// Drops what was made on a server that stays.
    pub(super) async fn remove(&self) -> anyhow::Result<()> {
        if let Place::Beside { url, name, user } = &self.place {
            admin::drop_database(url, name).await?;
            admin::drop_role(url, user).await?;
        }
        Ok(())
    }
}

/// The same server's other database, as another login where one is given.
fn at(url: &SecretString, name: &str, login: Option<(&str, &str)>) -> anyhow::Result<SecretString> {
    let mut url = url::Url::parse(url.expose_secret()).context("read DATABASE_URL")?;
    url.set_path(name);
    if let Some((user, password)) = login {
        let set = url.set_username(user).is_ok() && url.set_password(Some(password)).is_ok();
        anyhow::ensure!(set, "DATABASE_URL takes no login");
    }
    Ok(String::from(url).into())
}
