//! How long planning takes as a project grows: a settled project with so many open issues, each
//! with label history and a finished trigger. Prints the minimum, median and maximum of several
//! rounds side by side, and the ratio of the medians, so that only one machine's one run counts.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark's answer is what it prints"
)]

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta};
use codex_k8s::{
    cluster::snapshot::ClusterSnapshot,
    desired::load::{load, read_folder},
    domain::{
        forge::{
            AccountKind, Actor, EditHistory, ForgeKind, Issue, IssueEvent, IssueEventKind,
            OwnIdentity, RepositoryRecord, SubjectState,
        },
        ids::{
            BranchName, CommitSha, EventId, IssueNumber, LabelName, ProjectKey, RepositoryId,
            ReviewId, UserId,
        },
        mirror::{IdentityRecord, MirrorCursors, OwnerVariable, RepositoryMirror},
        snapshot::{RepositoryLabel, StoreSnapshot},
    },
    observed::model::Observed,
    plan::{PlanInput, PlanSettings, Scope, plan},
};

const ROUNDS: usize = 15;

fn main() {
    let mut medians = Vec::new();
    for issues in [100, 1_000, 10_000] {
        let input = settled(issues);
        let actions = plan(&input).actions.len();
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                black_box(plan(black_box(&input)));
                began.elapsed()
            })
            .collect();
        times.sort();
        let median = times[ROUNDS / 2];
        println!(
            "plan, {issues:>6} open issues ({actions} actions): min {:?}, median {median:?}, max {:?}",
            times[0],
            times[ROUNDS - 1]
        );
        medians.push(median.as_secs_f64());
    }
    for pair in medians.windows(2) {
        println!(
            "ten times the issues cost {:.1} times the time",
            pair[1] / pair[0]
        );
    }
}

/// A project at rest: labels came and went on every issue before the repository was bound.
fn settled(issues: i64) -> PlanInput {
    let state = Path::new(env!("CARGO_MANIFEST_DIR")).join("state");
    let files = read_folder(&state).expect("the example organisation is in the tree");
    let desired = load(CommitSha::new("0".repeat(40)), files).expect("it validates");
    let labels = desired
        .labels
        .triggers
        .iter()
        .map(|label| label.name.clone());
    let all = labels
        .chain(
            desired
                .labels
                .state
                .iter()
                .map(|(_, label)| label.name.clone()),
        )
        .chain(desired.labels.need.values().map(|label| label.name.clone()))
        .chain([desired.labels.debug.name.clone()]);
    let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    let repository = RepositoryId(7);
    let rows = StoreSnapshot {
        now,
        repositories: vec![mirror(repository)],
        identities: vec![IdentityRecord {
            credential: "main".to_owned(),
            identity: OwnIdentity {
                actor: actor(1),
                app_slug: None,
            },
        }],
        labels: all.map(|name| label(repository, name)).collect(),
        issues: (1..=issues)
            .map(|number| issue(repository, number))
            .collect(),
        events: (1..=issues)
            .flat_map(|number| [(number, true), (number, false)])
            .map(|(number, on)| event(repository, number, on))
            .collect(),
        ..StoreSnapshot::default()
    };
    PlanInput {
        now,
        installation: "bench".parse().expect("it is an installation id"),
        scope: Scope::Project {
            project: ProjectKey::new("demo"),
        },
        desired: Some(Arc::new(desired)),
        settings: PlanSettings::default(),
        rows,
        cluster: Observed::Known {
            at: now,
            value: Arc::new(ClusterSnapshot::default()),
        },
        swept_at: None,
    }
}

fn actor(id: i64) -> Actor {
    Actor {
        id: UserId(id),
        login: format!("user-{id}"),
        kind: AccountKind::User,
    }
}

fn mirror(id: RepositoryId) -> RepositoryMirror {
    let name: codex_k8s::domain::ids::RepositoryName = "example-org/hello"
        .parse()
        .expect("it is a repository's name");
    RepositoryMirror {
        forge: ForgeKind::Github,
        project: ProjectKey::new("demo"),
        configured_name: name.clone(),
        record: RepositoryRecord {
            id,
            name,
            default_branch: BranchName::new("main"),
            default_head: None,
            archived: false,
            html_url: String::new(),
            clone_url: String::new(),
        },
        bound_at: DateTime::UNIX_EPOCH,
        binding_event: EventId(0),
        binding_review: ReviewId(0),
        adopt_existing: false,
        cursors: MirrorCursors::default(),
        unknown: None,
        complete: true,
        owner_variable: OwnerVariable::Ours,
    }
}

fn label(repository: RepositoryId, name: LabelName) -> RepositoryLabel {
    RepositoryLabel {
        repository,
        label: codex_k8s::domain::forge::LabelRecord {
            name,
            colour: "1f6feb".to_owned(),
            description: String::new(),
        },
    }
}

fn issue(repository: RepositoryId, number: i64) -> Issue {
    Issue {
        repository,
        number: IssueNumber(number),
        node_id: format!("I_{number}"),
        title: "A title".to_owned(),
        body: "A body of some words.".repeat(20),
        state: SubjectState::Open,
        is_pull_request: false,
        author: Some(actor(1001)),
        labels: vec![LabelName::from("bug")],
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        edits: EditHistory::Read { edits: Vec::new() },
        html_url: String::new(),
    }
}

fn event(repository: RepositoryId, number: i64, on: bool) -> IssueEvent {
    let label = LabelName::from("bug");
    let what = if on {
        IssueEventKind::Labeled { label }
    } else {
        IssueEventKind::Unlabeled { label }
    };
    IssueEvent {
        id: EventId(number * 2 + i64::from(!on)),
        repository,
        number: IssueNumber(number),
        what,
        actor: Some(actor(1001)),
        via_app: None,
        created_at: DateTime::UNIX_EPOCH,
    }
}
