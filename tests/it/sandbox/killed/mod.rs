//! A pod with a real agent program is killed wherever its run may stand: the next attempt goes
//! on from the last session, and the end is one branch, one pull request and all the work.

mod gate;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use codex_k8s::{
    domain::run::{Run, RunState},
    sandbox::{
        models::ModelScript,
        seed::{AgentProgram, PERSON, REPOSITORY},
    },
};

use self::gate::{Call, Gate, Moment, Point};
use super::stage::{Stage, note};
use crate::support::agents::programs_for_test;

/// Runs side by side.
const SLOTS: usize = 3;
/// From the end of one run to that of the next.
const LIMIT: Duration = Duration::from_mins(4);

const fn point(name: &'static str, call: Call, nth: usize, moment: Moment) -> Point {
    let talk = false;
    Point {
        name,
        call,
        nth,
        moment,
        talk,
    }
}

/// A point at which a session with some of the talk is saved.
const fn later(name: &'static str, call: Call, nth: usize, moment: Moment) -> Point {
    let talk = true;
    Point {
        name,
        call,
        nth,
        moment,
        talk,
    }
}

/// The life of an attempt, from its first word to its last. Its program pushes once by itself,
/// and once for it the runner does.
const POINTS: [Point; 40] = {
    use Call::*;
    use Moment::*;
    [
        point("asks for its facts", Facts, 1, Sent),
        point("its facts are on their way", Facts, 1, Answered),
        point("first heartbeat", Heartbeat, 1, Sent),
        point("first heartbeat is taken", Heartbeat, 1, Answered),
        point("begins to clone", CloneRefs, 1, Sent),
        point("clone: asks for objects", CloneTalk, 2, Sent),
        point("clone: half of the objects", CloneTalk, 2, HalfHeard),
        point("clone: all are on their way", CloneTalk, 2, Answered),
        point("says that it has cloned", Log("is checked out"), 1, Sent),
        point("log upload cut", Log("is checked out"), 1, Cut),
        point("asks for a session", ReadSession, 1, Sent),
        point("is told of no session", ReadSession, 1, Answered),
        point("program: first question", Model, 1, Sent),
        point("program: first answer", Model, 1, Answered),
        point("program: half an answer", Model, 1, HalfHeard),
        point("program: after a command", Model, 2, Sent),
        point("snapshot: before", Snapshot, 1, Sent),
        point("snapshot: half", Snapshot, 1, Cut),
        later("snapshot: saved", Snapshot, 1, Answered),
        later("program: second answer", Model, 2, Answered),
        later("program pushes: before", PushRefs, 1, Sent),
        later("program pushes: sent", Push, 1, Sent),
        later("program pushes: half", Push, 1, Cut),
        later("program pushes: received", Push, 1, Begun),
        later("program pushes: done", Push, 1, Answered),
        later("program: after its push", Model, 3, Sent),
        later("program: last question", Model, 4, Sent),
        later("program: last answer", Model, 4, Answered),
        later("program: has ended", Log("turn.completed"), 1, Sent),
        later("work committed", PushRefs, 2, Sent),
        later("push: half", Push, 2, Cut),
        later("push: received", Push, 2, Begun),
        later("push: received, the forge away", Push, 2, BegunForgeAway),
        later("push: done", Push, 2, Answered),
        later("last session: before", LastSession, 1, Sent),
        later("last session: half", LastSession, 1, Cut),
        later("last session: saved", LastSession, 1, Answered),
        later("result: before", Result, 1, Sent),
        later("result: half", Result, 1, Cut),
        later("result: taken", Result, 1, Answered),
    ]
};

/// Points of different kinds, for every day. More of them would wait for the forge's budget of
/// writes.
const FEW: [&str; 4] = [
    "clone: half of the objects",
    "snapshot: saved",
    "push: received, the forge away",
    "result: taken",
];

/// A program that looks at what is there, as a real one does: each command makes sure of what
/// the ones before it did. The second pushes what there is by itself.
fn script() -> ModelScript {
    let lines = |last: usize| {
        format!(
            "set -e; file=notes-$CODEXK8S_ISSUE_NUMBER.txt; touch $file; \
             for line in $(seq {last}); do grep -qx $line $file || echo $line >> $file; done"
        )
    };
    // A program may withhold its key from its commands.
    let push = "git add -A; git diff --cached --quiet || git commit -qm 'Two lines'; \
         key=$(tr '\\0' '\\n' < /proc/$PPID/environ | sed -n 's/^CODEXK8S_MODEL_ACCESS_KEY=//p'); \
         git -c http.extraHeader=\"Authorization: Bearer $key\" \
         push origin HEAD:refs/heads/$CODEXK8S_BRANCH";
    ModelScript {
        commands: vec![lines(1), format!("{}; {push}", lines(2)), lines(3)],
        answer: "{\"summary\": \"Wrote three lines.\", \"title\": \"Write lines\"}".to_owned(),
        pause: Duration::ZERO,
    }
}

/// As many runs side by side as the test plays.
fn allow_runs(stage: &Stage) {
    let slots = format!("slots: {SLOTS}");
    let path = "projects/demo/project.yaml";
    let project = stage.config_file(path);
    let project = project
        .replace("slots: 2", &slots)
        .replace("maxRuns: 2", &format!("maxRuns: {SLOTS}"))
        .replace("dev: 2", &format!("dev: {SLOTS}"));
    assert!(project.contains(&slots), "{project}");
    let policy = "policies/standard.yaml";
    let parallel = format!("maxParallelRuns: {SLOTS}");
    let text = stage.config_file(policy);
    let text = text.replace("maxParallelRuns: 2", &parallel);
    let files = [(path, project.as_str()), (policy, text.as_str())];
    stage
        .world
        .config()
        .commit("Allow more runs", files)
        .unwrap();
}

/// Plays a run for each point, and demands of each the end of an undisturbed one.
async fn killed_at(points: Vec<Point>) {
    let Some(programs) = programs_for_test() else {
        return;
    };
    let mut stage = Stage::prepare_program(AgentProgram::Codex, programs).await;
    stage.world.model().unwrap().follow(script());
    allow_runs(&stage);
    let github = stage.world.github();
    let issues: BTreeMap<i64, Point> = points
        .into_iter()
        .map(|point| {
            let text = "One number a line.";
            let number = github.open_issue(REPOSITORY, PERSON, point.name, text, &[]);
            (i64::try_from(number.unwrap()).unwrap(), point)
        })
        .collect();
    let upstream = &stage.world.settings()["CODEXK8S_RUN_LISTEN"];
    let gate = Arc::new(Gate {
        db: stage.db.clone(),
        upstream: format!("http://{upstream}"),
        pods: stage.world.folder().join("pods"),
        faults: (
            format!("{}/_model/faults", github.base_url()),
            github.control_secret().to_owned(),
        ),
        points: issues.clone(),
        lives: Mutex::default(),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    });
    let address = gate.open().await;
    stage.world.set("CODEXK8S_RUN_URL", &address);
    stage.serve().await;
    let began = Instant::now();
    for number in issues.keys() {
        stage.label(u64::try_from(*number).unwrap(), "run:dev");
    }
    let mut wrong = Vec::new();
    for (number, point) in &issues {
        let run = stage
            .within(LIMIT, point.name, || async {
                let run = stage.runs_on(*number).await.pop()?;
                let over = run.finalized_at.is_some();
                (over
                    && !stage
                        .run_namespaces()
                        .iter()
                        .any(|name| is_of(name, *number)))
                .then_some(run)
            })
            .await;
        let faults = judged(&stage, &gate, &run, point).await;
        let told = gate.life(run.id, 2).told.unwrap_or_default().len();
        let result = if faults.is_empty() {
            "ok".to_owned()
        } else {
            format!("WRONG: {}", faults.join("; "))
        };
        note(&format!(
            "{:?}: killed at `{}`: {result}, the next attempt was told of {told} commands",
            began.elapsed(),
            point.name
        ));
        wrong.extend(
            faults
                .iter()
                .map(|fault| format!("{}: {fault}", point.name)),
        );
    }
    note(&format!("{} points in {:?}", issues.len(), began.elapsed()));
    wrong.extend(left_over(&stage).await);
    assert!(
        wrong.is_empty(),
        "{}\n{}",
        wrong.join("\n"),
        stage.history().await
    );
    stage.end().await;
}

/// Whether a namespace is that of an issue's run.
fn is_of(namespace: &str, number: i64) -> bool {
    namespace.contains(&format!("-i{number}-r"))
}

/// What is otherwise than after an undisturbed run, and what was not as the point says.
async fn judged(stage: &Stage, gate: &Gate, run: &Run, point: &Point) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, what: String| {
        if !holds {
            wrong.push(what);
        }
    };
    let number = u64::try_from(run.number.0).unwrap();
    let first = gate.life(run.id, 1);
    expect(first.killed, "the point did not come by".to_owned());
    let state = (run.state, run.reason.clone());
    expect(run.state == RunState::Succeeded, format!("{state:?}"));
    let runs = stage.runs_on(run.number.0).await.len();
    expect(runs == 1, format!("{runs} runs"));
    let attempts: i64 = sqlx::query_scalar("select count(*) from attempts where run_id = $1")
        .bind(run.id.0)
        .fetch_one(&stage.db)
        .await
        .unwrap();
    let handed_in = point.call == Call::Result && point.moment == Moment::Answered;
    let wanted = if handed_in { 1 } else { 2 };
    expect(attempts == wanted, format!("{attempts} attempts"));

    // The talk: what was saved of it is told again.
    let saved = &first.saved;
    expect(
        saved.is_empty() != point.talk,
        format!("saved were {saved:?}"),
    );
    let told = gate.life(run.id, 2).told.unwrap_or_default();
    let continued = handed_in || saved.is_subset(&told);
    expect(continued, format!("saved were {saved:?}, told {told:?}"));

    // The work: all lines, and every commit that was received.
    let branch = format!("codex/issue-{number}");
    let github = stage.world.github();
    let text = github.file_on(REPOSITORY, &branch, &format!("notes-{number}.txt"));
    expect(text.as_deref() == Some("1\n2\n3\n"), format!("{text:?}"));
    let pushes: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "select f.payload ->> 'new', coalesce(o.outcome ->> 'outcome', 'open'),
                o.outcome ->> 'reason'
         from run_facts f left join push_outcomes o using (fact_id)
         where f.run_id = $1 and f.kind = 'push'",
    )
    .bind(run.id.0)
    .fetch_all(&stage.db)
    .await
    .unwrap();
    let repository = forge_repository(stage);
    let head = github
        .branch_commit(REPOSITORY, &branch)
        .unwrap_or_default();
    for (new, outcome, reason) in &pushes {
        // Two pushes of one attempt may be under way at once where the forge is slow.
        let raced = reason.as_ref().is_some_and(|it| it.contains("fetch first"));
        expect(
            outcome == "accepted" || raced,
            format!("the push of {new} is {outcome}: {reason:?}"),
        );
        let lost = outcome == "accepted" && !is_in(&repository, new, &head);
        expect(!lost, format!("{new} is lost"));
    }
    expect(!pushes.is_empty(), "nothing was pushed".to_owned());

    let branches: Vec<String> = branches_of(&repository, &branch);
    expect(branches == [branch.clone()], format!("{branches:?}"));
    let pulls = stage.pulls().into_iter().map(|pull| stage.issue(pull));
    let pulls: Vec<_> = pulls
        .filter(|pull| pull["pull"]["head"] == branch.as_str())
        .collect();
    expect(pulls.len() == 1, format!("{} pull requests", pulls.len()));
    expect(
        pulls
            .iter()
            .all(|pull| pull["pull"]["head_sha"] == head.as_str()),
        format!("the head is {head}: {pulls:?}"),
    );
    let comments = stage.comments(number).len();
    expect(comments == 1, format!("{comments} comments"));
    let labels = stage.labels(number);
    expect(labels == ["state:in-review"], format!("{labels:?}"));
    wrong
}

/// What no run may leave.
async fn left_over(stage: &Stage) -> Vec<String> {
    let mut left = stage.run_namespaces();
    left.extend(
        stage
            .pod_processes()
            .iter()
            .map(|id| format!("process {id}")),
    );
    let packs = stage.table("push_packs").await;
    if packs != serde_json::json!([]) {
        left.push("packs of pushes".to_owned());
    }
    let quarantines = stage.world.folder().join("git-cache/quarantine");
    let quarantines = std::fs::read_dir(quarantines).unwrap().flatten();
    left.extend(quarantines.map(|entry| entry.path().display().to_string()));
    left.iter().map(|what| format!("left is {what}")).collect()
}

fn forge_repository(stage: &Stage) -> git2::Repository {
    let id = stage.world.github().repository_id(REPOSITORY).unwrap();
    let path = stage.world.folder().join(format!("github/{id}.git"));
    git2::Repository::open_bare(path).unwrap()
}

/// Whether a commit is in the history of another.
fn is_in(repository: &git2::Repository, commit: &str, head: &str) -> bool {
    let (Ok(commit), Ok(head)) = (git2::Oid::from_str(commit), git2::Oid::from_str(head)) else {
        return false;
    };
    commit == head
        || repository
            .graph_descendant_of(head, commit)
            .unwrap_or(false)
}

/// Branches whose names begin so, but for a longer number.
fn branches_of(repository: &git2::Repository, begin: &str) -> Vec<String> {
    let all = repository.branches(Some(git2::BranchType::Local)).unwrap();
    let names = all.flatten().filter_map(|(branch, _)| {
        let name = branch.name().ok().flatten()?.to_owned();
        let rest = name.strip_prefix(begin)?;
        (!rest.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
    });
    names.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_points_of_every_kind_a_run_loses_no_work() {
    let few = POINTS.into_iter().filter(|it| FEW.contains(&it.name));
    let few: Vec<_> = few.collect();
    assert_eq!(few.len(), FEW.len());
    killed_at(few).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults runs it"]
async fn killed_at_every_point_a_run_loses_no_work() {
    let names: BTreeSet<_> = POINTS.iter().map(|point| point.name).collect();
    assert!(names.len() == POINTS.len() && names.len() >= 20);
    let wanted = std::env::var("FAULTS_POINT").unwrap_or_default();
    let points = POINTS.into_iter().filter(|it| it.name.contains(&wanted));
    killed_at(points.collect()).await;
}
