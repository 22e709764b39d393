//! Scripted plans: `tests/scripts/NAME.txt` is played and what it prints is compared with
//! `NAME.out`. `UPDATE_SNAPSHOTS=1` writes the answers anew; an answer without a script
//! is an error.
//!
//! The first word of a line is the command; `#` begins a comment. Subjects are
//! numbers in `example-org/hello`, or `notes/7`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::Duration;
use codex_k8s::{
    desired::model::Suspend,
    domain::{
        fact::ResultStatus,
        forge::Permission,
        ids::{AgentKey, IssueNumber, LabelName, RepositoryId, RunId, Subject},
        messages::is_known_reason,
        mirror::OwnerVariable,
        run::RunState,
    },
    plan::{ActionName, Plan},
};
use strum::IntoEnumIterator;

use super::world::{HELLO, NOTES, World, actor};

/// After so many passes a world that is still busy will be busy for ever.
const MOST_PASSES: usize = 60;

#[test]
fn scripts_print_what_they_printed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let (scripts, answers) = (names(&folder, "txt"), names(&folder, "out"));
    let mut wrong: Vec<String> = answers
        .difference(&scripts)
        .map(|name| format!("{name}.out has no script"))
        .collect();
    assert!(!scripts.is_empty(), "no scripts in {}", folder.display());
    for name in &scripts {
        let script = fs::read_to_string(folder.join(format!("{name}.txt"))).expect("a script");
        let printed = play(&script);
        let answer = folder.join(format!("{name}.out"));
        if update {
            fs::write(&answer, printed).expect("the answer is written");
            continue;
        }
        let expected = fs::read_to_string(&answer).unwrap_or_default();
        if printed != expected {
            wrong.push(format!("{name}: {}", first_difference(&expected, &printed)));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nUPDATE_SNAPSHOTS=1 takes over what is printed now",
        wrong.join("\n")
    );
}

fn names(folder: &Path, extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder).expect("the scripts' folder");
    let paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths
        .iter()
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect()
}

fn first_difference(expected: &str, printed: &str) -> String {
    let mut lines = printed.lines();
    for (number, line) in expected.lines().enumerate() {
        let now = lines.next().unwrap_or("(nothing)");
        if now != line {
            return format!("line {}\n  was {line}\n  now {now}", number + 1);
        }
    }
    format!("now goes on with {}", lines.next().unwrap_or("(nothing)"))
}

fn play(script: &str) -> String {
    let mut player = Player {
        world: World::example(),
        out: String::new(),
        passes: 0,
    };
    for line in script.lines() {
        let line = line.trim();
        let _ = if line.is_empty() || line.starts_with('#') {
            writeln!(player.out, "{line}")
        } else {
            writeln!(player.out, "> {line}")
        };
        let words: Vec<&str> = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        if !words.is_empty() {
            player.command(&words);
        }
    }
    let unsaid = player.world.rows.runs.iter().filter_map(|run| {
        let shown = run.state == RunState::Failed || run.state == RunState::Rejected;
        run.held.as_ref().or(run.reason.as_ref().filter(|_| shown))
    });
    let unsaid: Vec<_> = unsaid.filter(|reason| !is_known_reason(reason)).collect();
    assert_eq!(
        unsaid,
        Vec::<&String>::new(),
        "reasons that are English alone"
    );
    assert_eq!(
        player.world.conflicts,
        Vec::<String>::new(),
        "{}",
        player.out
    );
    player.out
}

struct Player {
    world: World,
    out: String,
    passes: usize,
}

fn subject(word: &str) -> Subject {
    let (repository, number) = word.split_once('/').unwrap_or(("hello", word));
    Subject {
        repository: repository_id(repository),
        number: IssueNumber(number.parse().expect("a number")),
    }
}

fn repository_id(name: &str) -> RepositoryId {
    match name {
        "hello" => HELLO,
        "notes" => NOTES,
        other => panic!("no repository is called {other}"),
    }
}

impl Player {
    #[expect(clippy::too_many_lines, reason = "one line a command")]
    fn command(&mut self, words: &[&str]) {
        let world = &mut self.world;
        match *words {
            ["load", "example"] => {}
            ["issue", number] => world.open_issue(subject(number)),
            ["label", number, label, "by", who] => world.label(subject(number), label, who),
            ["label", number, label, "by", who, "via", app] => {
                world.open_issue(subject(number));
                world.put_label(subject(number), &LabelName::new(label), who, Some(app));
            }
            ["unlabel", number, label, "by", who] => world.unlabel(subject(number), label, who),
            ["lose", "label", number, label] => world.lose_label(subject(number), label),
            ["restore", "label", number, label] => world.restore_label(subject(number), label),
            ["delete", "label", label, "by", who] => world.delete_label(HELLO, label, who),
            ["paint", label, colour] => world.paint_label(HELLO, label, colour),
            ["mirror", "lags"] => world.lagging = true,
            ["mirror", "follows"] => world.lagging = false,
            ["config", "paint", label, colour] => world.paint_catalogue(label, colour),
            ["close", number, "by", who] => world.close(subject(number), who),
            ["reopen", number, "by", who] => world.reopen(subject(number), who),
            ["vanish", number] => world.vanish(subject(number)),
            ["history", number, what] => world.history(subject(number), what),
            ["config", "members", permission] => world.members(permission),
            ["edit", number, "by", who] => world.edit(subject(number), who),
            ["say", number, "by", who, ref words @ ..] => {
                let words = words.join(" ");
                let code = world.code(subject(number)).unwrap_or_default();
                let (words, app) = match words.split_once(" via ") {
                    Some((words, app)) => (words.to_owned(), Some(app.to_owned())),
                    None => (words, None),
                };
                let body = words.replace("CODE", &code);
                world.say(subject(number), who, &body, app.as_deref());
            }
            ["edit", "comment", number, "of", who] => {
                world.edit_comment(subject(number), who, None);
            }
            ["spoil", "comment", number, "of", who] => {
                world.edit_comment(subject(number), who, Some("Something else."));
            }
            ["delete", "comment", number, "of", who] => {
                world.delete_comment(subject(number), who);
            }
            ["staff", verdict, number, "as", login] => {
                let verdict = verdict.parse().expect("a verdict");
                world.staff_decides(subject(number), verdict, login);
            }
            ["config", "approval", mode] => self.approval(mode),
            ["comment", number, "by", who] => world.comment(subject(number), who),
            ["review", number, "by", who] => world.review(subject(number), who),
            ["late", "review", number, "by", who] => {
                world.review(subject(number), who);
                let at = world.now - Duration::hours(1);
                let newest = world.rows.reviews.last_mut();
                newest.expect("a review").submitted_at = Some(at);
            }
            ["dismiss", number] => world.dismiss(subject(number)),
            ["config", "revisable", stage, yes] => world.set_revisable(stage, yes == "yes"),
            ["config", "reviewed", stage] => world.ask_for_review(stage),
            ["config", "schedule", name, number, stage, ref cron @ ..] => {
                let number = number.parse().expect("a number");
                world.schedule(name, number, stage, &cron.join(" "));
            }
            ["config", "drop", "schedule", name] => world.drop_schedule(name),
            ["config", "push", number, stage] => {
                world.on_push(number.parse().expect("a number"), stage);
            }
            ["commit", number, "by", _] => world.commit(subject(number)),
            ["push", "default", number] => {
                world.push_default(number.parse().expect("a number"));
            }
            ["author", number, who] => world.written_by(subject(number), who),
            ["questions", ref words @ ..] => {
                world.questions = match words {
                    [] => Vec::new(),
                    words => vec![words.join(" ")],
                };
            }
            ["agents", "forget"] => world.says = |_| BTreeMap::new(),
            ["merge", number, "by", who] => world.merge(subject(number), who),
            ["bind"] => world.bind(HELLO),
            ["permissions", "unread"] => world.permissions_unread = true,
            ["permissions", "read"] => world.permissions_unread = false,
            ["permission", "unknown"] => {
                world.permissions = None;
                world.rows.permissions.clear();
            }
            ["permission", who, level] => {
                let level: Permission = level.parse().expect("a permission");
                let known = world.permissions.get_or_insert_default();
                known.insert(actor(who).id, level);
            }
            ["cluster", state] => world.blind = unknown(state),
            ["repository", name, "other"] => {
                world.repository_mut(repository_id(name)).owner_variable = OwnerVariable::Other {
                    installation: "elsewhere".to_owned(),
                };
            }
            ["repository", name, state] => {
                world.repository_mut(repository_id(name)).unknown = unknown(state);
            }
            ["identities", "unknown"] => world.rows.identities.clear(),
            ["identities", "known"] => world.identify(),
            ["pods", "linger"] => world.lingering = true,
            ["namespaces", "stick"] => world.stuck = true,
            ["namespaces", "go"] => world.finish_terminating(),
            ["stray", name] => world.stray_namespace(name),
            ["sweep"] => world.swept_at = Some(world.now),
            ["advance", time] => world.now += duration(time),
            ["config", "profile", agent, profile] => self.profile(agent, profile),
            ["config", "egress", range] => self.egress(range),
            ["delete", kind, name] => world.delete_by_hand(kind, name),
            ["config", "learning", mode] => {
                Arc::make_mut(&mut world.desired).platform.learning_mode = mode == "on";
            }
            ["config", "locale", locale] => world.spec().locale = Some(locale.into()),
            ["config", "suspend", mode] => self.suspend(mode),
            ["config", "agent", agent, enabled] => self.enable(agent, enabled == "on"),
            ["config", "slots", slots] => world.spec().slots = slots.parse().expect("a number"),
            ["config", "priority", label] => {
                world.spec().priority_label = Some(label.into());
            }
            ["fail", action] => {
                world.failing.insert(action_name(action));
            }
            ["lose", "answers", action] => {
                world.losing.insert(action_name(action));
            }
            ["mend", action] => {
                world.failing.remove(&action_name(action));
                world.losing.remove(&action_name(action));
            }
            ["prompt", number, "says", ref words @ ..] => {
                let frozen = world
                    .run_of(subject(number))
                    .and_then(|run| run.frozen.as_ref());
                let prompt = &frozen.expect("it is launched").prompt;
                let says = prompt.contains(&words.join(" "));
                let _ = writeln!(self.out, "  {}", if says { "yes" } else { "no" });
            }
            ["pod" | "result" | "tool" | "wait", ..] | ["push", _] => self.pod(words),
            ["pass"] => {
                self.pass();
            }
            ["passes"] => self.passes(),
            ["work"] => self.work(),
            ["show", "label", label] => {
                let shown = world.show_label(label);
                self.out.push_str(&shown);
            }
            ["show", "newest", "comment"] => {
                let shown = self.world.show("newest comment");
                self.out.push_str(&shown);
            }
            ["show", what] => {
                let shown = world.show(what);
                self.out.push_str(&shown);
            }
            _ => panic!("nothing is called {words:?}"),
        }
    }

    fn profile(&mut self, agent: &str, profile: &str) {
        let desired = Arc::make_mut(&mut self.world.desired);
        let agent = desired.agents.get_mut(&AgentKey::from(agent));
        agent.expect("an agent").rbac_profile =
            serde_json::from_value(profile.into()).expect("a profile");
    }

    fn enable(&mut self, agent: &str, enabled: bool) {
        let desired = Arc::make_mut(&mut self.world.desired);
        let agent = desired.agents.get_mut(&AgentKey::from(agent));
        agent.expect("an agent").enabled = enabled;
    }

    fn egress(&mut self, range: &str) {
        let guardrails = &mut Arc::make_mut(&mut self.world.desired).platform.guardrails;
        guardrails.egress.cidrs = match range {
            "none" => Vec::new(),
            range => vec![range.to_owned()],
        };
    }

    /// The project's policy says the same of every request.
    fn approval(&mut self, mode: &str) {
        let desired = Arc::make_mut(&mut self.world.desired);
        for policy in desired.approvals.values_mut() {
            *policy = serde_json::from_value(serde_json::json!({
                "rules": [{ "approval": mode }]
            }))
            .expect("a policy");
        }
    }

    fn suspend(&mut self, mode: &str) {
        let mode: Suspend = serde_json::from_value(mode.into()).expect("a mode of suspension");
        self.world.spec().suspend = mode;
    }

    fn pod(&mut self, words: &[&str]) {
        let world = &mut self.world;
        let run_of = |world: &World, number: &str| -> RunId {
            world
                .run_of(subject(number))
                .expect("a run of the issue")
                .id
        };
        match *words {
            ["pod", number, "running"] => world.pod_runs(run_of(world, number)),
            ["pod", number, "fails", code] => {
                world.pod_fails(run_of(world, number), code.parse().expect("a code"));
            }
            ["pod", number, "gone"] => world.pod_vanishes(run_of(world, number)),
            ["pod", number, "waits", reason] => world.pod_waits(run_of(world, number), reason),
            ["tool", number, ref changes @ ..] => {
                let of = |sign| {
                    let labels = changes.iter().filter_map(|word| word.strip_prefix(sign));
                    labels.map(LabelName::new).collect::<Vec<_>>()
                };
                let run = run_of(world, number);
                assert!(world.wishes(run, &of('+'), &of('-')), "it cannot speak");
            }
            ["wait", number, label, stage] => {
                let stage = serde_json::from_value(stage.into()).expect("a stage of waiting");
                let run = run_of(world, number);
                assert!(world.waits(run, &label.into(), stage), "it cannot speak");
            }
            ["push", number] => assert!(world.push(run_of(world, number)), "it cannot push"),
            ["result", number, "asks", ref labels @ ..] => {
                let labels: Vec<_> = labels.iter().map(|label| LabelName::new(*label)).collect();
                let (run, done) = (run_of(world, number), ResultStatus::Completed);
                assert!(world.result_asking(run, done, &labels), "it cannot speak");
            }
            ["result", number, status] => {
                let status: ResultStatus = status.parse().expect("a status");
                assert!(
                    world.result(run_of(world, number), status),
                    "it cannot speak"
                );
            }
            _ => panic!("nothing is called {words:?}"),
        }
    }

    fn pass(&mut self) -> bool {
        self.passes += 1;
        let plans = self.world.pass();
        let lines: String = plans
            .iter()
            .map(|plan: &Plan| self.world.actions(plan))
            .collect();
        let empty = lines.is_empty();
        let _ = writeln!(
            self.out,
            "pass {}{}",
            self.passes,
            if empty { ": nothing to do" } else { "" }
        );
        self.out.push_str(&lines);
        !empty
    }

    fn passes(&mut self) {
        let ended = (0..MOST_PASSES).any(|_| !self.pass());
        assert!(ended, "it never comes to rest:\n{}", self.out);
    }

    /// Passes with honest pods until nothing is left to do, printing only how it ends.
    fn work(&mut self) {
        let mut rest = 0;
        for _ in 0..MOST_PASSES {
            self.world.pods_work();
            self.passes += 1;
            let busy = self.world.pass().iter().any(|plan| !plan.is_empty());
            rest = if busy { 0 } else { rest + 1 };
            if rest == 2 {
                let shown = self.world.show("runs");
                self.out.push_str(&shown);
                return;
            }
            if !busy {
                self.world.now += Duration::seconds(20);
            }
        }
        panic!("it never comes to rest:\n{}", self.out);
    }
}

fn unknown(state: &str) -> Option<String> {
    match state {
        "known" => None,
        "unknown" => Some("it does not answer".to_owned()),
        other => panic!("nothing is {other}"),
    }
}

fn action_name(name: &str) -> ActionName {
    let mut names = ActionName::iter();
    names
        .find(|action| action.to_string() == name)
        .unwrap_or_else(|| panic!("no action is called {name}"))
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: i64 = number.parse().expect("a number");
    match unit {
        "s" => Duration::seconds(number),
        "m" => Duration::minutes(number),
        "h" => Duration::hours(number),
        "d" => Duration::days(number),
        other => panic!("no unit is called {other}"),
    }
}
