//! Databases as such: made and dropped for sandbox and tests, and the shift of
//! the platform's clock that tests move time with.

use std::{str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

use super::{StoreError, lease::interval};

/// Whether a database answers.
pub async fn answers(url: &SecretString) -> bool {
    match connect(url).await {
        Ok(mut db) => db.ping().await.is_ok(),
        Err(_) => false,
    }
}

/// Makes a database beside the one of `url`, empty or as a copy that nobody is connected to;
/// says whether it was not there before.
pub async fn create_database(
    url: &SecretString,
    name: &str,
    template: Option<&str>,
) -> Result<bool, StoreError> {
    let mut db = connect(url).await?;
    let row = sqlx::query!(
        r#"select exists (select 1 from pg_database where datname = $1) as "exists!",
               format('%I', $1::text) as "name!", format('%I', $2::text) as "template!""#,
        name,
        template.unwrap_or("template0"),
    )
    .fetch_one(&mut db)
    .await?;
    if !row.exists {
        let statement = format!("create database {} template {}", row.name, row.template);
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut db)
            .await?;
    }
    db.close().await?;
    Ok(!row.exists)
}

/// Drops a database beside the one of `url`, with whoever is connected to it.
pub async fn drop_database(url: &SecretString, name: &str) -> Result<(), StoreError> {
    let mut db = connect(url).await?;
    let name = sqlx::query_scalar!(r#"select format('%I', $1::text) as "name!""#, name)
        .fetch_one(&mut db)
        .await?;
    let statement = format!("drop database if exists {name} with (force)");
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut db)
        .await?;
    db.close().await?;
    Ok(())
}

/// Drops a login that owns nothing any more.
pub async fn drop_role(url: &SecretString, name: &str) -> Result<(), StoreError> {
    let mut db = connect(url).await?;
    let name = sqlx::query_scalar!(r#"select format('%I', $1::text) as "name!""#, name)
        .fetch_one(&mut db)
        .await?;
    sqlx::query(AssertSqlSafe(format!("drop role if exists {name}")))
        .execute(&mut db)
        .await?;
    db.close().await?;
    Ok(())
}

/// Lets the platform's clock run ahead of the database's by this much. For sandbox and tests;
/// going back is not possible.
pub async fn set_clock_offset(url: &SecretString, ahead: Duration) -> Result<(), StoreError> {
    let mut db = connect(url).await?;
    sqlx::query!(
        "update clock_offset set shift = greatest(shift, $1)",
        interval(ahead),
    )
    .execute(&mut db)
    .await?;
    db.close().await?;
    Ok(())
}

async fn connect(url: &SecretString) -> Result<PgConnection, StoreError> {
    let options =
        PgConnectOptions::from_str(url.expose_secret()).map_err(|_| StoreError::Address)?;
    Ok(PgConnection::connect_with(&options).await?)
}
