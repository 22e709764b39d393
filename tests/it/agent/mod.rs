//! The runner against the run API, with real git and real commands.

use codex_k8s::{
    agent::{self, AgentSettings, machine::Exit},
    domain::{
        agent_cli::{AgentCli, OutputFormat},
        fact::ResultStatus,
        ids::AttemptNo,
        run::RunState,
        run_token::RunToken,
    },
};
use tokio_util::sync::CancellationToken;

use crate::api::world::{BRANCH, REPO, World, git, until};

/// Writes a file that names its run, once, and a session, and counts its starts.
const GREET: &str = r#"
echo started >> "$STARTS"
echo "$GREETING from $CODEXK8S_RUN_ID" > greeting.txt
cat > "$CODEX_HOME/session.jsonl"
echo "my token is ghp_abcdefghijklmnop0123456789"
echo '{"summary":"Greeted people.","title":"Greet"}' > "$CODEXK8S_RESULT_FILE"
"#;

fn settings(world: &World, attempt: i32, work: &str) -> AgentSettings {
    AgentSettings {
        url: world.url.parse().unwrap(),
        token: RunToken::from_text(world.token(attempt)),
        run: world.rows().run.id,
        attempt: AttemptNo(attempt),
        work_dir: world.dir.path().join(work),
        ca_file: None,
    }
}

async fn greeting_world(script: &str) -> World {
    let world = World::new(&["sh", "-c", script]).await;
    let starts = world.dir.path().join("starts").display().to_string();
    if let Some(frozen) = &mut world.rows().run.frozen {
        frozen.environment.insert("STARTS".to_owned(), starts);
    }
    world
}

fn starts(world: &World) -> usize {
    let text = std::fs::read_to_string(world.dir.path().join("starts"));
    text.unwrap_or_default().lines().count()
}

async fn run(world: &World, attempt: i32, work: &str) -> Exit {
    let settings = settings(world, attempt, work);
    agent::run(settings, CancellationToken::new())
        .await
        .unwrap()
}

/// A runner in a runtime of its own, so that it can be killed with all it does.
fn in_its_own_runtime(settings: AgentSettings) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(agent::run(settings, CancellationToken::new()));
    runtime
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_with_a_commit_at_the_forge_and_a_result_that_names_it() {
    let world = greeting_world(GREET).await;
    assert_eq!(run(&world, 1, "work").await, Exit::HandedIn);
    let head = world.branch_head().unwrap();
    let rows = world.rows();
    let result = &rows.results[&AttemptNo(1)];
    assert_eq!(result.status, ResultStatus::Completed);
    assert_eq!(result.answer.summary, "Greeted people.");
    assert_eq!(result.head.as_ref().unwrap().as_str(), head);
    assert!(rows.session.is_some() && rows.heartbeats > 0);
    let logs: String = rows.logs.values().map(String::as_str).collect();
    assert!(logs.contains("my token is [redacted]"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn started_again_it_does_nothing_twice() {
    let world = greeting_world(GREET).await;
    assert_eq!(run(&world, 1, "work").await, Exit::HandedIn);
    let head = world.branch_head();
    // The same attempt again, with its result there and without.
    assert_eq!(run(&world, 1, "work").await, Exit::HandedIn);
    world.rows().results.clear();
    assert_eq!(run(&world, 1, "work").await, Exit::HandedIn);
    assert_eq!(starts(&world), 1);
    // As the next attempt, in an empty folder: the work is there already.
    world.rows().results.clear();
    world.rows().attempt = AttemptNo(2);
    assert_eq!(run(&world, 2, "other").await, Exit::HandedIn);
    assert_eq!(starts(&world), 2);
    assert_eq!(world.branch_head(), head);
    assert_eq!(world.rows().pushes.len(), 1);
    let restored = world.dir.path().join("other/home/session.jsonl");
    assert!(restored.exists());
    let head_of = |attempt| world.rows().results[&AttemptNo(attempt)].head.clone();
    assert_eq!(head_of(2).unwrap().as_str(), head.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_command_works_it_ends_the_leftover_and_begins_anew() {
    let script = format!("{GREET}\nif [ $(wc -l < \"$STARTS\") = 1 ]; then sleep 300; fi\n");
    let world = greeting_world(&script).await;
    let runner = in_its_own_runtime(settings(&world, 1, "work"));
    until("the command starts", || starts(&world) == 1).await;
    let group = world.dir.path().join("work/runner/command.pid");
    until("its group is remembered", || group.exists()).await;
    let first = std::fs::read_to_string(&group).unwrap();
    runner.shutdown_background();
    assert_eq!(run(&world, 1, "work").await, Exit::HandedIn);
    assert_eq!(starts(&world), 2);
    let pid = first.split_whitespace().next().unwrap();
    let gone = !std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z"));
    assert!(gone, "the first command is still at work");
    let repository = world.dir.path().join("work/repository");
    let (_, log) = git(&repository, &["log", "--oneline", "origin/main.."]).await;
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_ends_the_command_and_saves_the_session() {
    let world = greeting_world(&format!("{GREET}\nsleep 300\n")).await;
    let settings = settings(&world, 1, "work");
    let runner = tokio::spawn(agent::run(settings, CancellationToken::new()));
    let session = world.dir.path().join("work/home/session.jsonl");
    until("the command works", || session.exists()).await;
    {
        let mut rows = world.rows();
        rows.run.state = RunState::Stopping;
        rows.run.stopping_at = Some(chrono::Utc::now());
    }
    assert_eq!(runner.await.unwrap().unwrap(), Exit::Stopped);
    let rows = world.rows();
    assert!(rows.session.is_some() && rows.results.is_empty() && rows.pushes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_for_a_while_costs_nothing() {
    let world = greeting_world(&format!("{GREET}\nsleep 2\n")).await;
    let settings = settings(&world, 1, "work");
    let runner = tokio::spawn(agent::run(settings, CancellationToken::new()));
    until("the command works", || starts(&world) == 1).await;
    world.rows().away = true;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    world.rows().away = false;
    assert_eq!(runner.await.unwrap().unwrap(), Exit::HandedIn);
    let rows = world.rows();
    assert_eq!(rows.pushes.len(), 1);
    assert!(rows.logs.values().any(|text| text.contains("my token is")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_pushed_meanwhile_is_kept() {
    let world = greeting_world(&format!("{GREET}\nsleep 2\n")).await;
    let settings = settings(&world, 1, "work");
    let runner = tokio::spawn(agent::run(settings, CancellationToken::new()));
    until("the command works", || starts(&world) == 1).await;
    let theirs = [("theirs.txt", "theirs\n")];
    world
        .model
        .push_commit(REPO, BRANCH, "ada", &theirs, "Theirs")
        .unwrap();
    assert_eq!(runner.await.unwrap().unwrap(), Exit::HandedIn);
    let rows = world.rows();
    let head = rows.results[&AttemptNo(1)].head.clone().unwrap();
    assert_eq!(world.branch_head().as_deref(), Some(head.as_str()));
    assert!(world.dir.path().join("work/repository/theirs.txt").exists());
}

/// Speaks as the codex CLI does, with an answer longer than a pipe's buffer, and cannot go on
/// with sessions it does not know.
const TALK: &str = r#"
echo "$*" >> "$STARTS"
if [ "$1" = resume ] && [ ! -e "$CODEX_HOME/sessions/$2" ]; then exit 1; fi
mkdir -p "$CODEX_HOME/sessions"
echo said > "$CODEX_HOME/sessions/s-1"
echo scratch > "$CODEX_HOME/scratch"
grep -q 'name = "ours"' "$CODEX_HOME/config.toml" || exit 2
echo '{"type":"thread.started","thread_id":"s-1"}'
echo '{"type":"turn.started"}'
long=$(head -c 100000 /dev/zero | tr '\0' x)
answer="$long {\\\"summary\\\":\\\"Talked.\\\",\\\"title\\\":\\\"Talk\\\"}"
printf '%s\n' "{\"type\":\"item.completed\",\"item\":{\"type\":\"agent_message\",\"text\":\"$answer\"}}"
"#;

/// A run whose program is known: it has a form of output, a session and a file of ours.
async fn talking_world() -> World {
    let world = World::new(&["sh", "-c", TALK, "talk"]).await;
    let starts = world.dir.path().join("starts").display().to_string();
    if let Some(frozen) = &mut world.rows().run.frozen {
        frozen.environment.insert("STARTS".to_owned(), starts);
        frozen.cli = AgentCli {
            resume: vec!["resume".to_owned(), "{session}".to_owned()],
            files: [("config.toml".to_owned(), "name = \"ours\"".to_owned())].into(),
            session_files: vec!["sessions".to_owned()],
            output: OutputFormat::CodexJson,
            ..frozen.cli.clone()
        };
    }
    world
}

fn said(world: &World) -> Vec<String> {
    let text = std::fs::read_to_string(world.dir.path().join("starts")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A further attempt in an empty folder.
async fn next_attempt(world: &World, attempt: i32) {
    world.rows().attempt = AttemptNo(attempt);
    let folder = format!("work-{attempt}");
    assert_eq!(run(world, attempt, &folder).await, Exit::HandedIn);
    let rows = world.rows();
    let result = &rows.results[&AttemptNo(attempt)];
    assert_eq!(result.status, ResultStatus::Completed, "{result:?}");
    assert_eq!(result.answer.title.as_deref(), Some("Talk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_last_message_is_read_whole_and_the_next_attempt_goes_on_with_the_session() {
    let world = talking_world().await;
    next_attempt(&world, 1).await;
    next_attempt(&world, 2).await;
    assert_eq!(said(&world), ["", "resume s-1"]);
    let home = world.dir.path().join("work-2/home");
    assert!(home.join("sessions/s-1").exists());
    let logs: String = world.rows().logs.values().map(String::as_str).collect();
    assert!(
        logs.contains("\"type\":\"agent_message\""),
        "the log is whole"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_damaged_or_cannot_go_on_costs_the_talk_and_not_the_run() {
    let world = talking_world().await;
    next_attempt(&world, 1).await;
    let good = world.rows().session.clone().unwrap();
    // The program does not know the session that the snapshot names.
    let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let text = text_of(&good.bytes).replace("sessions/s-1", "sessions/s-9");
    world.rows().session.as_mut().unwrap().bytes = text.into_bytes();
    next_attempt(&world, 2).await;
    assert_eq!(said(&world), ["", "resume s-1", ""]);
    // A name that would be an option of the program is none.
    let text = text_of(&good.bytes).replace("codexk8s-sessions-1", "codexk8s-session--x");
    world.rows().session.as_mut().unwrap().bytes = text.into_bytes();
    next_attempt(&world, 3).await;
    assert_eq!(said(&world)[3..], [""]);
    // The snapshot is cut.
    let half = good.bytes[..good.bytes.len() - 3].to_vec();
    world.rows().session.as_mut().unwrap().bytes = half;
    next_attempt(&world, 4).await;
    assert_eq!(said(&world)[4..], [""]);
    let logs: String = world.rows().logs.values().map(String::as_str).collect();
    for words in [
        "cannot go on, the work begins afresh",
        "is not restored, the work begins afresh",
    ] {
        assert!(logs.contains(words), "{words}: {logs}");
    }
}
