//! Several replicas on one database: each with a name, a log and an ops listener of its own, and
//! beside them one process with the API role, which the pods talk to.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use codex_k8s::{
    domain::{Timestamp, run::RunState},
    sandbox::{
        github::{Fault, FaultRule},
        seed::REPOSITORY,
        world::ServeChild,
    },
};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{super::stage::Stage, link::Link};

/// The sandbox's times.
pub(super) const LEASE: Duration = Duration::from_secs(9);
pub(super) const MARGIN: Duration = Duration::from_secs(2);
/// What a pass may take until its first write has arrived, on a machine that tests keep busy:
/// still less than half of what waiting for a lease's end would take.
pub(super) const PASS: Duration = Duration::from_secs(4);
/// In which a process that is told to stop has ended.
pub(super) const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Keeps what becomes of the lease, by the clock that the lease itself goes by.
const LEASE_LOG: &str = "
    create table lease_log (
        id bigint generated always as identity, at timestamptz, holder text, epoch bigint,
        until timestamptz);
    create function log_lease() returns trigger language plpgsql as $$
    begin
        insert into lease_log (at, holder, epoch, until)
            values (clock_timestamp(), new.holder, new.epoch,
                new.until - (select shift from clock_offset));
        return null;
    end $$;
    create trigger log_lease after update on lease for each row execute function log_lease();
";

/// A replica.
pub(super) struct Replica {
    pub(super) child: ServeChild,
    log: std::path::PathBuf,
}

/// One holder's time, as the rows have it.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) holder: String,
    pub(super) epoch: i64,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) given_back: bool,
}

/// A request to change something, and the replica that sent it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Timestamp,
    pub(super) holder: String,
    pub(super) what: String,
}

/// The stage with its replicas.
pub(super) struct Cast {
    pub(super) stage: Stage,
    replicas: BTreeMap<&'static str, Replica>,
    /// The same moment by both clocks.
    moment: (Instant, Timestamp),
}

impl Cast {
    /// A world with a server of its own, and the process that serves pods.
    pub(super) async fn of(agent_seconds: f64) -> Self {
        let stage = Stage::prepare_alone(agent_seconds, &[]).await;
        sqlx::raw_sql(LEASE_LOG).execute(&stage.db).await.unwrap();
        let mut cast = Self {
            stage,
            replicas: BTreeMap::new(),
            moment: (Instant::now(), chrono::Utc::now()),
        };
        cast.add("api", &["--roles", "api"], &[]);
        cast
    }

    /// Adds a replica that reconciles.
    pub(super) fn reconciler(&mut self, name: &'static str, change: &[(&str, &str)]) {
        let own = [("CODEXK8S_OPS_LISTEN", "127.0.0.1:0")];
        let change = [&own[..], change].concat();
        self.add(name, &["--roles", "reconciler"], &change);
    }

    /// Adds a process.
    pub(super) fn add(&mut self, name: &'static str, arguments: &[&str], change: &[(&str, &str)]) {
        let mut command = self.stage.world.command().clone();
        command.arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        let named = [("CODEXK8S_REPLICA", name)];
        for (variable, value) in named.iter().chain(change) {
            let settings = &mut command.settings;
            settings.insert((*variable).to_owned(), (*value).to_owned());
        }
        let folder = self.stage.world.folder();
        command.pid_file = folder.join(format!("{name}.pid"));
        command.log = folder.join(format!("{name}.log"));
        let log = command.log.clone();
        let child = command.spawn().unwrap();
        self.replicas.insert(name, Replica { child, log });
    }

    /// The reconciler's database over a wire.
    pub(super) fn url_over(&self, link: &Link) -> String {
        let url = self.stage.world.database_url().expose_secret();
        let mut url: url::Url = url.parse().unwrap();
        url.set_port(Some(link.port())).unwrap();
        url.into()
    }

    /// Takes a replica out, to be killed or waited for.
    pub(super) fn take(&mut self, name: &str) -> ServeChild {
        self.replicas.remove(name).unwrap().child
    }

    pub(super) fn signal(&self, name: &str, signal: Signal) {
        let id = i32::try_from(self.replicas[name].child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Panics where a process has ended that nobody ended.
    pub(super) fn all_alive(&mut self) {
        for (name, replica) in &mut self.replicas {
            let ended = replica.child.ended();
            let log = std::fs::read_to_string(&replica.log).unwrap_or_default();
            assert!(ended.is_none(), "{name} ended: {ended:?}\n{log}");
        }
    }

    /// What a replica logged.
    pub(super) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(&self.replicas[name].log).unwrap_or_default()
    }

    /// Where a replica's ops listener is.
    async fn ops(&self, name: &str) -> String {
        self.stage
            .until("the ops listener is there", || async {
                let log = self.log(name);
                let lines = log
                    .lines()
                    .filter_map(|line| serde_json::from_str(line).ok());
                let address = |line: Value| {
                    (line["listener"] == "ops")
                        .then(|| line["address"].as_str().map(str::to_owned))?
                };
                lines.filter_map(address).next_back()
            })
            .await
    }

    /// An answer of the ops listener: it comes also where Postgres gives none.
    pub(super) async fn probe(&self, name: &str, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.ops(name).await);
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let answer = client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The name of the replica that holds the lease.
    pub(super) async fn holder(&self) -> Option<String> {
        let row = self.stage.store.read_lease().await.ok()?;
        let holder = row.holder.filter(|_| row.until > row.now)?;
        Some(name_of(&holder))
    }

    /// Waits until that replica holds the lease and makes passes over repositories it has read.
    pub(super) async fn until_reconciles(&self, name: &str) {
        self.stage
            .until(
                &format!("{name} holds the lease and reconciles"),
                || async {
                    let holds = self.holder().await.as_deref() == Some(name);
                    (holds && self.probe(name, "/readyz").await.0 == 200).then_some(())
                },
            )
            .await;
        self.stage
            .until("both repositories are read", || async {
                let mirrors = self.stage.store.mirrors().await.ok()?;
                let read = mirrors
                    .iter()
                    .filter(|mirror| mirror.complete && mirror.unknown.is_none());
                (read.count() == 2).then_some(())
            })
            .await;
    }

    /// The terms of the lease so far.
    pub(super) async fn terms(&self) -> Vec<Term> {
        let rows: Vec<(Timestamp, Option<String>, i64, Timestamp)> =
            sqlx::query_as("select at, holder, epoch, until from lease_log order by id")
                .fetch_all(&self.stage.db)
                .await
                .unwrap();
        let mut terms: Vec<Term> = Vec::new();
        for (at, holder, epoch, until) in rows {
            match (terms.last_mut().filter(|term| term.epoch == epoch), holder) {
                (Some(term), Some(_)) => term.until = until,
                (Some(term), None) => (term.until, term.given_back) = (at, true),
                (None, holder) => terms.push(Term {
                    holder: holder.unwrap_or_default(),
                    epoch,
                    from: at,
                    until,
                    given_back: false,
                }),
            }
        }
        terms
    }

    /// Everything that was asked of forge and cluster to be changed, in order.
    pub(super) fn sent(&self) -> Vec<Sent> {
        let (instant, time) = self.moment;
        let sent = |at: Instant, agent: &str, what: String| Sent {
            at: time + chrono::Duration::from_std(at - instant).unwrap(),
            holder: agent
                .split_once('(')
                .and_then(|(_, rest)| rest.strip_suffix(')'))
                .unwrap_or(agent)
                .to_owned(),
            what,
        };
        let forge = self.stage.world.github().arrivals();
        let forge = forge
            .iter()
            .map(|one| sent(one.at, &one.agent, one.route.clone()));
        let cluster = self.stage.world.kubernetes().unwrap().writes();
        let cluster = cluster.iter().map(|one| {
            let what = format!("{} {} {}", one.verb, one.resource, one.name);
            sent(one.at, &one.agent, what)
        });
        let mut all: Vec<_> = forge.chain(cluster).collect();
        all.sort_by_key(|one| one.at);
        all
    }

    /// Whatever was sent was sent in a term of its sender's, and a term that followed one that
    /// was not given back began to send a margin after that one's end.
    pub(super) async fn check_fences(&self) {
        self.check_fences_with(MARGIN).await;
    }

    /// The same where the rows' clock jumped: a new holder goes by its own clock and waits for
    /// the end of the former one's lease; the margin before that end is the former one's.
    pub(super) async fn check_fences_by_our_clock(&self) {
        self.check_fences_with(Duration::ZERO).await;
    }

    async fn check_fences_with(&self, margin: Duration) {
        let terms = self.terms().await;
        let margin = chrono::Duration::from_std(margin).unwrap();
        for sent in self.sent() {
            let own = terms.iter().enumerate().find(|(_, term)| {
                term.holder == sent.holder && term.from <= sent.at && sent.at <= term.until
            });
            let Some((index, _)) = own else {
                panic!("{sent:?} was sent in no term of its sender's: {terms:#?}");
            };
            let former = index.checked_sub(1).map(|before| &terms[before]);
            if let Some(former) = former.filter(|former| !former.given_back) {
                assert!(sent.at >= former.until + margin, "{sent:?}: {terms:#?}");
            }
        }
    }

    /// Cuts every connection of the platform's to the database.
    pub(super) async fn cut_all(&self) {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where application_name in ('codex-k8s', 'codex-k8s-api')",
        )
        .execute(&self.stage.db)
        .await
        .unwrap();
    }

    /// Waits until something that matters was sent, and answers its sender's name.
    pub(super) async fn until_sent(&self, route: &str) -> String {
        self.stage
            .until(&format!("{route} is sent"), || async {
                let sent = self.sent();
                let found = sent.iter().rev().find(|one| one.what == route)?;
                Some(name_of(&found.holder))
            })
            .await
    }

    /// When a holder first changed anything, the copied lease aside.
    pub(super) async fn first_sent_by(&self, name: &str) -> Sent {
        self.stage
            .until(&format!("{name} changes something"), || async {
                let sent = self.sent();
                let of =
                    |one: &&Sent| name_of(&one.holder) == name && !one.what.contains(" leases ");
                sent.iter().find(of).cloned()
            })
            .await
    }

    pub(super) fn slow(&self, route: &str, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).unwrap();
        let rule = FaultRule::once(route, Fault::Slow { by_ms });
        self.stage.world.github().add_fault(rule);
    }

    /// The end that an undisturbed run of the label on this issue comes to.
    pub(super) async fn same_end(&self, number: u64) {
        let stage = &self.stage;
        let issue = i64::try_from(number).unwrap();
        stage.finished(issue, RunState::Succeeded).await;
        let runs = stage.runs_on(issue).await;
        assert_eq!(runs.len(), 1, "{}", stage.history().await);
        let branch = format!("codex/issue-{number}");
        let head = stage.world.github().branch_commit(REPOSITORY, &branch);
        let heads: Vec<Value> = stage
            .pulls()
            .into_iter()
            .map(|pull| stage.issue(pull))
            .collect();
        let of_branch = heads
            .iter()
            .filter(|pull| head.as_deref() == pull["pull"]["head_sha"].as_str());
        assert_eq!(of_branch.count(), 1, "{}", stage.history().await);
        assert_eq!(stage.comments(number).len(), 1, "{}", stage.history().await);
        assert_eq!(stage.labels(number), ["state:in-review"]);
    }

    /// Nothing of any run is left.
    pub(super) fn nothing_left(&self) {
        assert_eq!(self.stage.run_namespaces(), Vec::<String>::new());
        assert_eq!(self.stage.pod_processes(), Vec::<u32>::new());
    }

    pub(super) async fn end(mut self) {
        self.replicas.clear();
        self.stage.end().await;
    }
}

/// The replica's name in a holder's.
pub(super) fn name_of(holder: &str) -> String {
    let name = holder.rsplit_once('-').map_or(holder, |(name, _)| name);
    name.to_owned()
}
