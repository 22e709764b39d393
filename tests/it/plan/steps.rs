//! What happens to a random world, step by step, and how it is put right.

use std::collections::BTreeMap;

use chrono::Duration;
use codex_k8s::{
    desired::model::Suspend,
    domain::{fact::ResultStatus, forge::Permission, ids::RunId, mirror::OwnerVariable},
    plan::{ActionName, Plan},
};
use proptest::prelude::*;

use super::world::{HELLO, World, actor, at};

/// After so many passes a world that is still busy will be busy for ever.
pub(super) const MOST_PASSES: usize = 300;

/// Something that happens to the world.
#[derive(Debug, Clone)]
pub(super) enum Step {
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
    Ask(i64, usize),
    Decide(i64, usize, bool),
    Spoil(i64),
}

pub(super) const LABELS: [&str; 4] = ["run:dev", "run:dev:revise", "run:debug", "run:next"];
pub(super) const PEOPLE: [&str; 4] = ["ada", "grace", "margaret", "mender"];
pub(super) const FAILING: [ActionName; 6] = [
    ActionName::OpenPullRequest,
    ActionName::UpsertComment,
    ActionName::RemoveLabel,
    ActionName::ApplyEnvironment,
    ActionName::ApplyAttempt,
    ActionName::PushBranch,
];

pub(super) fn step() -> impl Strategy<Value = Step> {
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
        2 => (number(), who(), well()).prop_map(|(n, p, yes)| Step::Decide(n, p, yes)),
        1 => number().prop_map(Step::Spoil),
    ];
    let pods = prop_oneof![
        3 => number().prop_map(Step::PodRuns),
        2 => number().prop_map(Step::PodFails),
        1 => number().prop_map(Step::PodVanishes),
        1 => number().prop_map(Step::PodWaits),
        3 => number().prop_map(Step::Push),
        3 => (number(), well()).prop_map(|(n, ok)| Step::Result(n, ok)),
        2 => (number(), label()).prop_map(|(n, l)| Step::Ask(n, l)),
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

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..70)
}

pub(super) fn live_run(world: &World, number: i64) -> Option<RunId> {
    world
        .rows
        .runs
        .iter()
        .find(|run| run.work_subject() == at(number) && run.state.is_active())
        .map(|run| run.id)
}

pub(super) fn happen(world: &mut World, step: &Step) {
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
        Step::Ask(n, label) => on_run(world, n, &|world, run| {
            let asks = [LABELS[label].into()];
            world.result_asking(run, ResultStatus::Completed, &asks);
        }),
        Step::Decide(n, who, yes) => {
            if let Some(code) = world.code(at(n)) {
                let word = if yes { "approve" } else { "deny" };
                world.say(at(n), PEOPLE[who], &format!("/{word} {code}"), None);
            }
        }
        Step::Spoil(n) => {
            let ours = |row: &&codex_k8s::domain::forge::Comment| {
                row.repository == HELLO
                    && row.number == at(n).number
                    && row.author.as_ref() == Some(&actor("platform"))
            };
            if world.rows.comments.iter().any(|row| ours(&row)) {
                world.edit_comment(at(n), "platform", Some("Something else."));
            }
        }
        Step::Comment(n, who) => world.comment(at(n), PEOPLE[who]),
        Step::Review(who) => world.review(at(51), PEOPLE[who]),
        Step::Work => world.pods_work(),
        Step::Advance(seconds) => world.now += Duration::seconds(seconds),
        _ => disturb(world, step),
    }
}

pub(super) fn disturb(world: &mut World, step: &Step) {
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
pub(super) fn heal(world: &mut World) {
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
pub(super) fn live(steps: &[Step], look: impl Fn(&World, &World, &[Plan])) -> World {
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
pub(super) fn settle(world: &mut World) {
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
