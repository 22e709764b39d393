//! Laws over random worlds: people, pods and failures in any order, a pass after each.
//!
//! What is counted here is counted from outside, from rows before and after,
//! and never asked of the planner itself.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use codex_k8s::{
    desired::model::Suspend,
    domain::{
        fact::ResultStatus,
        forge::{Permission, SubjectState},
        ids::{AgentKey, ProjectKey, RunId},
        mirror::OwnerVariable,
        run::{Run, RunState},
        trigger::Disposition,
    },
    plan::{Action, ActionKind, ActionName, Plan, PlanInput, Scope, check, plan},
};
use proptest::{prelude::*, test_runner::RngSeed};

use super::world::{HELLO, World, actor, at, project};

/// After so many passes a world that is still busy will be busy for ever.
const MOST_PASSES: usize = 300;

/// Something that happens to the world.
#[derive(Debug, Clone)]
enum Step {
    Label(i64, usize, usize),
    Unlabel(i64, usize),
    Close(i64),
    Reopen(i64),
    Edit(i64, usize),
    DeleteLabel(usize),
    PodRuns(i64),
    PodFails(i64),
    PodVanishes(i64),
    PodWaits(i64),
    Push(i64),
    Result(i64, bool),
    Work,
    Advance(i64),
    Cluster(bool),
    Repository(bool),
    OtherInstallation(bool),
    Suspend(usize),
    Slots(u32),
    Permissions(bool),
    Fail(usize),
    Mend,
    Linger(bool),
    Stray,
    Comment(i64, usize),
    Review(usize),
}

const LABELS: [&str; 4] = ["run:dev", "run:dev:revise", "run:debug", "run:next"];
const PEOPLE: [&str; 4] = ["ada", "grace", "margaret", "mender"];
const FAILING: [ActionName; 6] = [
    ActionName::OpenPullRequest,
    ActionName::UpsertComment,
    ActionName::RemoveLabel,
    ActionName::ApplyEnvironment,
    ActionName::ApplyAttempt,
    ActionName::PushBranch,
];

fn step() -> impl Strategy<Value = Step> {
    let number = || prop_oneof![6 => 10..13_i64, 1 => Just(51_i64)];
    let label = || prop_oneof![6 => Just(0_usize), 2 => Just(1), 1 => Just(2), 1 => Just(3)];
    let who = || prop_oneof![6 => Just(0_usize), 3 => Just(1), 1 => Just(2), 1 => Just(3)];
    let well = || proptest::bool::weighted(0.75);
    let people = prop_oneof![
        12 => (number(), label(), who()).prop_map(|(n, l, p)| Step::Label(n, l, p)),
        3 => (number(), label()).prop_map(|(n, l)| Step::Unlabel(n, l)),
        1 => number().prop_map(Step::Close),
        2 => number().prop_map(Step::Reopen),
        1 => (number(), who()).prop_map(|(n, p)| Step::Edit(n, p)),
        1 => (0..2_usize).prop_map(Step::DeleteLabel),
        2 => (number(), who()).prop_map(|(n, p)| Step::Comment(n, p)),
        1 => who().prop_map(Step::Review),
    ];
    let pods = prop_oneof![
        3 => number().prop_map(Step::PodRuns),
        2 => number().prop_map(Step::PodFails),
        1 => number().prop_map(Step::PodVanishes),
        1 => number().prop_map(Step::PodWaits),
        3 => number().prop_map(Step::Push),
        3 => (number(), well()).prop_map(|(n, ok)| Step::Result(n, ok)),
        9 => Just(Step::Work),
        4 => (1..600_i64).prop_map(Step::Advance),
        1 => (600..9_000_i64).prop_map(Step::Advance),
    ];
    let disturbances = prop_oneof![
        2 => well().prop_map(Step::Cluster),
        2 => well().prop_map(Step::Repository),
        1 => well().prop_map(Step::OtherInstallation),
        1 => prop_oneof![4 => Just(0_usize), 1 => Just(1), 1 => Just(2)].prop_map(Step::Suspend),
        1 => prop_oneof![1 => 0..2_u32, 3 => 2..4_u32].prop_map(Step::Slots),
        1 => well().prop_map(Step::Permissions),
        1 => (0..FAILING.len()).prop_map(Step::Fail),
        2 => Just(Step::Mend),
        1 => well().prop_map(|instantly| Step::Linger(!instantly)),
        1 => Just(Step::Stray),
    ];
    prop_oneof![5 => people, 6 => pods, 1 => disturbances]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..70)
}

fn live_run(world: &World, number: i64) -> Option<RunId> {
    world
        .rows
        .runs
        .iter()
        .find(|run| run.work_subject() == at(number) && run.state.is_active())
        .map(|run| run.id)
}

fn happen(world: &mut World, step: &Step) {
    let on_run = |world: &mut World, number: i64, act: &dyn Fn(&mut World, RunId)| {
        if let Some(run) = live_run(world, number) {
            act(world, run);
        }
    };
    match *step {
        Step::Label(n, ..) if n == 51 && world.issue(at(n)).is_none() => {}
        Step::Label(n, label, who) => world.label(at(n), LABELS[label], PEOPLE[who]),
        Step::Unlabel(n, label) => world.unlabel(at(n), LABELS[label], "ada"),
        Step::Close(n) => world.close(at(n), "ada"),
        Step::Reopen(n) => world.reopen(at(n), "ada"),
        Step::Edit(n, who) => world.edit(at(n), PEOPLE[who]),
        Step::DeleteLabel(label) => world.delete_label(HELLO, LABELS[label], "ada"),
        Step::PodRuns(n) => on_run(world, n, &|world, run| world.pod_runs(run)),
        Step::PodFails(n) => on_run(world, n, &|world, run| world.pod_fails(run, 1)),
        Step::PodVanishes(n) => on_run(world, n, &|world, run| world.pod_vanishes(run)),
        Step::PodWaits(n) => on_run(world, n, &|world, run| {
            world.pod_waits(run, "ImagePullBackOff");
        }),
        Step::Push(n) => on_run(world, n, &|world, run| {
            world.push(run);
        }),
        Step::Result(n, true) => on_run(world, n, &|world, run| {
            world.result(run, ResultStatus::Completed);
        }),
        Step::Result(n, false) => on_run(world, n, &|world, run| {
            world.result(run, ResultStatus::Failed);
        }),
        Step::Comment(n, who) => world.comment(at(n), PEOPLE[who]),
        Step::Review(who) => world.review(at(51), PEOPLE[who]),
        Step::Work => world.pods_work(),
        Step::Advance(seconds) => world.now += Duration::seconds(seconds),
        _ => disturb(world, step),
    }
}

fn disturb(world: &mut World, step: &Step) {
    match *step {
        Step::Cluster(known) => world.blind = (!known).then(|| "no answer".to_owned()),
        Step::Repository(known) => {
            world.repository_mut(HELLO).unknown = (!known).then(|| "no answer".to_owned());
        }
        Step::OtherInstallation(ours) => {
            world.repository_mut(HELLO).owner_variable = if ours {
                OwnerVariable::Ours
            } else {
                OwnerVariable::Other {
                    installation: "elsewhere".to_owned(),
                }
            };
        }
        Step::Suspend(mode) => {
            world.spec().suspend = [Suspend::None, Suspend::Start, Suspend::Stop][mode];
        }
        Step::Slots(slots) => world.spec().slots = slots,
        Step::Permissions(known) => {
            let all = [
                ("ada", Permission::Admin),
                ("grace", Permission::Write),
                ("margaret", Permission::Read),
            ];
            let all = all.map(|(login, permission)| (actor(login).id, permission));
            world.permissions = known.then(|| BTreeMap::from(all));
            if !known {
                world.rows.permissions.clear();
            }
        }
        Step::Fail(action) => {
            world.failing.insert(FAILING[action]);
        }
        Step::Mend => world.failing.clear(),
        Step::Linger(lingers) => world.lingering = lingers,
        Step::Stray => world.stray_namespace("codex-issue-stray"),
        _ => {}
    }
}

/// Everything is well again: all is read, nothing fails, nothing is suspended.
fn heal(world: &mut World) {
    for step in [
        Step::Cluster(true),
        Step::Repository(true),
        Step::OtherInstallation(true),
        Step::Suspend(0),
        Step::Slots(2),
        Step::Permissions(true),
        Step::Mend,
        Step::Linger(false),
    ] {
        disturb(world, &step);
    }
    // Pods that were on their way out are gone, too.
    world
        .cluster
        .pods
        .retain(|pod| pod.deletion_timestamp.is_none());
    world
        .cluster
        .jobs
        .retain(|job| job.deletion_timestamp.is_none());
    world.finish_terminating();
}

/// Steps, each followed by one to four passes, and a look after each pass.
fn live(steps: &[Step], look: impl Fn(&World, &World, &[Plan])) -> World {
    let mut world = World::example();
    for (at, step) in steps.iter().enumerate() {
        happen(&mut world, step);
        for _ in 0..=at % 4 {
            let mut before = world.clone();
            before.poll();
            let plans = world.pass();
            look(&before, &world, &plans);
        }
    }
    world
}

/// Honest pods and passes until nothing happens any more.
fn settle(world: &mut World) {
    heal(world);
    let mut rest = 0;
    for _ in 0..MOST_PASSES {
        world.pods_work();
        let busy = world.pass().iter().any(|plan| !plan.is_empty());
        rest = if busy { 0 } else { rest + 1 };
        if rest == 3 {
            return;
        }
        if !busy {
            world.now += Duration::minutes(6);
        }
    }
    panic!(
        "it never comes to rest:\n{}\n{}",
        world.show("actions"),
        world.show("report")
    );
}

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
            prop_assert!(rival || closed, "{} waits for nothing\n{}", trigger.identity, world.show("report"));
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
                let event = after.rows.events.iter().find(|event| event.id.to_string() == run.trigger.source_id);
                assert!(event.is_some());
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
