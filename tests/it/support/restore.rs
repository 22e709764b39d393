//! A backup of a database's rows, and the database set back to it under whoever is connected.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Columns that number themselves: a restore sets their sequences back as well.
const NUMBERED: [(&str, &str); 3] = [
    ("run_facts", "fact_id"),
    ("sessions", "session_id"),
    ("flow_events", "event_id"),
];

async fn run_sql(db: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(db)
        .await
        .unwrap();
}

/// All tables but what a test moves its clock with.
async fn tables(db: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select tablename::text from pg_tables
         where schemaname = 'public' and tablename not in ('_sqlx_migrations', 'clock_offset')",
    )
    .fetch_all(db)
    .await
    .unwrap()
}

/// Keeps all rows as they are at one moment under a name, in place of an earlier backup of it.
pub(crate) async fn back_up(db: &mut PgConnection, name: &str) {
    let mut tx = db.begin().await.unwrap();
    run_sql(
        &mut tx,
        "set transaction isolation level repeatable read".to_owned(),
    )
    .await;
    let schema = format!("backup_{name}");
    run_sql(
        &mut tx,
        format!("drop schema if exists {schema} cascade; create schema {schema}"),
    )
    .await;
    for table in tables(&mut tx).await {
        run_sql(
            &mut tx,
            format!("create table {schema}.{table} as table public.{table}"),
        )
        .await;
    }
    tx.commit().await.unwrap();
}

/// Sets all rows back to a backup.
pub(crate) async fn set_back(db: &mut PgConnection, name: &str) {
    let mut tx = db.begin().await.unwrap();
    run_sql(
        &mut tx,
        "set local session_replication_role = replica".to_owned(),
    )
    .await;
    for table in tables(&mut tx).await {
        let statement = format!(
            "delete from public.{table};
             insert into public.{table} overriding system value
             select * from backup_{name}.{table}"
        );
        run_sql(&mut tx, statement).await;
    }
    for (table, column) in NUMBERED {
        let statement = format!(
            "select setval(pg_get_serial_sequence('{table}', '{column}'),
                           (select coalesce(max({column}), 0) + 1 from {table}), false)"
        );
        run_sql(&mut tx, statement).await;
    }
    tx.commit().await.unwrap();
}
