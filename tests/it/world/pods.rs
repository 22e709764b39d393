//! Scripted agents in pods: each moves only when the driver lets it, and speaks
//! the run API over HTTP like the runner does.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use codex_k8s::{
    domain::{
        answer::Answer,
        fact::{PushOutcome, ResultRecord, ResultStatus},
        ids::CommitSha,
        run_api::{Order, RunFacts},
    },
    sandbox::kubernetes::{PodEnd, PodLaunch, PodLog, PodRunner, Stop, stop_requested},
};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::outside::Outside;
use crate::support::answers::told;

/// Exit codes of an agent that is not to go on.
const TOLD_TO_STOP: i32 = 3;
const REFUSED: i32 = 6;

/// What an agent does with its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Pushes a change and hands in its result.
    Deliver,
    /// The same, and asks for a label.
    Ask(&'static str),
    /// Asks for a label by a tool, and ends to wait for the answer.
    Wait(&'static str),
    /// Works on until it is stopped.
    Forever,
    /// Hands in that it failed.
    GiveUp,
    /// Dies without a word.
    Die,
}

#[derive(Debug, Clone, PartialEq)]
enum Stand {
    Born,
    Started(Box<RunFacts>),
    Asked(Box<RunFacts>, &'static str),
    Pushing(Box<RunFacts>, CommitSha, i64),
    Pushed(Box<RunFacts>, CommitSha),
}

struct Pod {
    launch: PodLaunch,
    stand: Stand,
    end: Option<oneshot::Sender<i32>>,
}

/// The pods that are at work.
#[derive(Default)]
pub(crate) struct Pods {
    all: Mutex<BTreeMap<String, Pod>>,
    /// Agents that were ended by others: where, and how.
    ended: Mutex<Vec<String>>,
    http: Client,
}

#[async_trait]
impl PodRunner for Pods {
    async fn run(
        &self,
        launch: PodLaunch,
        _log: Arc<PodLog>,
        mut stop: watch::Receiver<Stop>,
    ) -> PodEnd {
        let uid = launch.uid.clone();
        let name = format!("{}/{}", launch.namespace, launch.name);
        let (end, ended) = oneshot::channel();
        let pod = Pod {
            launch,
            stand: Stand::Born,
            end: Some(end),
        };
        self.pods().insert(uid.clone(), pod);
        let code = tokio::select! {
            code = ended => code.unwrap_or(137),
            how = stop_requested(&mut stop) => {
                self.ended.lock().unwrap().push(format!("{name} was stopped"));
                if how == Stop::Now { 137 } else { 143 }
            }
        };
        self.pods().remove(&uid);
        PodEnd::exited(code)
    }
}

impl Pods {
    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, Pod>> {
        self.all.lock().unwrap()
    }

    /// Whether a pod's script has begun and not ended.
    pub(crate) fn at_work(&self, uid: &str) -> bool {
        self.pods().get(uid).is_some_and(|pod| pod.end.is_some())
    }

    /// The pods at work by uid, in the order of their runs and attempts.
    pub(crate) fn uids(&self) -> Vec<String> {
        let pods = self.pods();
        let alive = pods.iter().filter(|(_, pod)| pod.end.is_some());
        let mut all: Vec<_> = alive
            .map(|(uid, pod)| (pod.launch.namespace.clone(), pod.attempt(), uid.clone()))
            .collect();
        all.sort();
        all.into_iter().map(|(.., uid)| uid).collect()
    }

    /// The runs that pods are at work for.
    pub(crate) fn runs(&self) -> Vec<String> {
        let pods = self.pods();
        let alive = pods.values().filter(|pod| pod.end.is_some());
        alive.map(|pod| pod.env("CODEXK8S_RUN_ID")).collect()
    }

    /// Namespace and name of a pod.
    pub(crate) fn place(&self, uid: &str) -> Option<(String, String)> {
        let pods = self.pods();
        let launch = &pods.get(uid)?.launch;
        Some((launch.namespace.clone(), launch.name.clone()))
    }

    /// Lets a pod make one move; says what it did, `None` where nothing came of it.
    pub(crate) async fn act(
        &self,
        outside: &Outside,
        uid: &str,
        work: impl Fn(u64, i32) -> Work,
    ) -> Option<String> {
        let (caller, stand, attempt) = {
            let pods = self.pods();
            let pod = pods.get(uid)?;
            (self.caller(pod), pod.stand.clone(), pod.attempt())
        };
        let moved = match stand {
            Stand::Born => caller.begin().await,
            Stand::Started(facts) => {
                let issue = u64::try_from(facts.issue.0).unwrap();
                caller.work(outside, facts, work(issue, attempt)).await
            }
            Stand::Asked(facts, label) => caller.wait(outside, facts, label).await,
            Stand::Pushing(facts, head, fact) => caller.pushed(outside, facts, head, fact).await,
            Stand::Pushed(facts, head) => {
                let issue = u64::try_from(facts.issue.0).unwrap();
                caller.deliver(&facts, head, work(issue, attempt)).await
            }
        };
        self.settle(uid, moved)
    }

    fn settle(&self, uid: &str, moved: Moved) -> Option<String> {
        let mut pods = self.pods();
        let pod = pods.get_mut(uid)?;
        match moved {
            Moved::Nothing => None,
            Moved::To(stand, said) => {
                pod.stand = stand;
                Some(said)
            }
            Moved::Exit(code, said) => {
                // Whoever was stopped meanwhile has ended already.
                let _ = pod.end.take()?.send(code);
                if matches!(code, TOLD_TO_STOP | REFUSED) {
                    let launch = &pod.launch;
                    let ended = format!("{}/{} {said}", launch.namespace, launch.name);
                    self.ended.lock().unwrap().push(ended);
                }
                Some(format!("{said}, exit {code}"))
            }
        }
    }

    /// Agents that did not end by themselves: where, and how.
    pub(crate) fn ended_by_others(&self) -> Vec<String> {
        self.ended.lock().unwrap().clone()
    }

    /// Whoever waits for an answer loses the connection, and asks again.
    pub(crate) fn lose_connections(&self) {
        for pod in self.pods().values_mut() {
            if let Stand::Pushing(facts, ..) = &pod.stand {
                pod.stand = Stand::Started(facts.clone());
            }
        }
    }

    fn caller(&self, pod: &Pod) -> Caller {
        let file = pod.env("CODEXK8S_RUN_TOKEN_FILE");
        let token = pod.launch.file(&file).unwrap_or_default();
        Caller {
            http: self.http.clone(),
            url: pod.env("CODEXK8S_RUN_URL"),
            token: String::from_utf8_lossy(token).trim().to_owned(),
        }
    }
}

impl Pod {
    fn env(&self, name: &str) -> String {
        self.launch.env().remove(name).unwrap_or_default()
    }

    fn attempt(&self) -> i32 {
        self.env("CODEXK8S_RUN_ATTEMPT").parse().unwrap_or(0)
    }
}

/// What came of a move.
enum Moved {
    Nothing,
    To(Stand, String),
    Exit(i32, String),
}

/// The run API as one pod calls it.
struct Caller {
    http: Client,
    url: String,
    token: String,
}

impl Caller {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/run/v1{path}", self.url);
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn send(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Reads the facts and says that it is at work.
    async fn begin(&self) -> Moved {
        let (status, body) = self.send(self.request(Method::GET, "/facts")).await;
        if let Some(moved) = refused(status, "facts") {
            return moved;
        }
        let facts: RunFacts = serde_json::from_value(body).unwrap();
        if facts.result_handed_in {
            return Moved::Exit(0, "result handed in before".to_owned());
        }
        match self.heartbeat().await {
            Ok(()) => Moved::To(Stand::Started(Box::new(facts)), "began".to_owned()),
            Err(moved) => moved,
        }
    }

    async fn heartbeat(&self) -> Result<(), Moved> {
        let (status, body) = self.send(self.request(Method::POST, "/heartbeat")).await;
        if let Some(moved) = refused(status, "heartbeat") {
            return Err(moved);
        }
        match serde_json::from_value(body).unwrap() {
            Order::Continue => Ok(()),
            Order::Stop { .. } => Err(Moved::Exit(TOLD_TO_STOP, "told to stop".to_owned())),
        }
    }

    async fn work(&self, outside: &Outside, facts: Box<RunFacts>, work: Work) -> Moved {
        if let Err(moved) = self.heartbeat().await {
            return moved;
        }
        match work {
            Work::Forever => Moved::Nothing,
            Work::Die => Moved::Exit(1, "died".to_owned()),
            Work::GiveUp => {
                let record = record(ResultStatus::Failed, "It cannot be done.", None);
                self.hand_in(&record).await
            }
            Work::Deliver | Work::Ask(_) if !facts.changes_files => {
                let mut record = record(ResultStatus::Completed, "Thought about it.", None);
                record.answer.parts = told(&facts.asked);
                self.hand_in(&record).await
            }
            Work::Deliver | Work::Ask(_) => self.push(outside, facts).await,
            Work::Wait(label) => {
                let asked = self.tool("labels_add", json!({ "labels": [label] })).await;
                asked.map_or_else(
                    |moved| moved,
                    |_| Moved::To(Stand::Asked(facts, label), format!("asked for {label}")),
                )
            }
        }
    }

    /// Waits for what people say; what they said already lets it go on.
    async fn wait(&self, outside: &Outside, facts: Box<RunFacts>, label: &'static str) -> Moved {
        let answer = self.tool("request_wait", json!({ "label": label })).await;
        let result = match answer {
            Ok(answer) => answer["result"].clone(),
            Err(moved) => return moved,
        };
        if result["isError"] == true {
            // It is not put to people yet: another try is the next move.
            return Moved::Nothing;
        }
        match result["structuredContent"]["status"].as_str() {
            Some("waiting") => Moved::Exit(0, "ended to wait".to_owned()),
            _ => self.push(outside, facts).await,
        }
    }

    async fn tool(&self, name: &str, arguments: Value) -> Result<Value, Moved> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": name, "arguments": arguments } });
        let request = self
            .request(Method::POST, "/mcp")
            .header("accept", "application/json, text/event-stream")
            .json(&call);
        let (status, body) = self.send(request).await;
        match refused(status, name) {
            Some(moved) => Err(moved),
            None if body["error"].is_object() => Err(Moved::Nothing),
            None => Ok(body),
        }
    }

    async fn push(&self, outside: &Outside, facts: Box<RunFacts>) -> Moved {
        let change = Change::of(outside, &facts);
        let (new, pack) = match change {
            Change::There(head) => return Moved::To(Stand::Pushed(facts, head), "was done".into()),
            Change::New { old, new, pack } => {
                let line = format!("{old} {new} refs/heads/{}\0 report-status", facts.branch);
                let mut body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
                body.extend(pack);
                (new, body)
            }
        };
        let request = self
            .request(Method::POST, "/git/git-receive-pack")
            .header("content-type", "application/x-git-receive-pack-request")
            .body(pack);
        // The answer's body waits for the lease holder; that it began says the fact is stored.
        let answer = request.send().await.unwrap();
        if let Some(moved) = refused(answer.status(), "push") {
            return moved;
        }
        let run = facts.run;
        let fact: Option<i64> = sqlx::query_scalar(
            "select fact_id from run_facts
             where run_id = $1 and attempt = $2 and kind = 'push' and payload->>'new' = $3",
        )
        .bind(run.0)
        .bind(facts.attempt.0)
        .bind(new.as_str())
        .fetch_optional(&outside.db)
        .await
        .unwrap();
        if let Some(fact) = fact {
            return Moved::To(Stand::Pushing(facts, new, fact), "pushed".to_owned());
        }
        let said = answer.text().await.unwrap();
        let record = record(ResultStatus::Failed, &format!("Push refused: {said}"), None);
        self.hand_in(&record).await
    }

    async fn pushed(
        &self,
        outside: &Outside,
        facts: Box<RunFacts>,
        head: CommitSha,
        fact: i64,
    ) -> Moved {
        if let Err(moved) = self.heartbeat().await {
            return moved;
        }
        match outside.api.push_outcome(fact).await.unwrap() {
            None => Moved::Nothing,
            Some(PushOutcome::Accepted) => {
                Moved::To(Stand::Pushed(facts, head), "push accepted".to_owned())
            }
            Some(PushOutcome::Refused { reason }) => {
                let summary = format!("The push was refused: {reason}");
                self.hand_in(&record(ResultStatus::Failed, &summary, None))
                    .await
            }
        }
    }

    async fn deliver(&self, facts: &RunFacts, head: CommitSha, work: Work) -> Moved {
        let summary = format!("Did what issue {} asks.", facts.issue);
        let mut record = record(ResultStatus::Completed, &summary, Some(head));
        record.answer.parts = told(&facts.asked);
        if let Work::Ask(label) = work {
            record.answer.requests.push(label.into());
        }
        self.hand_in(&record).await
    }

    async fn hand_in(&self, record: &ResultRecord) -> Moved {
        let request = self.request(Method::POST, "/result").json(record);
        let (status, body) = self.send(request).await;
        refused(status, "result").unwrap_or_else(|| {
            assert!(status.is_success(), "result: {status} {body}");
            Moved::Exit(0, format!("handed in {}", record.status))
        })
    }
}

fn record(status: ResultStatus, summary: &str, head: Option<CommitSha>) -> ResultRecord {
    ResultRecord {
        status,
        answer: Answer {
            summary: summary.to_owned(),
            ..Answer::default()
        },
        head,
        exit_code: Some(i32::from(status == ResultStatus::Failed)),
    }
}

/// What a refusal makes of a pod: the attempt is not taken, or its time is over.
fn refused(status: StatusCode, what: &str) -> Option<Moved> {
    match status {
        status if status.is_success() => None,
        StatusCode::UNAUTHORIZED | StatusCode::CONFLICT | StatusCode::GONE => {
            Some(Moved::Exit(REFUSED, format!("{what} refused: {status}")))
        }
        // The API is away or the forge behind it: another try is the next move.
        status if status.is_server_error() => Some(Moved::Nothing),
        status => panic!("{what}: {status}"),
    }
}

/// An agent's change of its branch.
enum Change {
    /// The branch has this run's line already.
    There(CommitSha),
    New {
        old: String,
        new: CommitSha,
        pack: Vec<u8>,
    },
}

impl Change {
    /// One line for each run in the issue's file; the same commit however often it is made.
    fn of(outside: &Outside, facts: &RunFacts) -> Self {
        let id = outside.github.repository_id(&facts.repository.to_string());
        let path = outside
            .folder
            .path()
            .join(format!("github/{}.git", id.unwrap()));
        let on = |branch: &str| {
            let repository = facts.repository.to_string();
            outside.github.branch_commit(&repository, branch)
        };
        let old = on(facts.branch.as_str());
        let parent = old.clone().or_else(|| on(facts.base_branch.as_str()));
        Self::commit(&path, facts, old, &parent.unwrap()).unwrap()
    }

    fn commit(
        path: &Path,
        facts: &RunFacts,
        old: Option<String>,
        parent: &str,
    ) -> Result<Self, git2::Error> {
        let git = git2::Repository::open_bare(path)?;
        let odb = git.odb()?;
        // New objects go into memory: only the push brings them to the forge.
        let memory = odb.add_new_mempack_backend(1000)?;
        let parent = git.find_commit(parent.parse()?)?;
        let name = format!("issue-{}.md", facts.issue);
        let tree = parent.tree()?;
        let before = match tree.get_path(Path::new(&name)) {
            Ok(entry) => String::from_utf8_lossy(git.find_blob(entry.id())?.content()).into_owned(),
            Err(_) => String::new(),
        };
        let line = format!("- done by run {}\n", facts.run);
        if before.contains(&line) {
            return Ok(Self::There(CommitSha::new(parent.id().to_string())));
        }
        let blob = git.blob(format!("{before}{line}").as_bytes())?;
        let mut builder = git.treebuilder(Some(&tree))?;
        builder.insert(&name, blob, 0o100_644)?;
        let tree = git.find_tree(builder.write()?)?;
        let time = git2::Time::new(parent.time().seconds() + 1, 0);
        let author = git2::Signature::new(&facts.author.name, &facts.author.email, &time)?;
        let message = format!("Work on issue {}", facts.issue);
        let new = git.commit(None, &author, &author, &message, &tree, &[&parent])?;
        let mut pack = git2::Buf::new();
        memory.dump(&git, &mut pack)?;
        Ok(Self::New {
            old: old.unwrap_or_else(|| "0".repeat(40)),
            new: CommitSha::new(new.to_string()),
            pack: pack.to_vec(),
        })
    }
}

/// A pod's line for the history.
pub(crate) fn said(uid_place: Option<(String, String)>, what: &str) -> String {
    let place = uid_place.map_or_else(|| "gone".to_owned(), |(namespace, _)| namespace);
    json!({ "pod": place, "did": what }).to_string()
}
