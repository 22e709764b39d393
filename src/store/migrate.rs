//! Migrating the schema and granting the API's login exactly what it may do.
//!
//! Several migrators at once wait for each other on an advisory lock. A login
//! for the API may add facts and read; it changes and deletes nothing.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, migrate::Migrator, postgres::PgConnectOptions,
};

use super::{ApiStore, Store, StoreError};

/// All migrations, in order.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// What migrators lock: any number that is nobody else's.
const LOCK: i64 = 0x0c0d_e8f5;

/// Tables that the API's login may add rows to.
const INSERTS: &str = "run_facts, push_packs, log_chunks, sessions, \
    approval_decisions, model_calls, tool_calls";

/// Tables that the API's login may read.
const SELECTS: &str = "_sqlx_migrations, approval_decisions, approvals, attempts, clock_offset, config_candidate, \
    config_revisions, effects, environments, flow_events, forge_issues, forge_pulls, lease, \
    log_chunks, members, model_calls, projects, push_outcomes, push_packs, report_lines, repositories, \
    run_facts, runs, sessions, slots, tool_calls, triggers";

/// The API's login.
#[derive(Debug, Clone)]
pub struct ApiRole {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: SecretString,
}

impl ApiRole {
    /// The login of a database address; [`StoreError::Address`] where it has none.
    pub fn from_url(url: &SecretString) -> Result<Self, StoreError> {
        let url = url::Url::parse(url.expose_secret()).map_err(|_| StoreError::Address)?;
        let user = decoded(url.username());
        let password = decoded(url.password().ok_or(StoreError::Address)?);
        if user.is_empty() || password.is_empty() {
            return Err(StoreError::Address);
        }
        Ok(Self {
            user,
            password: password.into(),
        })
    }
}

/// Undoes percent encoding.
fn decoded(text: &str) -> String {
    // A plus is a blank in forms, but itself in addresses.
    let form = format!("_={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(form.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Brings the schema up to date and, where asked, makes the API's login with its rights.
/// Applying it again changes nothing.
pub async fn migrate(url: &SecretString, api_role: Option<&ApiRole>) -> Result<(), StoreError> {
    let options =
        PgConnectOptions::from_str(url.expose_secret()).map_err(|_| StoreError::Address)?;
    let mut db = PgConnection::connect_with(&options).await?;
    let result = migrate_locked(&mut db, api_role).await;
    // The lock goes with the connection, also after an error.
    db.close().await?;
    result
}

async fn migrate_locked(
    db: &mut PgConnection,
    api_role: Option<&ApiRole>,
) -> Result<(), StoreError> {
    sqlx::query!("select pg_advisory_lock($1)", LOCK)
        .execute(&mut *db)
        .await?;
    MIGRATIONS.run(&mut *db).await?;
    if let Some(role) = api_role {
        grant(db, role).await?;
    }
    Ok(())
}

async fn grant(db: &mut PgConnection, role: &ApiRole) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    // Names and passwords cannot be parameters of these statements: the database quotes them.
    let login = sqlx::query!(
        r#"select exists (select 1 from pg_roles where rolname = $1) as "exists!",
               format('%I', $1::text) as "user!", format('%L', $2::text) as "password!""#,
        role.user,
        role.password.expose_secret(),
    )
    .fetch_one(&mut *tx)
    .await?;
    let user = &login.user;
    let verb = if login.exists { "alter" } else { "create" };
    let statements = [
        format!(
            "{verb} role {user} with login nosuperuser nocreatedb nocreaterole password {}",
            login.password
        ),
        format!("revoke all on all tables in schema public from {user}"),
        format!("revoke all on all sequences in schema public from {user}"),
        "revoke create on schema public from public".to_owned(),
        format!("grant usage on schema public to {user}"),
        format!("grant insert on {INSERTS} to {user}"),
        format!("grant select on {SELECTS} to {user}"),
    ];
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

impl Store {
    /// Whether every migration of this program is applied; newer ones do no harm.
    pub async fn schema_is_current(&self) -> Result<bool, StoreError> {
        is_current(&self.pool).await
    }
}

impl ApiStore {
    /// Whether every migration of this program is applied; newer ones do no harm.
    pub async fn schema_is_current(&self) -> Result<bool, StoreError> {
        is_current(&self.pool).await
    }
}

async fn is_current(pool: &sqlx::PgPool) -> Result<bool, StoreError> {
    // Not a checked query: the table is made by the migrations themselves.
    let applied: Result<Vec<i64>, sqlx::Error> =
        sqlx::query_scalar("select version from _sqlx_migrations where success")
            .fetch_all(pool)
            .await;
    match applied {
        Ok(applied) => Ok(MIGRATIONS
            .iter()
            .all(|migration| applied.contains(&migration.version))),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Ok(false),
        Err(error) => Err(error.into()),
    }
}
