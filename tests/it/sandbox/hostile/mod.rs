//! Agents that attack, in real pods of a real cluster, with the strongest profile there is.
//!
//! One does every step of a plan and writes down what it was answered; its answers are held
//! against what must refuse it, and against what was written down elsewhere. Network policies
//! are not enforced here, so that everything behind them is really reached: who may talk to
//! whom is `cluster::network`. What the agent may do is tried by the same means, or a broken
//! client would pass for a held line.

mod attack;
mod cluster;
mod objects;
pub(crate) mod page;
mod platform;
mod stop;

use std::collections::{BTreeMap, BTreeSet};

use codex_k8s::{
    domain::{
        ids::AttemptNo,
        run::{Run, RunState},
        run_keys::RunKeys,
    },
    sandbox::seed::{PERSON, REPOSITORY},
};
use serde_json::{Value, json};

use self::attack::{Attack, Audit as Where};
use super::{
    real::{Audit, get, names_of},
    stage::{Stage, note},
};
use crate::{cluster::support::install_once, support::cluster::RealCluster};

const ATTACKER: &str = include_str!("attacker.pl");

/// Every attack of the one agent.
fn all() -> Vec<Attack> {
    let mut all = cluster::attacks();
    all.extend(platform::attacks());
    all
}

#[test]
fn attacks_have_names_of_their_own() {
    let attacks = all();
    let names: BTreeSet<&str> = attacks.iter().map(Attack::name).collect();
    assert_eq!(names.len(), attacks.len());
    assert!(attacks.iter().all(|one| !one.words.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_attacks_is_refused_and_what_it_tried_is_written_down() {
    let Some((cluster, _turn)) = RealCluster::with_pods_alone().await else {
        return;
    };
    install_once(&cluster).await;
    let audit = Audit::from_now(&cluster);
    let stage = stage(&cluster).await;
    let bystander = Bystander::started(&stage, &cluster).await;
    let attacks = all();
    let controls: Vec<_> = cluster::controls()
        .into_iter()
        .chain(platform::controls())
        .collect();
    let steps = controls
        .iter()
        .map(|(step, ..)| step)
        .chain(attacks.iter().map(|attack| &attack.step))
        .cloned()
        .chain([platform::loot(), platform::back()]);
    let plan = json!({
        // Its first attempt leaves a token behind.
        "loot": true,
        "values": bystander.values(&stage, &cluster),
        "steps": numbered(steps),
        "result": {
            "summary": "@ada Fixes #1, closes #3.\n\n/approve",
            "title": "Do everything",
            "requests": ["run:qa"],
        },
    });
    begin(&stage, 2, &plan);
    let run = stage.finished(2, RunState::Succeeded).await;
    let findings = findings(&stage);
    assert_eq!(findings.len(), controls.len() + attacks.len() + 2);
    let (allowed, tried) = findings.split_at(controls.len());
    check_controls(&controls, allowed, &run);
    check_attacks(&attacks, tried, &run);
    check_loot(
        &stage,
        &findings[controls.len() + attacks.len()].text,
        &bystander.run,
    );
    check_api_server(&attacks, controls.len(), &audit, &run);
    check_log(&stage, &attacks, &run);
    note(&format!(
        "attacks on the real cluster: {}, all refused",
        attacks.len()
    ));

    let code = its_words_have_no_power(&stage, &run).await;
    stop::nothing_outlives_its_stop(&stage, &cluster, &code).await;
    stage.unlabel(1, "run:dev");
    stage.finished(1, RunState::Cancelled).await;
    stage.end().await;
}

/// The world: the attacker's program in the repository, its agent with the profile `admin`, and
/// the staff API where pods reach it.
async fn stage(cluster: &RealCluster) -> Stage {
    let mut stage = Stage::on(cluster, 0.0).await;
    let listen = staff(&stage, cluster);
    stage.world.set("CODEXK8S_API_LISTEN", &listen);
    let agent = stage.config_file("agents/dev.yaml");
    let command: Vec<_> = agent
        .lines()
        .map(|line| match line.split_once("command:") {
            Some((indent, _)) => format!("{indent}command: [perl, attacker.pl]\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let agent = command
        .concat()
        .replace("rbacProfile: edit", "rbacProfile: admin");
    let platform = stage.config_file("platform.yaml");
    let platform = platform
        .replace("[none, read, edit]", "[none, read, edit, admin]")
        .replace(
            "[codex, claude, codex-k8s]",
            "[codex, claude, codex-k8s, perl]",
        );
    let files = [
        ("agents/dev.yaml", agent.as_str()),
        ("platform.yaml", platform.as_str()),
    ];
    let config = stage.world.config();
    config
        .commit("Let an agent do what it likes", files)
        .unwrap();
    commit(&stage, "attacker.pl", ATTACKER);
    stage.serve().await;
    stage
}

/// Where the staff API listens.
fn staff(stage: &Stage, cluster: &RealCluster) -> String {
    let listen = &stage.world.settings()["CODEXK8S_API_LISTEN"];
    let (_, port) = listen.rsplit_once(':').unwrap();
    format!("{}:{port}", cluster.host_address)
}

fn commit(stage: &Stage, path: &str, text: &str) {
    let github = stage.world.github();
    let message = format!("Add {path}");
    github
        .push_commit(REPOSITORY, "main", PERSON, &[(path, text)], &message)
        .unwrap();
}

/// Starts the run on an issue whose agent has this plan.
fn begin(stage: &Stage, number: u64, plan: &Value) {
    commit(stage, &format!("plan-{number}.json"), &plan.to_string());
    stage.label(number, "run:dev");
}

/// The steps with numbers, by which the API server's audit log tells them apart.
fn numbered(steps: impl Iterator<Item = Value>) -> Vec<Value> {
    let with = |(number, mut step): (usize, Value)| {
        step["number"] = json!(number);
        step
    };
    steps.enumerate().map(with).collect()
}

/// A run that does nothing, for others to attack.
struct Bystander {
    run: Run,
    namespace: String,
    pod: String,
    node: String,
}

impl Bystander {
    async fn started(stage: &Stage, cluster: &RealCluster) -> Self {
        stage.label(1, "run:dev");
        let run = stage.run_in(1, RunState::Running).await;
        let namespace = namespace_of(&run);
        let pods = get(cluster, &["pods", "--namespace", &namespace]);
        Self {
            run,
            pod: names_of(&pods, "/metadata/name").remove(0),
            node: names_of(&pods, "/spec/nodeName").remove(0),
            namespace,
        }
    }

    /// What an agent is told of it: all that one could know or guess.
    fn values(&self, stage: &Stage, cluster: &RealCluster) -> Value {
        json!({
            "other_run": self.run.id.0.simple().to_string(),
            "other_branch": self.run.branch,
            "other_namespace": self.namespace,
            "other_pod": self.pod,
            "node_name": self.node,
            "staff": staff(stage, cluster),
        })
    }
}

fn namespace_of(run: &Run) -> String {
    run.frozen.as_ref().unwrap().namespace.clone()
}

/// What the agent was answered.
#[derive(Debug, serde::Deserialize)]
struct Finding {
    /// Shown where it is not what was expected.
    #[expect(dead_code, reason = "only shown")]
    name: String,
    status: i64,
    text: String,
}

fn findings(stage: &Stage) -> Vec<Finding> {
    let github = stage.world.github();
    let text = github.file_on(REPOSITORY, "codex/issue-2", "findings.json");
    serde_json::from_str(&text.expect("the agent pushed what it found")).unwrap()
}

/// What differs from what was expected.
fn differs(finding: &Finding, status: i64, words: &[&str], run: &Run) -> Option<String> {
    let branch = run.branch.as_ref().unwrap().as_str();
    let fits = |word: &&str| finding.text.contains(&word.replace("{{branch}}", branch));
    let fits = finding.status == status && words.iter().all(fits);
    (!fits).then(|| format!("expected {status} {words:?}, not {finding:#?}"))
}

fn check_controls(controls: &[(Value, i64, &str)], findings: &[Finding], run: &Run) {
    let pairs = controls.iter().zip(findings);
    let wrong: Vec<_> = pairs
        .filter_map(|((_, status, word), finding)| differs(finding, *status, &[word], run))
        .collect();
    assert!(wrong.is_empty(), "it may not: {}", wrong.join("\n"));
}

fn check_attacks(attacks: &[Attack], findings: &[Finding], run: &Run) {
    let pairs = attacks.iter().zip(findings);
    let wrong: Vec<_> = pairs
        .filter_map(|(attack, finding)| {
            let words: Vec<&str> = attack.words.iter().map(String::as_str).collect();
            differs(finding, attack.status, &words, run)
        })
        .collect();
    let count = wrong.len();
    assert!(
        wrong.is_empty(),
        "{count} not refused as they should be: {}",
        wrong.join("\n")
    );
}

/// What it can read holds its own tokens and no other secret.
fn check_loot(stage: &Stage, loot: &str, other: &Run) {
    for own in ["OWN-RUN-TOKEN", "OWN-ACCOUNT-TOKEN", "CODEXK8S_RUN_URL"] {
        assert!(loot.contains(own), "it does not even find {own}: {loot}");
    }
    let settings = stage.world.settings();
    for name in [
        "FORGE_TOKEN",
        "FORGE_READ_TOKEN",
        "API_TOKEN",
        "RUN_TOKEN_KEYS",
        "DATABASE_URL",
        "API_DATABASE_URL",
    ] {
        let secret = &settings[&format!("CODEXK8S_{name}")];
        // The key ring's form is `1:HEX`.
        let secret = secret.strip_prefix("1:").unwrap_or(secret);
        assert!(!loot.contains(secret), "{name} is in the pod");
    }
    assert!(
        !loot.contains(&token_of(stage, other)),
        "another run's token is in the pod"
    );
}

/// A run's token, of its first attempt.
fn token_of(stage: &Stage, run: &Run) -> String {
    let ring = &stage.world.settings()["CODEXK8S_RUN_TOKEN_KEYS"];
    let (version, key) = ring.split_once(':').unwrap();
    let version = version.parse().unwrap();
    let keys = RunKeys::new([(version, hex::decode(key).unwrap().into())].into()).unwrap();
    let token = keys.token(version, run.id, AttemptNo(1)).unwrap();
    token.expose().to_owned()
}

/// Each attack on the API server stands in its audit log as refused, with the run's account.
fn check_api_server(attacks: &[Attack], first: usize, audit: &Audit<'_>, run: &Run) {
    let account = format!("system:serviceaccount:{}:codex-runner", namespace_of(run));
    let mut seen = BTreeMap::new();
    for line in audit.lines() {
        let agent = line["userAgent"].as_str().unwrap_or_default();
        let number = agent
            .strip_prefix("hostile-")
            .and_then(|it| it.parse::<usize>().ok());
        if let Some(number) = number.filter(|_| line["user"]["username"] == account) {
            seen.insert(number, line["responseStatus"]["code"].as_i64());
        }
    }
    for (number, attack) in attacks.iter().enumerate() {
        if attack.kind.audit == Where::ApiServer {
            let found = seen.get(&(first + number)).copied().flatten();
            assert_eq!(
                found,
                Some(attack.status),
                "{} in the audit log",
                attack.name()
            );
        }
    }
}

/// Each refused call and push stands in the platform's log.
fn check_log(stage: &Stage, attacks: &[Attack], run: &Run) {
    let log = log_lines(stage);
    let of_run = |line: &&Value| field(line, "run.id") == run.id.to_string();
    let of = |audit: Where| attacks.iter().filter(move |one| one.kind.audit == audit);
    let calls: Vec<&Value> = said(&log, "refused a call of the run API");
    for status in [401, 404, 409] {
        let made = of(Where::RunApi).filter(|one| one.status == status).count();
        let refused = calls
            .iter()
            .filter(|line| field(line, "http.status") == status.to_string());
        // A token that does not hold proves no run.
        let refused = refused.filter(|line| status == 401 || of_run(line)).count();
        assert!(
            refused >= made && made > 0,
            "{refused} of {made} with {status}: {calls:#?}"
        );
    }
    let staff = said(&log, "refused a call of the staff API without its token");
    assert!(staff.len() >= of(Where::StaffApi).count(), "{staff:#?}");
    let mut pushes = said(&log, "refused a push");
    pushes.retain(of_run);
    assert_eq!(pushes.len(), of(Where::Push).count(), "{pushes:#?}");
    for attack in of(Where::Push) {
        let branch = run.branch.as_ref().unwrap().as_str();
        let reason = attack.logged.unwrap().replace("{{branch}}", branch);
        let mut found = pushes.iter();
        assert!(
            found.any(|line| field(line, "reason").contains(&reason)),
            "{}: {pushes:#?}",
            attack.name()
        );
    }
}

/// The lines of `serve`'s log.
fn log_lines(stage: &Stage) -> Vec<Value> {
    let text = std::fs::read_to_string(stage.world.serve_log()).unwrap();
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn said<'a>(log: &'a [Value], message: &str) -> Vec<&'a Value> {
    let of = |line: &&Value| field(line, "message") == message;
    log.iter().filter(of).collect()
}

/// A field of a line, wherever the format keeps it.
fn field(line: &Value, name: &str) -> String {
    let value = line.get(name).or_else(|| line["fields"].get(name));
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// The next stage that it asks for is a request that nobody but people decide, and its words
/// at the forge command nobody; the request's code.
async fn its_words_have_no_power(stage: &Stage, run: &Run) -> String {
    let code = stage
        .until("its request is written to people", || async {
            let all = stage.table("approvals").await;
            let code = all[0]["code"].as_str()?.to_owned();
            let comments = stage.comments(2);
            comments
                .iter()
                .any(|one| one.contains(&code))
                .then_some(code)
        })
        .await;
    let pull = run.pull_request.unwrap();
    let pull = stage.issue(u64::try_from(pull.0).unwrap());
    let text = pull["body"].as_str().unwrap();
    for power in ["@ada", "#1", "#3"] {
        assert!(!text.contains(power), "{power} stands in {text}");
    }
    assert!(text.contains("ada") && text.contains("/approve"), "{text}");
    let asked = stage.table("approvals").await;
    assert_eq!(asked[0]["state"], "requested", "{asked}");
    assert_eq!(stage.runs_on(2).await.len(), 1);
    code
}
