//! One pass: load rows and cluster, plan each project and the orphans, check, apply, report;
//! last, rows that are kept no longer are deleted, a batch at a time.
//!
//! A pass polls nothing. Projects are planned and applied side by side, so that
//! a slow or broken one delays no other (invariant I11).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use tracing::Instrument;

use super::{config::ConfigInForce, expiry::Expiry, lease::LeaseState, request::Wanted};
use crate::{
    apply::{Applier, ApplyReport, Outcome, WriterProof},
    cluster::{Cluster, ClusterCache, snapshot::ClusterSnapshot},
    desired::model::Desired,
    domain::{
        Timestamp,
        ids::{InstallationId, ProjectKey, Revision, UserId},
        report::ReportLine,
        snapshot::StoreSnapshot,
    },
    observed::model::Observed,
    plan::{self, Plan, PlanInput, PlanSettings, Scope, check},
    store::Store,
    telemetry::metrics::{Metrics, PassResult},
};

/// Projects that are planned and applied at once, where nothing else is said.
pub const CONCURRENCY: usize = 4;

/// The parts of a pass.
#[derive(Debug)]
pub struct PassParts {
    /// Rows.
    pub store: Store,
    /// The cluster and its caches.
    pub cluster: Arc<dyn Cluster>,
    /// Performs actions.
    pub applier: Applier,
    /// Our lease.
    pub lease: LeaseState,
    /// Whose objects are ours.
    pub installation: InstallationId,
    /// Process settings that plans depend on.
    pub settings: PlanSettings,
    /// What is counted.
    pub metrics: Metrics,
    /// Projects that are planned and applied at once.
    pub concurrency: usize,
}

/// Makes passes.
pub struct Passes {
    parts: PassParts,
    in_force: ConfigInForce,
    swept_at: Mutex<Option<Timestamp>>,
    /// The last revision that a pass was noted to be made with.
    applied: Mutex<Option<Revision>>,
    /// Reports as last stored, so that an unchanged one costs no transaction.
    reported: Mutex<BTreeMap<Option<ProjectKey>, Vec<ReportLine>>>,
    expiry: Expiry,
}

impl Passes {
    /// Puts the parts together.
    pub fn new(parts: PassParts, in_force: ConfigInForce) -> Self {
        Self {
            parts,
            in_force,
            swept_at: Mutex::default(),
            applied: Mutex::default(),
            reported: Mutex::default(),
            expiry: Expiry::default(),
        }
    }

    /// Notes that forge and cluster were read whole since the lease was taken.
    pub fn swept(&self, at: Timestamp) {
        *self.swept_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Forgets what a former term of the lease had seen.
    pub fn forget(&self) {
        *self.swept_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.reported
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.expiry.forget();
    }

    /// Makes one pass over all projects and the orphans; says whether something was done, so that
    /// another pass may find more to do.
    ///
    /// `wants` is told what the rows ask the next polls to look at, before anything is planned:
    /// what is applied may take its time, and that is read meanwhile.
    pub async fn pass(&self, wants: impl FnOnce(Wanted)) -> anyhow::Result<bool> {
        let began = Instant::now();
        let (inputs, rows) = self.load().await.context("load a pass")?;
        let desired = inputs.desired.as_deref();
        wants(desired.map_or_else(Wanted::default, |desired| Wanted::of(desired, &rows)));
        self.gauge(&inputs, &rows);
        let scopes: Vec<BoxFuture<'_, _>> = scopes(desired, rows, &inputs.cluster)
            .into_iter()
            .map(|(scope, rows)| self.pass_scope(self.input(&inputs, scope, rows)).boxed())
            .collect();
        let sha = inputs
            .desired
            .as_ref()
            .map(|desired| desired.sha.to_string());
        let span = tracing::info_span!("pass", config.sha = sha);
        let passed: Vec<anyhow::Result<Scoped>> = futures::stream::iter(scopes)
            .buffer_unordered(self.parts.concurrency.max(1))
            .collect()
            .instrument(span)
            .await;
        let progressed = passed.iter().any(|passed| {
            matches!(
                passed,
                Ok(Scoped {
                    progressed: true,
                    ..
                })
            )
        });
        let stalled = passed
            .iter()
            .any(|passed| matches!(passed, Ok(Scoped { stalled: true, .. })));
        let failed = passed.iter().find_map(|passed| passed.as_ref().err());
        let result = match (failed, stalled, progressed) {
            (Some(_), ..) => PassResult::Transient,
            (None, true, _) => PassResult::Stalled,
            (None, false, true) => PassResult::Applied,
            (None, false, false) => PassResult::Settled,
        };
        if let Some(error) = failed {
            tracing::warn!(error = format!("{error:#}"), "a project's pass failed");
        }
        self.parts.metrics.pass.ended(result, began.elapsed());
        self.note_revision(&inputs).await?;
        self.expire(&inputs).await;
        Ok(progressed)
    }

    /// Loads a pass's input: the cluster first, so that what a pod reported before it ended
    /// is among the rows.
    async fn load(&self) -> anyhow::Result<(Inputs, StoreSnapshot)> {
        let seen = Instant::now();
        let cache = self.parts.cluster.snapshot();
        let desired = self.in_force.get();
        let rows = self.parts.store.load_pass(None).await?;
        let cluster = match cache {
            ClusterCache::Known { age, snapshot } => {
                let age = chrono::Duration::from_std(age + seen.elapsed()).unwrap_or_default();
                Observed::Known {
                    at: rows.now - age,
                    value: Arc::new(snapshot),
                }
            }
            ClusterCache::Unknown { reason } => Observed::Unknown { reason },
        };
        let inputs = Inputs {
            now: rows.now,
            desired,
            cluster,
        };
        Ok((inputs, rows))
    }

    fn input(&self, inputs: &Inputs, scope: Scope, rows: StoreSnapshot) -> PlanInput {
        PlanInput {
            now: inputs.now,
            installation: self.parts.installation.clone(),
            scope,
            desired: inputs.desired.clone(),
            settings: self.parts.settings.clone(),
            rows,
            cluster: inputs.cluster.clone(),
            swept_at: *self.swept_at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    async fn pass_scope(&self, input: PlanInput) -> anyhow::Result<Scoped> {
        let planned = plan::plan(&input);
        let (planned, violations) = check::check(&input, planned);
        for violation in &violations {
            tracing::error!(rule = %violation.rule, detail = violation.detail, "the plan broke a rule");
            self.parts.metrics.pass.check_failed(violation.rule.into());
        }
        self.count(&planned);
        self.store_report(&planned).await?;
        if planned.is_empty() {
            return Ok(Scoped {
                progressed: false,
                stalled: !violations.is_empty(),
            });
        }
        let own: Vec<UserId> = input
            .rows
            .identities
            .iter()
            .map(|row| row.identity.actor.id)
            .collect();
        let report = self
            .parts
            .applier
            .apply(&planned, &self.parts.lease, input.now, &own)
            .await;
        self.count_outcomes(&planned, &report, &input);
        Ok(Scoped {
            progressed: report.progressed(),
            stalled: !violations.is_empty(),
        })
    }

    async fn store_report(&self, plan: &Plan) -> anyhow::Result<()> {
        let project = match &plan.scope {
            Scope::Project { project } => Some(project.clone()),
            Scope::Orphans => None,
        };
        {
            let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            if reported.get(&project) == Some(&plan.report) {
                return Ok(());
            }
        }
        let grant = self
            .parts
            .lease
            .grant()
            .context("store a report: the lease is lost")?;
        let tx = self.parts.store.begin_holder(&grant).await?;
        let mut tx = tx.named("report");
        tx.put_report(project.as_ref(), &plan.report).await?;
        tx.commit().await?;
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.insert(project, plan.report.clone());
        Ok(())
    }

    /// Notes the revision that passes are made with, so that none below it is ever planned again.
    async fn note_revision(&self, inputs: &Inputs) -> anyhow::Result<()> {
        let revision = inputs.desired.as_ref().and_then(|desired| desired.revision);
        let noted = *self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(revision) = revision.filter(|revision| noted != Some(*revision)) else {
            return Ok(());
        };
        let grant = self.parts.lease.grant();
        let grant = grant.context("note the applied revision: the lease is lost")?;
        let tx = self.parts.store.begin_holder(&grant).await?;
        let mut tx = tx.named("revision applied");
        tx.mark_revision_applied(revision).await?;
        tx.commit().await?;
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(revision);
        Ok(())
    }

    /// Deletes what the config keeps no longer. Nothing waits for it, so it fails alone.
    async fn expire(&self, inputs: &Inputs) {
        let (Some(desired), Some(grant)) = (&inputs.desired, self.parts.lease.grant()) else {
            return;
        };
        let retention = &desired.platform.retention;
        let (store, now) = (&self.parts.store, inputs.now);
        if let Err(error) = self.expiry.run(store, &grant, retention, now).await {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(error, "what is kept no longer could not be deleted");
        }
    }

    fn count(&self, plan: &Plan) {
        let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
        for action in &plan.actions {
            *kinds.entry(action.kind.name().into()).or_default() += 1;
        }
        for (kind, count) in kinds {
            self.parts.metrics.pass.planned(kind, count);
        }
    }

    fn count_outcomes(&self, plan: &Plan, report: &ApplyReport, input: &PlanInput) {
        for (kind, outcome) in &report.outcomes {
            self.parts.metrics.apply.applied(kind, outcome.into());
            let target = super::metrics::write_target(kind).filter(|_| *outcome == Outcome::Done);
            if let Some(target) = target {
                self.parts.metrics.apply.wrote(target);
            }
        }
        super::metrics::launches(&self.parts.metrics, plan, input);
    }

    fn gauge(&self, inputs: &Inputs, rows: &StoreSnapshot) {
        let slots = inputs.desired.as_ref().map_or(0, |desired| {
            desired
                .projects
                .values()
                .map(|project| i64::from(project.spec.slots))
                .sum()
        });
        super::metrics::rows(&self.parts.metrics, rows, slots);
        let age = match &inputs.cluster {
            Observed::Known { at, .. } => (inputs.now - *at).to_std().ok(),
            Observed::Unknown { .. } => None,
        };
        super::metrics::cluster(&self.parts.metrics, age);
    }
}

/// What all plans of a pass have in common.
struct Inputs {
    now: Timestamp,
    desired: Option<Arc<Desired>>,
    cluster: Observed<Arc<ClusterSnapshot>>,
}

/// Every project in the config or with live rows, and the orphans; each with its rows.
pub fn scopes(
    desired: Option<&Desired>,
    rows: StoreSnapshot,
    cluster: &Observed<Arc<ClusterSnapshot>>,
) -> Vec<(Scope, StoreSnapshot)> {
    let configured = desired
        .into_iter()
        .flat_map(|desired| desired.projects.keys());
    let of_runs = rows.runs.iter().map(|run| &run.project);
    let of_triggers = rows.triggers.iter().map(|trigger| &trigger.project);
    let projects: BTreeSet<&ProjectKey> = configured.chain(of_runs).chain(of_triggers).collect();
    let projects: Vec<ProjectKey> = projects.into_iter().cloned().collect();
    let orphans = PlanInput::rows_of_orphans(&rows, cluster);
    rows.by_project(projects)
        .into_iter()
        .map(|(project, rows)| (Scope::Project { project }, rows))
        .chain([(Scope::Orphans, orphans)])
        .collect()
}

struct Scoped {
    progressed: bool,
    stalled: bool,
}

/// How long to wait between passes when nothing wakes us: what waits for a time (a retry, a
/// time-out, a grace) is looked at again no later.
pub const IDLE: Duration = Duration::from_secs(1);
