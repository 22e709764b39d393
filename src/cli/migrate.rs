//! `codex-k8s migrate`: brings the database's schema up to date and makes the
//! API's login. Applying it again changes nothing.

use anyhow::Context;
use secrecy::SecretString;

use crate::store::{ApiRole, migrate};

/// Arguments of `codex-k8s migrate`.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// The database's address, with a login that owns its tables.
    #[arg(long, env = "CODEXK8S_DATABASE_URL", hide_env_values = true)]
    database_url: SecretString,
    /// The address that the API roles connect with; its login is made with the rights to add
    /// facts and to read. Without it the API roles use the main login.
    #[arg(long, env = "CODEXK8S_API_DATABASE_URL", hide_env_values = true)]
    api_database_url: Option<SecretString>,
}

/// Runs it.
pub async fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    let role = args
        .api_database_url
        .as_ref()
        .map(ApiRole::from_url)
        .transpose()
        .context("read the API's login from its database address")?;
    migrate(&args.database_url, role.as_ref())
        .await
        .context("migrate the database")?;
    tracing::info!("the schema is up to date");
    Ok(())
}
