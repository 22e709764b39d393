//! Migrations: they keep to the rules, apply once, and grant the API no more than it needs.

use std::{fs, path::Path};

use codex_k8s::store::{Store, migrate};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::postgres::TestDatabase;

fn files() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap().to_lowercase())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn migrations_keep_to_the_rules() {
    let files = files();
    assert!(!files.is_empty());
    for (name, sql) in &files {
        let (version, words) = name.split_once('_').expect("VERSION_verb_noun.sql");
        assert!(
            version.len() == 14 && version.parse::<u64>().is_ok(),
            "{name}: version"
        );
        assert!(
            words.trim_end_matches(".sql").contains('_'),
            "{name}: verb and noun"
        );
        for banned in [
            " now()",
            "current_timestamp",
            "drop table",
            "drop column",
            "rename ",
        ] {
            assert!(!sql.contains(banned), "{name}: `{banned}`");
        }
        let naive = sql
            .replace("clock_timestamp()", "")
            .replace("timestamptz", "");
        assert!(
            !naive.contains("timestamp"),
            "{name}: times are timestamptz"
        );
        for table in sql.split("create table ").skip(1) {
            let (table, rest) = table.split_once(' ').unwrap();
            let body = &rest[..rest.find("\n);").unwrap()];
            let timeless = ["clock_offset", "lease"].contains(&table);
            assert!(
                timeless || body.contains("created_at"),
                "{name}: {table} has no created_at"
            );
        }
    }
}

#[tokio::test]
async fn migrating_twice_and_at_once_changes_nothing_more() {
    let database = TestDatabase::empty().await;
    let store = Store::connect(&database.settings()).await.unwrap();
    assert!(!store.schema_is_current().await.unwrap());
    let role = database.api_role().await;
    let (first, second) = tokio::join!(
        migrate(&database.url, Some(&role)),
        migrate(&database.url, Some(&role))
    );
    first.unwrap();
    second.unwrap();
    migrate(&database.url, Some(&role)).await.unwrap();
    assert!(store.schema_is_current().await.unwrap());
    assert!(database.api().await.schema_is_current().await.unwrap());
}

/// What the API's login may do, as `table: right, right`, without `select`.
#[tokio::test]
async fn the_api_login_may_insert_facts_and_change_nothing() {
    let database = TestDatabase::new().await;
    let mut db = PgConnection::connect(database.api_url.expose_secret())
        .await
        .unwrap();
    let rights: Vec<(String, bool, bool, bool, bool)> = sqlx::query_as(
        "select tablename::text, has_table_privilege(tablename::text, 'insert'),
             has_any_column_privilege(tablename::text, 'update'),
             has_table_privilege(tablename::text, 'delete'),
             has_table_privilege(tablename::text, 'truncate')
         from pg_tables where schemaname = 'public' order by tablename",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    assert!(rights.len() > 20);
    let writes: Vec<_> = rights
        .iter()
        .filter(|(_, insert, ..)| *insert)
        .map(|(table, ..)| table.as_str())
        .collect();
    assert_eq!(
        writes,
        [
            "approval_decisions",
            "log_chunks",
            "model_calls",
            "push_packs",
            "run_facts",
            "sessions",
            "tool_calls"
        ]
    );
    for (table, _, update, delete, truncate) in &rights {
        assert!(!update && !delete && !truncate, "{table}");
    }
    for statement in [
        "update runs set state = 'succeeded'",
        "delete from run_facts",
        "insert into effects (key, kind) values ('k', 'k')",
        "select epoch from lease for update",
        "create table mine (id int)",
    ] {
        let refused = sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&mut db)
            .await;
        let error = refused.expect_err(statement);
        let code = error
            .as_database_error()
            .and_then(|e| e.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
    }
}
