//! Postgres goes away and comes back under load.

use std::time::Duration;

use codex_k8s::{domain::run::RunState, sandbox::postgres::Shutdown};

use super::cast::Cast;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_postgres_and_cut_connections_change_no_end() {
    let mut cast = Cast::of(1.0).await;
    cast.reconciler("a", &[]);
    cast.until_reconciles("a").await;
    cast.reconciler("b", &[]);
    cast.stage.label(1, "run:dev");
    cast.stage.label(2, "run:dev");
    let ways = [
        (RunState::Preparing, Some(Shutdown::Fast)),
        (RunState::Running, Some(Shutdown::Immediate)),
        (RunState::Stopping, None),
    ];
    for (state, how) in ways {
        cast.stage.passed(1, state).await;
        match how {
            Some(how) => cast
                .stage
                .world
                .postgres()
                .unwrap()
                .restart(how)
                .await
                .unwrap(),
            None => {
                for _ in 0..5 {
                    cast.cut_all().await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
    cast.same_end(1).await;
    cast.same_end(2).await;
    cast.nothing_left();
    for name in ["api", "a", "b"] {
        assert_eq!(cast.probe(name, "/healthz").await.0, 200);
        let ready = || async { (cast.probe(name, "/readyz").await.0 == 200).then_some(()) };
        cast.stage.until(&format!("{name} is ready"), ready).await;
    }
    cast.check_fences().await;
    cast.all_alive();
    cast.end().await;
}
