//! Postgres that answers, and not as usual: read-only, and with a clock that jumps.

use std::time::Duration;

use codex_k8s::{domain::run::RunState, store::admin};

use super::cast::{Cast, LEASE};

/// Lets new sessions change nothing, or again everything, and ends the present ones.
async fn read_only(cast: &Cast, on: bool) {
    let statement = format!(
        "do $$ begin execute format('alter database %I set default_transaction_read_only = {on}',
             current_database()); end $$"
    );
    // The session itself may be read-only.
    let statement = format!("set transaction_read_only = off; {statement}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&cast.stage.db)
        .await
        .unwrap();
    cast.cut_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_stops_everything_and_nothing_is_doubled_after() {
    let mut cast = Cast::of(1.0).await;
    cast.reconciler("a", &[]);
    cast.until_reconciles("a").await;
    cast.reconciler("b", &[]);
    cast.stage.label(1, "run:dev");
    cast.stage.passed(1, RunState::Preparing).await;
    read_only(&cast, true).await;
    // Longer than any grant of before.
    cast.stage
        .until("nobody holds the lease", || async {
            cast.holder().await.is_none().then_some(())
        })
        .await;
    let quiet = chrono::Utc::now();
    tokio::time::sleep(LEASE / 3).await;
    let sent: Vec<_> = cast
        .sent()
        .into_iter()
        .filter(|sent| sent.at > quiet)
        .collect();
    assert!(sent.is_empty(), "{sent:#?}");
    read_only(&cast, false).await;
    cast.same_end(1).await;
    cast.nothing_left();
    cast.check_fences().await;
    cast.all_alive();
    cast.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_of_postgres_that_jumps_ahead_lets_no_two_write() {
    let mut cast = Cast::of(1.0).await;
    cast.reconciler("a", &[]);
    cast.until_reconciles("a").await;
    cast.reconciler("b", &[]);
    cast.stage.label(1, "run:dev");
    cast.stage.passed(1, RunState::Preparing).await;
    let url = cast.stage.world.database_url();
    admin::set_clock_offset(url, Duration::from_mins(10))
        .await
        .unwrap();
    cast.same_end(1).await;
    cast.nothing_left();
    let terms = cast.terms().await;
    assert!(terms.len() > 1, "the jump ends a term: {terms:?}");
    cast.check_fences_by_our_clock().await;
    cast.all_alive();
    cast.end().await;
}
