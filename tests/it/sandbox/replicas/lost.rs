//! The lease is lost while something is under way.

use std::time::Duration;

use codex_k8s::{
    domain::{Timestamp, run::RunState},
    sandbox::{
        github::{Fault, FaultRule},
        seed::{PLATFORM_LOGIN, REPOSITORY},
    },
};
use rustix::process::Signal;

use super::{
    cast::{Cast, LEASE},
    link::Link,
};

const PULLS: &str = "POST /repos/{owner}/{repo}/pulls";
const COMMENTS: &str = "POST /repos/{owner}/{repo}/issues/{issue_number}/comments";
/// As long as an answer may take before it is a time-out.
const SLOW: Duration = Duration::from_secs(1);

/// The replica sent nothing from then on.
fn silent_since(cast: &Cast, name: &str, since: Timestamp) {
    let late: Vec<_> = cast
        .sent()
        .into_iter()
        .filter(|sent| sent.at > since && sent.holder.starts_with(&format!("{name}-")))
        .collect();
    assert!(late.is_empty(), "{late:#?}");
}

async fn stands_by(cast: &Cast, name: &str) {
    cast.stage
        .until(&format!("{name} stands by"), || async {
            let (code, text) = cast.probe(name, "/readyz").await;
            (code == 200 && !text.contains("forge")).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_cut_off_from_postgres_falls_silent_and_another_finishes() {
    let mut cast = Cast::of(0.5).await;
    let postgres = cast.stage.world.postgres().unwrap().port();
    let link = Link::to(postgres).await;
    let url = cast.url_over(&link);
    cast.reconciler("a", &[("CODEXK8S_DATABASE_URL", url.as_str())]);
    cast.until_reconciles("a").await;
    cast.reconciler("b", &[]);
    cast.slow(PULLS, SLOW);
    cast.stage.label(1, "run:dev");
    cast.until_sent(PULLS).await;
    link.freeze(true);
    let (code, text) = cast.probe("a", "/readyz").await;
    assert!(code == 503 && text.contains("postgres"), "{text}");
    assert_eq!(cast.probe("a", "/healthz").await.0, 200);
    cast.until_reconciles("b").await;
    let taken = chrono::Utc::now();
    let (_, metrics) = cast.probe("a", "/metrics").await;
    let knows = metrics
        .lines()
        .any(|line| line == "codexk8s_lease_holder 0");
    assert!(knows, "it learns of it by its own clock: {metrics}");
    cast.same_end(1).await;
    link.freeze(false);
    stands_by(&cast, "a").await;

    // The row says that the holder's time is over: it learns of it when it renews.
    cast.slow(COMMENTS, SLOW);
    cast.stage.label(2, "run:dev");
    cast.until_sent(PULLS).await;
    let holder = cast.holder().await.unwrap();
    assert_eq!(holder, "b");
    sqlx::query("update lease set until = clock_timestamp()")
        .execute(&cast.stage.db)
        .await
        .unwrap();
    cast.same_end(2).await;
    let terms = cast.terms().await;
    let last = terms.last().unwrap();
    let former = &terms[terms.len() - 2];
    assert!(
        !former.given_back && last.epoch == former.epoch + 1,
        "{terms:?}"
    );
    // By its own clock the former holder had a lease's time from its last renewal on.
    let first = cast
        .sent()
        .into_iter()
        .find(|sent| sent.at >= last.from && sent.holder == last.holder);
    let lease = chrono::Duration::from_std(LEASE / 2).unwrap();
    assert!(first.unwrap().at >= former.until + lease);
    cast.nothing_left();
    silent_since_unless_holding(&cast, "a", taken, &last.holder);
    cast.all_alive();
    cast.end().await;
}

/// Silent since then, except in a term of its own.
fn silent_since_unless_holding(cast: &Cast, name: &str, since: Timestamp, holder: &str) {
    if !holder.starts_with(&format!("{name}-")) {
        silent_since(cast, name, since);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_frozen_with_a_request_on_the_wire_sends_no_other_when_it_wakes() {
    // It works until after the takeover: an edit that follows finds what arrives late.
    let mut cast = Cast::of(25.0).await;
    cast.reconciler("a", &[]);
    cast.until_reconciles("a").await;
    cast.reconciler("b", &[]);
    // Its comment is on the wire until further notice.
    let on_the_wire = Fault::LostRequest { hold_ms: 120_000 };
    let github = cast.stage.world.github();
    github.add_fault(FaultRule::once(COMMENTS, on_the_wire));
    cast.stage.label(1, "run:dev");
    cast.until_sent(COMMENTS).await;
    cast.signal("a", Signal::STOP);
    // The other one looks for it in vain and makes it, too; only then it arrives.
    let comment = cast
        .stage
        .until("the comment is made", || async {
            cast.stage.comments(1).pop()
        })
        .await;
    let taken = chrono::Utc::now();
    let github = cast.stage.world.github();
    github
        .comment(REPOSITORY, 1, PLATFORM_LOGIN, &comment)
        .unwrap();
    cast.stage.finished(1, RunState::Succeeded).await;
    cast.signal("a", Signal::CONT);
    stands_by(&cast, "a").await;
    cast.same_end(1).await;
    cast.nothing_left();
    silent_since(&cast, "a", taken);
    cast.check_fences().await;
    cast.all_alive();
    cast.end().await;
}
