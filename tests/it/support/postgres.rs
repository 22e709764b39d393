//! Real Postgres for tests: one server for the test process (or `DATABASE_URL`),
//! and for each test a fresh database copied from a migrated template.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use codex_k8s::{
    sandbox::postgres::{Durability, PrivatePostgres},
    store::{ApiRole, ApiStore, LeaseGrant, Store, StoreSettings, admin, migrate},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

static SERVER: OnceCell<Server> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The lease of tests: long enough never to run out by itself.
pub(crate) const LEASE: Duration = Duration::from_mins(10);

struct Server {
    /// Stops with the process.
    private: Option<PrivatePostgres>,
    given: Option<String>,
    template: String,
    api: ApiRole,
}

impl Server {
    async fn start() -> Self {
        let given = std::env::var("DATABASE_URL")
            .ok()
            .filter(|url| !url.is_empty());
        let private = match given {
            Some(_) => None,
            None => Some(
                PrivatePostgres::start(None, Durability::Fast)
                    .await
                    .unwrap(),
            ),
        };
        let id = uuid::Uuid::new_v4().simple().to_string();
        let server = Self {
            private,
            given,
            template: format!("codexk8s_template_{id}"),
            api: ApiRole {
                user: format!("codexk8s_api_{id}"),
                password: "only-for-tests".into(),
            },
        };
        let admin_url = server.admin();
        admin::create_database(&admin_url, &server.template, None)
            .await
            .unwrap();
        migrate(&server.url(&server.template), Some(&server.api))
            .await
            .unwrap();
        server
    }

    fn admin(&self) -> SecretString {
        self.url("postgres")
    }

    fn url(&self, database: &str) -> SecretString {
        match (&self.private, &self.given) {
            (Some(private), _) => private.url(database),
            (None, Some(given)) => {
                let mut url: url::Url = given.parse().unwrap();
                url.set_path(database);
                url.to_string().into()
            }
            (None, None) => unreachable!("a server is private or given"),
        }
    }
}

/// A fresh database.
pub(crate) struct TestDatabase {
    /// Its address as owner.
    pub(crate) url: SecretString,
    /// Its address as the API's login.
    pub(crate) api_url: SecretString,
}

impl TestDatabase {
    /// A fresh database with the schema.
    pub(crate) async fn new() -> Self {
        Self::copied(true).await
    }

    /// A fresh database without the schema.
    pub(crate) async fn empty() -> Self {
        Self::copied(false).await
    }

    async fn copied(migrated: bool) -> Self {
        let server = SERVER.get_or_init(Server::start).await;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}_{number}", server.template.replace("template", "test"));
        let template = migrated.then_some(server.template.as_str());
        admin::create_database(&server.admin(), &name, template)
            .await
            .unwrap();
        let url = server.url(&name);
        let mut api_url: url::Url = url.expose_secret().parse().unwrap();
        api_url.set_username(&server.api.user).unwrap();
        api_url
            .set_password(Some(server.api.password.expose_secret()))
            .unwrap();
        Self {
            url,
            api_url: api_url.to_string().into(),
        }
    }

    /// Settings to connect as owner.
    pub(crate) fn settings(&self) -> StoreSettings {
        small(&self.url)
    }

    /// The store as the reconciler has it.
    pub(crate) async fn store(&self) -> Store {
        Store::connect(&self.settings()).await.unwrap()
    }

    /// The store as the API has it, over its own login.
    pub(crate) async fn api(&self) -> ApiStore {
        ApiStore::connect(&small(&self.api_url)).await.unwrap()
    }

    /// The API's login, for migrating an empty database.
    pub(crate) async fn api_role(&self) -> ApiRole {
        SERVER.get_or_init(Server::start).await.api.clone()
    }

    /// Drops it, with whoever is connected to it.
    pub(crate) async fn remove(self) {
        let server = SERVER.get_or_init(Server::start).await;
        let url: url::Url = self.url.expose_secret().parse().unwrap();
        let name = url.path().trim_start_matches('/');
        admin::drop_database(&server.admin(), name).await.unwrap();
    }

    /// Lets the platform's clock run ahead by this much.
    pub(crate) async fn shift_clock(&self, ahead: Duration) {
        admin::set_clock_offset(&self.url, ahead).await.unwrap();
    }
}

fn small(url: &SecretString) -> StoreSettings {
    StoreSettings {
        max_connections: 5,
        application_name: "codex-k8s-tests".to_owned(),
        ..StoreSettings::new(url.expose_secret())
    }
}

/// The lease, taken by `holder`.
pub(crate) async fn acquire(store: &Store, holder: &str) -> LeaseGrant {
    store
        .try_acquire(holder, LEASE)
        .await
        .unwrap()
        .expect("the lease is free")
}
