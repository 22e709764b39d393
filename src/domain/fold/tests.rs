//! The event fold, case by case and as properties.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::domain::{
    forge::{AccountKind, Actor},
    ids::{IssueNumber, RepositoryId, UserId},
};

const US: i64 = 1;
const ADA: i64 = 1001;

fn actor(id: i64) -> Actor {
    Actor {
        id: UserId(id),
        login: format!("user-{id}"),
        kind: AccountKind::User,
    }
}

fn own() -> Vec<OwnIdentity> {
    vec![OwnIdentity {
        actor: actor(US),
        app_slug: None,
    }]
}

fn event(id: i64, by: i64, what: IssueEventKind) -> IssueEvent {
    IssueEvent {
        id: EventId(id),
        repository: RepositoryId(7),
        number: IssueNumber(3),
        what,
        actor: Some(actor(by)),
        via_app: None,
        created_at: DateTime::UNIX_EPOCH,
    }
}

fn dev() -> LabelName {
    LabelName::from("run:dev")
}

fn labeled(id: i64) -> IssueEvent {
    event(id, ADA, IssueEventKind::Labeled { label: dev() })
}

fn unlabeled(id: i64, by: i64) -> IssueEvent {
    event(id, by, IssueEventKind::Unlabeled { label: dev() })
}

fn existing() -> LabelRecord {
    LabelRecord {
        name: dev(),
        colour: String::new(),
        description: String::new(),
    }
}

/// Folds with `run:dev` existing and returns which sightings are live, oldest first.
#[track_caller]
fn check_live(events: &[IssueEvent], live: &[bool]) {
    let existing = existing();
    let own = own();
    let ctx = FoldContext {
        own: &own,
        existing_labels: Some(&[&existing]),
        unconfirmed: &[],
    };
    let refs: Vec<_> = events.iter().collect();
    let found: Vec<_> = fold(&refs, ctx).iter().map(is_open).collect();
    assert_eq!(found, live);
}

#[test]
fn a_label_is_live_until_someone_takes_it_off() {
    check_live(&[labeled(1)], &[true]);
    check_live(&[labeled(1), unlabeled(2, ADA)], &[false]);
}

#[test]
fn off_and_on_again_are_two_triggers() {
    check_live(&[labeled(1), unlabeled(2, ADA), labeled(3)], &[false, true]);
}

#[test]
fn our_own_removal_withdraws_nothing() {
    check_live(&[labeled(1), unlabeled(2, US)], &[true]);
}

#[test]
fn closing_withdraws_for_good() {
    let closed = event(2, ADA, IssueEventKind::Closed);
    let reopened = event(3, ADA, IssueEventKind::Reopened);
    check_live(&[labeled(1), closed, reopened], &[false]);
}

#[test]
fn a_label_deleted_from_the_repository_withdraws_nothing() {
    let own = own();
    let ctx = FoldContext {
        own: &own,
        existing_labels: Some(&[]),
        unconfirmed: &[],
    };
    let (on, off) = (labeled(1), unlabeled(2, ADA));
    let found = fold(&[&on, &off], ctx);
    assert_eq!(found[0].withdrawn_by, None);
    assert_eq!(found[0].ignored, Some(EventId(2)));
}

#[test]
fn of_a_label_that_we_just_made_an_unlabeled_counts_for_nothing_yet() {
    let (own, existing) = (own(), existing());
    let ctx = FoldContext {
        own: &own,
        existing_labels: Some(&[&existing]),
        unconfirmed: &[&dev()],
    };
    let (on, off) = (labeled(1), unlabeled(2, ADA));
    let found = fold(&[&on, &off], ctx);
    assert_eq!(found[0].withdrawn_by, None);
}

#[test]
fn an_older_removal_does_not_withdraw_a_newer_label() {
    check_live(&[labeled(5), unlabeled(2, ADA)], &[true]);
}

fn any_event() -> impl Strategy<Value = IssueEvent> {
    let what = prop_oneof![
        Just(IssueEventKind::Labeled { label: dev() }),
        Just(IssueEventKind::Unlabeled { label: dev() }),
        Just(IssueEventKind::Closed),
        Just(IssueEventKind::Reopened),
    ];
    (1..40_i64, prop_oneof![Just(US), Just(ADA)], what)
        .prop_map(|(id, by, what)| event(id, by, what))
}

proptest! {
    #[test]
    fn order_and_repetition_of_events_change_nothing(
        mut events in proptest::collection::vec(any_event(), 0..20),
        seed in any::<u64>(),
    ) {
        events.sort_by_key(|event| event.id);
        events.dedup_by_key(|event| event.id);
        let existing = existing();
        let own = own();
        let ctx = FoldContext { own: &own, existing_labels: Some(&[&existing]), unconfirmed: &[] };
        let straight: Vec<_> = events.iter().collect();
        let mut shuffled: Vec<_> = events.iter().chain(events.iter()).collect();
        let turn = usize::try_from(seed % 17).unwrap() % shuffled.len().max(1);
        shuffled.rotate_left(turn);
        prop_assert_eq!(fold(&straight, ctx), fold(&shuffled, ctx));
    }

    #[test]
    fn at_most_the_labels_after_the_last_removal_are_live(
        events in proptest::collection::vec(any_event(), 0..20),
    ) {
        let existing = existing();
        let own = own();
        let ctx = FoldContext { own: &own, existing_labels: Some(&[&existing]), unconfirmed: &[] };
        let refs: Vec<_> = events.iter().collect();
        let mut unique = refs.clone();
        unique.sort_by_key(|event| event.id);
        unique.dedup_by_key(|event| event.id);
        let last_end = unique.iter().filter(|event| match event.what {
            IssueEventKind::Unlabeled { .. } => !is_own(event, &own),
            IssueEventKind::Closed => true,
            _ => false,
        }).map(|event| event.id).max();
        for sighting in fold(&refs, ctx) {
            let after = last_end.is_none_or(|end| sighting.event.id > end);
            prop_assert_eq!(is_open(&sighting), after);
        }
    }
}
