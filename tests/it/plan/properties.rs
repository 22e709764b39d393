//! Laws over random worlds: people, pods and failures in any order, a pass after each.
//!
//! What is counted here is counted from outside, from rows before and after,
//! and never asked of the planner itself.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use codex_k8s::{
    domain::{
        forge::SubjectState,
        ids::{AgentKey, ProjectKey},
        run::{Run, RunState},
        trigger::Disposition,
    },
    plan::{Action, ActionKind, Plan, PlanInput, Scope, check, plan},
};
use proptest::{prelude::*, test_runner::RngSeed};

use super::{
    steps::{Step, disturb, live, settle, steps},
    world::{HELLO, World, actor, at, project},
};

fn actions(plans: &[Plan]) -> impl Iterator<Item = &Action> {
    plans.iter().flat_map(|plan| &plan.actions)
}

fn bytes<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("plain data")
}

/// Orders all rows anew by a seed.
fn shuffle(input: &mut PlanInput, seed: u64) {
    fn mix<T: serde::Serialize>(rows: &mut [T], seed: u64) {
        rows.sort_by_cached_key(|row| {
            let text = format!("{seed}{}", serde_json::to_string(row).expect("plain data"));
            codex_k8s::domain::effect::content_hash(text.as_bytes())
        });
    }
    let rows = &mut input.rows;
    mix(&mut rows.repositories, seed);
    mix(&mut rows.identities, seed);
    mix(&mut rows.permissions, seed);
    mix(&mut rows.issues, seed);
    mix(&mut rows.events, seed);
    mix(&mut rows.labels, seed);
    mix(&mut rows.variables, seed);
    mix(&mut rows.pulls, seed);
    mix(&mut rows.reviews, seed);
    mix(&mut rows.comments, seed);
    mix(&mut rows.branches, seed);
    mix(&mut rows.triggers, seed);
    mix(&mut rows.runs, seed);
    mix(&mut rows.attempts, seed);
    mix(&mut rows.environments, seed);
    mix(&mut rows.slots, seed);
    mix(&mut rows.effects, seed);
    mix(&mut rows.facts, seed);
    mix(&mut rows.push_outcomes, seed);
    if let codex_k8s::observed::model::Observed::Known { value, .. } = &mut input.cluster {
        let cluster = std::sync::Arc::make_mut(value);
        mix(&mut cluster.namespaces, seed);
        mix(&mut cluster.jobs, seed);
        mix(&mut cluster.pods, seed);
        mix(&mut cluster.objects, seed);
    }
}

/// What deletes, or ends a run for good.
fn is_destructive(kind: &ActionKind) -> bool {
    match kind {
        ActionKind::DeleteObject { .. }
        | ActionKind::DeleteNamespace { .. }
        | ActionKind::NoteEnvironmentGone { .. } => true,
        ActionKind::MoveRun { from, to, .. } => *from == RunState::Stopping && to.is_terminal(),
        ActionKind::MoveAttempt { to, .. } => *to == codex_k8s::domain::run::AttemptState::Lost,
        _ => false,
    }
}

/// Whether an action writes at the forge, in this repository.
fn writes_at(action: &Action, world: &World) -> Option<codex_k8s::domain::ids::RepositoryId> {
    match &action.kind {
        ActionKind::PushBranch { .. } => Some(world.run(action.run?).repository),
        ActionKind::OpenPullRequest { subject, .. }
        | ActionKind::EditPullRequest { subject, .. }
        | ActionKind::AddLabels { subject, .. }
        | ActionKind::RemoveLabel { subject, .. } => Some(subject.repository),
        ActionKind::UpsertComment { content, .. } => Some(content.subject.repository),
        ActionKind::EnsureLabel { repository_id, .. }
        | ActionKind::SetVariable { repository_id, .. }
        | ActionKind::SetOwnerVariable { repository_id, .. } => Some(*repository_id),
        _ => None,
    }
}

/// A few worlds, always the same; `PROPTEST_CASES` asks for that many new ones.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let base = ProptestConfig {
        failure_persistence: None,
        ..default
    };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return base;
    }
    ProptestConfig {
        cases: 12,
        rng_seed: RngSeed::Fixed(20_261_121),
        ..base
    }
}

proptest! {
    #![proptest_config(config())]

    /// Same input, same bytes, in whatever order the rows come; and saved and read back.
    #[test]
    fn a_plan_depends_on_nothing_but_its_input(steps in steps(), seed in any::<u64>()) {
        let world = live(&steps, |before, _, plans| {
            for planned in plans {
                let mut input = before.input(planned.scope.clone());
                shuffle(&mut input, seed);
                assert_eq!(&plan(&input), planned);
            }
        });
        for scope in [project(), Scope::Orphans] {
            let input = world.input(scope);
            let planned = plan(&input);
            prop_assert_eq!(bytes(&plan(&input)), bytes(&planned));
            let read: PlanInput = serde_json::from_str(&bytes(&input)).expect("it reads back");
            prop_assert_eq!(&read, &input);
            let read: Plan = serde_json::from_str(&bytes(&planned)).expect("it reads back");
            prop_assert_eq!(read, planned);
        }
    }

    /// Whatever happened, once all is well everything ends, and then nothing is done at any
    /// later time and every report says the same.
    #[test]
    fn every_world_comes_to_rest_and_stays_there(steps in steps()) {
        let mut world = live(&steps, |_, _, _| ());
        settle(&mut world);
        // Labels that contradict each other hold a queued run until people take one off.
        let held = |run: &Run| run.state == RunState::Pending && run.held.is_some();
        prop_assert!(
            world.rows.runs.iter().all(|run| run.finalized_at.is_some() || held(run)),
            "{}\n{}", world.show("runs"), world.show("report")
        );
        prop_assert!(world.rows.slots.is_empty());
        prop_assert!(world.cluster.pods.is_empty() && world.cluster.jobs.is_empty());
        for trigger in world.rows.triggers.iter().filter(|trigger| !trigger.settled) {
            let subject = trigger.subject();
            let rival = world.rows.triggers.iter().any(|other| {
                !other.settled && other.kind != trigger.kind && other.subject().repository == subject.repository
            });
            // A label on a closed issue waits for its return.
            let closed = world.issue(subject).is_some_and(|issue| issue.state != SubjectState::Open);
            // What an earlier failure blocked waits for people.
            let blocked = world.issue(subject).is_some_and(|issue| {
                issue.labels.iter().any(|label| ["state:blocked", "need:input"].contains(&label.as_str()))
            });
            prop_assert!(rival || closed || blocked, "{} waits for nothing\n{}", trigger.identity, world.show("report"));
        }
        // Namespaces kept for debugging end by the ceiling, strays by a sweep; then all is at rest.
        world.now += Duration::days(1);
        world.swept_at = Some(world.now);
        settle(&mut world);
        prop_assert!(world.cluster.namespaces.is_empty(), "{}", world.show("namespaces"));
        let reports = |world: &World| [project(), Scope::Orphans].map(|scope| world.plan(scope).report);
        let settled = reports(&world);
        for days in [1, 30, 400] {
            world.now += Duration::days(days);
            world.poll();
            for scope in [project(), Scope::Orphans] {
                let planned = world.plan(scope);
                prop_assert!(planned.is_empty(), "{}", planned);
            }
            prop_assert_eq!(&reports(&world), &settled);
        }
    }

    /// A planner that reads the rows it plans on never loses a race against itself.
    #[test]
    fn no_plan_contradicts_itself(steps in steps()) {
        let world = live(&steps, |_, _, _| ());
        prop_assert_eq!(world.conflicts, Vec::<String>::new());
    }

    /// While the cluster is unknown nothing in it is deleted, and nothing that rests on it ends.
    #[test]
    fn nothing_destructive_rests_on_an_unknown_cluster(steps in steps()) {
        let mut world = live(&steps, |_, _, _| ());
        world.blind = Some("no answer".to_owned());
        world.now += Duration::hours(30);
        for scope in [project(), Scope::Orphans] {
            let planned = world.plan(scope);
            let found = planned.actions.iter().find(|action| is_destructive(&action.kind));
            prop_assert!(found.is_none(), "{:?}", found);
        }
    }

    /// A repository that is unknown, or another installation's, is not written to, and no run
    /// of it is launched, stopped or given up because of that.
    #[test]
    fn a_repository_that_is_not_known_to_be_ours_is_left_alone(steps in steps(), other in any::<bool>()) {
        let mut world = live(&steps, |_, _, _| ());
        world.poll();
        let calm = world.plan(project());
        let stops = |planned: &Plan| -> BTreeSet<String> {
            let kinds = planned.actions.iter().filter(|action| matches!(
                action.kind, ActionKind::MoveRun { to: RunState::Stopping | RunState::Cancelled, .. }
            ));
            kinds.map(|action| action.key.0.clone()).collect()
        };
        if other {
            disturb(&mut world, &Step::OtherInstallation(false));
        } else {
            disturb(&mut world, &Step::Repository(false));
        }
        let planned = world.plan(project());
        for action in &planned.actions {
            prop_assert_ne!(writes_at(action, &world), Some(HELLO), "{}", action.key);
            let launches = matches!(action.kind, ActionKind::LaunchRun { .. } | ActionKind::EnqueueRun { .. });
            prop_assert!(!launches, "{}", action.key);
        }
        prop_assert!(stops(&planned).is_subset(&stops(&calm)), "{}", planned);
    }

    /// Never more runs than slots, limits and the agent allow; one active run per work item,
    /// per branch and per slot; one run per trigger.
    #[test]
    fn limits_hold(steps in steps()) {
        live(&steps, |before, after, plans| {
            let active: Vec<_> = after.rows.runs.iter().filter(|run| run.state.is_active()).collect();
            let launched = actions(plans).any(|action| matches!(action.kind, ActionKind::LaunchRun { .. }));
            if launched {
                let spec = &before.desired.projects[&ProjectKey::from("demo")].spec;
                let count = u32::try_from(active.len()).expect("few");
                let of_agent = before.desired.agent_limit(&ProjectKey::from("demo"), &AgentKey::from("dev"));
                // Slots taken away drain; nothing new is launched beyond them meanwhile.
                assert!(count <= spec.max_runs() && Some(count) <= of_agent);
                let slots = i32::try_from(spec.slots).expect("few");
                for action in actions(plans) {
                    if let ActionKind::LaunchRun { slot, .. } = &action.kind {
                        assert!((1..=slots).contains(&slot.0));
                    }
                }
            }
            let distinct = |count: usize| assert_eq!(count, active.len(), "{}", after.show("runs"));
            distinct(active.iter().map(|run| run.work_subject()).collect::<BTreeSet<_>>().len());
            distinct(active.iter().map(|run| &run.branch).collect::<BTreeSet<_>>().len());
            distinct(active.iter().map(|run| run.slot).collect::<BTreeSet<_>>().len());
            assert_eq!(after.rows.slots.len(), active.len());
            let triggers: BTreeSet<_> = after.rows.runs.iter().map(|run| &run.trigger).collect();
            assert_eq!(triggers.len(), after.rows.runs.len());
        });
    }

    /// Whoever waits is told why: every trigger in play and every run in play has its line.
    #[test]
    fn everything_in_play_has_a_line(steps in steps()) {
        live(&steps, |before, _, plans| {
            let lines: BTreeSet<&str> = plans
                .iter()
                .flat_map(|plan| plan.report.iter().map(|line| line.candidate.as_str()))
                .collect();
            for run in before.rows.runs.iter().filter(|run| run.finalized_at.is_none()) {
                let line = format!("run/{}", run.id);
                assert!(lines.contains(line.as_str()), "{line} ({})\n{}", run.state, before.show("report"));
            }
            for trigger in before.rows.triggers.iter().filter(|trigger| !trigger.settled) {
                if matches!(trigger.disposition, Disposition::Run { .. }) {
                    continue; // Its run has the line.
                }
                let line = format!("trigger/{}", trigger.identity);
                assert!(lines.contains(line.as_str()), "{line} {:?}\n{}", trigger.disposition, before.show("report"));
            }
        });
    }

    /// Nobody but an entitled person starts anything, and nothing starts without a label event.
    #[test]
    fn only_entitled_people_start_runs(steps in steps()) {
        live(&steps, |_, after, _| {
            for run in &after.rows.runs {
                let who = run.actor.as_ref().expect("a label has an actor");
                assert!([actor("ada").id, actor("grace").id].contains(&who.id), "{who:?}");
                let id = &run.trigger.source_id;
                let labelled = after.rows.events.iter().any(|event| event.id.to_string() == *id);
                let reviewed = after.rows.reviews.iter().any(|review| review.id.to_string() == *id);
                assert!(labelled || reviewed);
            }
        });
    }

    /// A plan holds no run token and no key, and what it deletes in the cluster is ours.
    #[test]
    fn plans_hold_no_secret(steps in steps()) {
        live(&steps, |_, _, plans| {
            for planned in plans {
                let text = bytes(planned).to_lowercase();
                for word in ["\"token\"", "bearer ", "private key", "password", "run_token\""] {
                    assert!(!text.contains(word), "{word}");
                }
            }
        });
    }

    /// One event for each key and content, however often it is planned.
    #[test]
    fn a_run_is_recorded_once_at_each_turn(steps in steps()) {
        let mut world = live(&steps, |_, _, _| ());
        settle(&mut world);
        let mut turns: BTreeMap<(String, String), usize> = BTreeMap::new();
        for event in &world.recorded {
            let kind = event.kind.to_string();
            let once = ["run.enqueued", "run.launched", "run.stopping", "run.finished",
                "run.pr.created", "trigger.seen", "trigger.refused", "trigger.withdrawn"];
            if once.contains(&kind.as_str()) {
                *turns.entry((kind, event.correlation.clone())).or_default() += 1;
            }
        }
        for (turn, count) in turns {
            prop_assert_eq!(count, 1, "{:?}", turn);
        }
    }
}

/// The rules find what they are for, so that their silence above means something.
#[test]
fn our_own_rules_find_a_second_run_in_a_slot() {
    let mut world = World::example();
    world.label(at(10), "run:dev", "ada");
    world.label(at(11), "run:dev", "ada");
    let planned = std::iter::repeat_with(|| {
        let planned = world.plan(project());
        world.pass();
        planned
    })
    .take(9)
    .find(|planned| {
        planned
            .actions
            .iter()
            .any(|action| matches!(action.kind, ActionKind::LaunchRun { .. }))
    });
    let mut planned = planned.expect("a launch");
    let mut first = None;
    for action in &mut planned.actions {
        if let ActionKind::LaunchRun { slot, .. } = &mut action.kind {
            *slot = *first.get_or_insert(*slot);
        }
    }
    let mut before = World::example();
    before.label(at(10), "run:dev", "ada");
    before.label(at(11), "run:dev", "ada");
    while !before
        .plan(project())
        .actions
        .iter()
        .any(|action| matches!(action.kind, ActionKind::LaunchRun { .. }))
    {
        before.pass();
    }
    before.poll();
    let (kept, violations) = check::check(&before.input(project()), planned);
    assert_eq!(violations.len(), 1, "{violations:?}");
    let launches = kept
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::LaunchRun { .. }));
    assert_eq!(launches.count(), 1);
}
