//! From holder to holder: by death, and by being told to stop.

use std::time::Duration;

use codex_k8s::{
    domain::run::RunState,
    sandbox::kubernetes::{Fault, FaultRule, Verb},
};

use super::cast::{Cast, ENDS_WITHIN, LEASE, MARGIN, PASS, name_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_replicas_one_writes_and_the_next_goes_on_where_it_died_or_stopped() {
    let mut cast = Cast::of(1.0).await;
    cast.reconciler("a", &[]);
    cast.until_reconciles("a").await;
    cast.reconciler("b", &[]);
    cast.reconciler("c", &[]);
    for standby in ["b", "c"] {
        let (code, text) = cast.probe(standby, "/readyz").await;
        assert!(code == 200 && !text.contains("forge"), "{text}");
        assert_eq!(cast.probe(standby, "/healthz").await.0, 200);
        // Its watch of the cluster is warm, and it waits for its turn.
        assert!(!cast.log(standby).contains("lease taken"));
    }

    // In the middle of building a run's namespace it dies: what follows needs nobody's answer.
    let rule = FaultRule {
        verb: Some(Verb::Apply),
        resource: None,
        fault: Fault::Slow(Duration::from_millis(200)),
        times: None,
        per_million: None,
    };
    cast.stage.world.kubernetes().unwrap().fault(rule);
    cast.stage.label(1, "run:dev");
    cast.stage.run_in(1, RunState::Preparing).await;
    let killed = chrono::Utc::now();
    cast.take("a").kill().unwrap();
    let second = cast
        .stage
        .until("another holds the lease", || async {
            cast.holder().await.filter(|name| name != "a")
        })
        .await;
    let first = cast.first_sent_by(&second).await;
    let after = (first.at - killed).to_std().unwrap();
    assert!(after <= LEASE + MARGIN + PASS, "{after:?}: {first:?}");
    cast.same_end(1).await;

    // And there the next one is told to stop.
    cast.stage.label(2, "run:dev");
    cast.stage.run_in(2, RunState::Preparing).await;
    let name = if second == "b" { "b" } else { "c" };
    let told = chrono::Utc::now();
    let status = cast.take(name).stop(ENDS_WITHIN).await.unwrap();
    assert!(status.success(), "{status}");
    let third = if second == "b" { "c" } else { "b" };
    let first = cast.first_sent_by(third).await;
    let terms = cast.terms().await;
    let [.., before, last] = &terms[..] else {
        panic!("{terms:?}")
    };
    assert!(
        before.given_back && name_of(&last.holder) == third,
        "{terms:?}"
    );
    assert!(before.until >= told);
    let after = (first.at - before.until).to_std().unwrap();
    assert!(
        after <= PASS,
        "{after:?} after it was given back: {first:?}"
    );
    cast.same_end(2).await;
    cast.nothing_left();
    cast.check_fences().await;
    cast.all_alive();
    cast.end().await;
}
