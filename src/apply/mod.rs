//! Applies planned actions; decides nothing.
//!
//! Phase after phase, concurrently inside one. Order of an effect: commit the
//! intent → call → commit `done` with its event (see [`crate::domain::effect`]).
//! A failing action backs off by its own key and holds back nobody else; a
//! conflict is skipped, the next pass plans anew.
//!
//! Invariants:
//! - every write of rows goes through a holder transaction, so a stale holder
//!   changes nothing;
//! - every changing call outside asks the write gate (in the adapters) right
//!   before it is sent, and its action the lease's row before that;
//! - secrets are resolved here and nowhere earlier.

mod approvals;
mod backoff;
mod cluster;
mod forge;
mod pull_request;
mod push;
mod record;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture};

use tracing::Instrument;

use crate::{
    cluster::Cluster,
    domain::{Timestamp, effect::Effect, event::NewEvent, ids::UserId, run_keys::RunKeys},
    forge::Forge,
    plan::{Action, ActionKind, Phase, Plan},
    store::{
        Edge, EffectDone, EffectFailed, EffectIntent, HolderTx, LeaseGrant, Store, StoreError,
    },
};

/// Actions of one phase that are under way at once, where nothing else is said.
pub const CONCURRENCY: usize = 8;

/// Proof that this process holds the lease: only a holder has it.
pub trait WriterProof: Send + Sync + fmt::Debug {
    /// The grant under which rows may be written now; `None` once the lease is lost.
    fn grant(&self) -> Option<LeaseGrant>;

    /// Whether a further action may be begun: not any more once we are about to leave.
    fn may_begin(&self) -> bool {
        true
    }
}

/// What applying needs to know beside the plan.
#[derive(Debug, Clone)]
pub struct ApplySettings {
    /// How long a call may take; with the intent the ledger gets its deadline.
    pub call_timeout: Duration,
    /// How long the forge may hide our own writes from reads.
    pub visibility: Duration,
    /// Actions of one phase that are under way at once.
    pub concurrency: usize,
}

/// How one action ended.
#[derive(Debug, Clone, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// It is done.
    Done,
    /// It had been done before and is recorded now.
    Recovered,
    /// It may have been done before; it is looked up again later.
    Deferred,
    /// What it was planned on has changed: the next pass plans anew.
    Skipped,
    /// It failed and backs off.
    Failed,
    /// Nothing was sent: the lease is lost or about to be, or we are about to leave.
    NotSent,
}

/// What applying a plan came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplyReport {
    /// Each action's name and how it ended, in the order they ended.
    pub outcomes: Vec<(&'static str, Outcome)>,
}

impl ApplyReport {
    /// Whether anything changed, so that another pass may find more to do.
    pub fn progressed(&self) -> bool {
        self.outcomes.iter().any(|(_, outcome)| {
            matches!(
                outcome,
                Outcome::Done | Outcome::Recovered | Outcome::Skipped
            )
        })
    }

    /// Whether the lease was found lost.
    pub fn lease_lost(&self) -> bool {
        self.outcomes
            .iter()
            .any(|(_, outcome)| *outcome == Outcome::NotSent)
    }
}

/// Why an action did not get done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActionError {
    /// The store refused or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The forge refused or could not be reached.
    #[error(transparent)]
    Forge(#[from] crate::forge::ForgeError),
    /// The cluster refused or could not be reached.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ClusterError),
    /// An earlier call may still show up: not before this time.
    #[error("an earlier call may still show up")]
    NotYet(Timestamp),
    /// The lease is not ours any more.
    #[error("the lease is lost")]
    LeaseLost,
    /// Something that it needs is not there.
    #[error("{0}")]
    Missing(String),
}

impl ActionError {
    fn not_sent(&self) -> bool {
        match self {
            Self::LeaseLost | Self::Store(StoreError::LeaseLost) => true,
            Self::Forge(error) => error.kind == crate::forge::ForgeErrorKind::NotSent,
            Self::Cluster(error) => error.class == crate::cluster::ErrorClass::NotSent,
            _ => false,
        }
    }

    /// Whether the forge's call that failed so certainly changed nothing. Of the cluster's
    /// calls, of which one action makes several, earlier ones may have.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Forge(error) if !error.maybe_applied)
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Forge(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// Applies plans.
#[derive(Debug)]
pub struct Applier {
    store: Store,
    forge: Arc<dyn Forge>,
    cluster: Arc<dyn Cluster>,
    tokens: Arc<RunKeys>,
    settings: ApplySettings,
}

/// One action being performed.
pub(crate) struct Performing<'a> {
    applier: &'a Applier,
    action: &'a Action,
    proof: &'a dyn WriterProof,
    own: &'a [UserId],
    now: Timestamp,
    /// Whether this performance committed an intent: only that one may it take back.
    intended: AtomicBool,
}

impl Applier {
    /// Binds the targets.
    pub fn new(
        store: Store,
        forge: Arc<dyn Forge>,
        cluster: Arc<dyn Cluster>,
        tokens: Arc<RunKeys>,
        settings: ApplySettings,
    ) -> Self {
        Self {
            store,
            forge,
            cluster,
            tokens,
            settings,
        }
    }

    /// Performs a plan's actions, phase after phase.
    ///
    /// `now` is the pass's time; `own` are our own accounts at the forge, whose
    /// comments and pull requests count as ours.
    pub async fn apply(
        &self,
        plan: &Plan,
        proof: &dyn WriterProof,
        now: Timestamp,
        own: &[UserId],
    ) -> ApplyReport {
        let mut report = ApplyReport::default();
        for phase in [
            Phase::Record,
            Phase::Stop,
            Phase::Build,
            Phase::Publish,
            Phase::Clean,
        ] {
            let actions = plan.actions.iter().filter(|action| action.phase() == phase);
            let performing: Vec<BoxFuture<'_, _>> = actions
                .map(|action| self.perform(action, proof, now, own).boxed())
                .collect();
            let performed: Vec<_> = futures::stream::iter(performing)
                .buffer_unordered(self.settings.concurrency.max(1))
                .collect()
                .await;
            report.outcomes.extend(performed);
            if report.lease_lost() {
                break;
            }
        }
        report
    }

    async fn perform(
        &self,
        action: &Action,
        proof: &dyn WriterProof,
        now: Timestamp,
        own: &[UserId],
    ) -> (&'static str, Outcome) {
        if !proof.may_begin() {
            return (action.kind.name().into(), Outcome::NotSent);
        }
        let performing = Performing {
            applier: self,
            action,
            proof,
            own,
            now,
            intended: AtomicBool::new(false),
        };
        let subject = action.kind.event().and_then(|event| event.subject);
        let span = tracing::info_span!(
            "action",
            action.key = %action.key,
            run.id = action.run.map(tracing::field::display),
            issue.number = subject.map(|subject| subject.number.0),
        );
        let outcome = performing.run().instrument(span).await;
        (action.kind.name().into(), outcome)
    }
}

impl Performing<'_> {
    async fn run(&self) -> Outcome {
        self.edge(Edge::BeforeIntent).await;
        let performed = match &self.action.kind {
            kind if kind.is_record() => self.record().await,
            _ => self.write_outside().await,
        };
        match performed {
            Ok(outcome) => {
                self.edge(Edge::AfterDone).await;
                let outcome_name = <&'static str>::from(&outcome);
                tracing::info!(action.outcome = outcome_name, "{} performed", self.name());
                outcome
            }
            Err(error) => self.fail(&error).await,
        }
    }

    /// Performs an action outside Postgres, where the lease's row says that it is still ours: our
    /// own clock, which the write gate goes by, stands still while the whole machine is paused.
    async fn write_outside(&self) -> Result<Outcome, ActionError> {
        self.begin().await?.rollback().await?;
        match &self.action.kind {
            ActionKind::ApplyEnvironment { .. }
            | ActionKind::ApplyAttempt { .. }
            | ActionKind::DeleteObject { .. }
            | ActionKind::DeleteNamespace { .. } => self.write_cluster().await,
            _ => self.write_forge().await,
        }
    }

    /// Records a failure for the backoff of the action's own key.
    async fn fail(&self, error: &ActionError) -> Outcome {
        if error.not_sent() {
            tracing::warn!(%error, "{} not sent", self.name());
            return Outcome::NotSent;
        }
        if let ActionError::Store(StoreError::Conflict { .. }) = error {
            tracing::debug!(%error, "{} skipped", self.name());
            return Outcome::Skipped;
        }
        let deferred = matches!(error, ActionError::NotYet(_));
        if deferred {
            tracing::debug!("{} deferred", self.name());
        } else {
            tracing::warn!(%error, "{} failed", self.name());
        }
        if let Err(error) = self.record_failure(error).await {
            tracing::warn!(%error, "failure not recorded");
        }
        if deferred {
            Outcome::Deferred
        } else {
            Outcome::Failed
        }
    }

    async fn record_failure(&self, error: &ActionError) -> Result<(), ActionError> {
        let failures = self.effect().await?.map_or(0, |effect| effect.attempts);
        let next_at = if let ActionError::NotYet(at) = error {
            *at
        } else {
            let pause = backoff::pause(failures)
                .max(error.retry_after().unwrap_or_default())
                .max(self.patience(error));
            self.now + chrono::Duration::from_std(pause).unwrap_or(chrono::Duration::minutes(5))
        };
        let mut tx = self.begin().await?.named("failure");
        tx.failed(&EffectFailed {
            key: &self.action.key,
            run: self.action.run,
            kind: self.name(),
            next_at,
            error: &error.to_string(),
            changed_nothing: self.intended.load(Ordering::Relaxed) && error.is_refusal(),
        })
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Where the credential may not write variables, only people change that, and nothing waits
    /// for it: asking seldom spares the forge's writes for runs.
    fn patience(&self, error: &ActionError) -> Duration {
        let forbidden = matches!(
            error,
            ActionError::Forge(error) if error.kind == crate::forge::ForgeErrorKind::Forbidden
        );
        match self.action.kind {
            ActionKind::SetVariable { .. } if forbidden => Duration::from_hours(1),
            _ => Duration::ZERO,
        }
    }

    /// Tells who watches where this action stands.
    async fn edge(&self, edge: Edge) {
        let edges = self.applier.store.edges();
        edges.at(&self.action.key.0, edge).await;
    }

    fn name(&self) -> &'static str {
        self.action.kind.name().into()
    }

    async fn begin(&self) -> Result<HolderTx, ActionError> {
        let grant = self.proof.grant().ok_or(ActionError::LeaseLost)?;
        Ok(self.applier.store.begin_holder(&grant).await?)
    }

    /// The ledger's row of the action, as it is now.
    async fn effect(&self) -> Result<Option<Effect>, ActionError> {
        Ok(self.applier.store.effect(&self.action.key).await?)
    }

    /// Commits the intent: the call follows at once. Whoever looks an earlier call up does so
    /// before, or the new deadline would put off for ever when its absence counts.
    async fn intend(&self) -> Result<(), ActionError> {
        let mut tx = self.begin().await?;
        tx.intend(&EffectIntent {
            key: &self.action.key,
            run: self.action.run,
            kind: self.name(),
            intended_hash: &self.action.content_hash(),
            call_timeout: self.applier.settings.call_timeout,
        })
        .await?;
        tx.commit().await?;
        self.intended.store(true, Ordering::Relaxed);
        self.edge(Edge::AfterIntent).await;
        Ok(())
    }

    /// Writes `done` into a transaction that also holds what follows from it.
    async fn done(
        &self,
        tx: &mut HolderTx,
        external_id: Option<&str>,
        recovered: bool,
        event: &NewEvent,
    ) -> Result<(), ActionError> {
        tx.done(&EffectDone {
            key: &self.action.key,
            run: self.action.run,
            kind: self.name(),
            content_hash: &self.action.content_hash(),
            external_id,
            recovered,
            event,
        })
        .await?;
        self.edge(Edge::AfterCall).await;
        Ok(())
    }

    /// Whether an earlier call of this effect may have been made and not be visible yet:
    /// then absence says nothing before the time returned.
    fn hidden_until(&self, before: Option<&Effect>) -> Option<Timestamp> {
        let called = before?.attempted_at?;
        let visible = chrono::Duration::from_std(self.applier.settings.visibility).ok()?;
        let until = called + visible;
        (until > self.now).then_some(until)
    }
}
