//! Report lines: written when they change, gone when their candidate is.

use codex_k8s::domain::{
    ids::ProjectKey,
    report::{ReportLine, ReportState},
};

use super::fixtures::{World, subject};

fn line(candidate: &str, state: ReportState, reason: &str) -> ReportLine {
    ReportLine {
        candidate: candidate.to_owned(),
        project: Some(ProjectKey::from("shop")),
        subject: Some(subject(1)),
        run: None,
        state,
        reason: reason.to_owned(),
    }
}

#[tokio::test]
async fn only_lines_that_changed_are_written_and_vanished_ones_deleted() {
    let world = World::new().await;
    let shop = ProjectKey::from("shop");
    let first = [
        line("trigger/1", ReportState::Waiting, "for identities"),
        line("run/1", ReportState::Queued, "behind run 2"),
    ];
    let mut tx = world.begin().await;
    assert_eq!(tx.put_report(Some(&shop), &first).await.unwrap(), 2);
    assert_eq!(tx.put_report(Some(&shop), &first).await.unwrap(), 0);
    let moved = [line("run/1", ReportState::Running, "at work")];
    assert_eq!(tx.put_report(Some(&shop), &moved).await.unwrap(), 2);
    let other = ProjectKey::from("other");
    assert_eq!(tx.put_report(Some(&other), &[]).await.unwrap(), 0);
    tx.commit().await.unwrap();

    let kept = world.store.reads().report_lines(Some(&shop)).await.unwrap();
    assert_eq!(kept, moved);
    assert_eq!(
        world.store.reads().report_of(subject(1)).await.unwrap(),
        moved
    );
}
