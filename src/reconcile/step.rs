//! One step at a time: what the loop repeats, each on its own. The loop is made of
//! these; a driver that decides their order itself uses them directly.

use std::{collections::BTreeSet, sync::PoisonError};

use super::{
    Reconciler,
    request::{Wanted, poll_request},
};
use crate::{
    apply::WriterProof,
    desired::model::Desired,
    domain::ids::RepositoryId,
    observed::forge::{PollRequest, RepositoryOutcome, StoreMirror},
    store::StoreError,
    telemetry::metrics::{Load, Source},
};

impl Reconciler {
    /// Takes the lease where it is not held, else prolongs it.
    pub async fn keep_lease_once(&self) -> Result<(), StoreError> {
        let kept = self.parts.keeper.step().await;
        if self.parts.lease.grant().is_none() {
            self.parts.passes.forget();
        }
        kept.map(|_| ())
    }

    /// Ends a term of the lease in good order: gives it back, so that the next holder waits for
    /// nothing. Nothing of ours may be under way.
    pub async fn give_back_once(&self) {
        self.parts.keeper.give_back().await;
        self.parts.passes.forget();
    }

    /// Begins a term of the lease: the last accepted config is in force again, and nothing that
    /// was read before counts. Another holder has read since, or the database is another by now.
    pub async fn begin_term(&self) {
        self.parts.observer.forget();
        if let Err(error) = self.parts.config.restore().await {
            tracing::warn!(
                error = format!("{error:#}"),
                "the last accepted config cannot be read"
            );
        }
        let Some(desired) = self.parts.in_force.get() else {
            return;
        };
        match self.parts.store.load_pass(None).await {
            Ok(rows) => self.remember(Wanted::of(&desired, &rows)),
            Err(error) => tracing::warn!(%error, "the rows cannot be read"),
        }
    }

    /// Polls the config repo once.
    pub async fn poll_config_once(&self) {
        match self.parts.config.poll(&self.parts.lease).await {
            Ok(changed) => {
                self.freshness.with(|fresh| {
                    fresh.config = Some(std::time::Instant::now());
                    fresh.config_error = None;
                });
                self.parts.metrics.observed.set_unknown(Source::Config, 0);
                if changed {
                    self.parts.wake.notify_one();
                    self.wake_forge.notify_one();
                }
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "config repo is unknown");
                self.parts.metrics.desired.loaded(Load::Failed, 0);
                self.parts.metrics.observed.set_unknown(Source::Config, 1);
                self.freshness
                    .with(|fresh| fresh.config_error = Some(format!("{error:#}")));
            }
        }
    }

    /// Polls the forge once; says whether there was a config to poll for.
    pub async fn poll_forge_once(&self) -> bool {
        let Some(desired) = self.parts.in_force.get() else {
            return false;
        };
        let Some(grant) = self.parts.lease.grant() else {
            return false;
        };
        let mirror = StoreMirror::new(self.parts.store.clone(), grant);
        let request = poll_request(&desired, self.wanted());
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = request.clone();
        let report = self.parts.observer.poll(&request, &mirror).await;
        let unknown = report
            .repositories
            .iter()
            .filter_map(|line| match &line.outcome {
                RepositoryOutcome::Unknown { reason } => {
                    Some(format!("{}: {reason}", line.binding.name))
                }
                _ => None,
            });
        let unknown: Vec<String> = unknown.chain(report.identity_unknown.clone()).collect();
        for reason in &unknown {
            tracing::warn!(reason, "forge is unknown in part");
        }
        let parts = i64::try_from(unknown.len()).unwrap_or(i64::MAX);
        self.parts
            .metrics
            .observed
            .set_unknown(Source::Forge, parts);
        let whole = unknown.is_empty();
        let all_unknown =
            !report.repositories.is_empty() && unknown.len() >= report.repositories.len();
        self.freshness.with(|fresh| {
            if !all_unknown {
                fresh.forge = Some(std::time::Instant::now());
            }
            fresh.forge_error = all_unknown.then(|| unknown.join("; "));
        });
        if let (true, Ok(now)) = (whole, self.parts.store.now().await) {
            self.parts.passes.swept(now);
        }
        if report.moved() {
            self.parts.wake.notify_one();
        }
        true
    }

    /// How long to wait until the next poll, by what is left of the forge's budget.
    pub fn next_period(&self) -> std::time::Duration {
        let windows = self.parts.observer.budget();
        let mut period = self.period.lock().unwrap_or_else(PoisonError::into_inner);
        let before = period.present();
        let predictions = period.observe(&windows, std::time::Instant::now());
        let present = period.present();
        drop(period);
        let metrics = &self.parts.metrics.forge;
        metrics.set_period(present);
        for it in &predictions {
            metrics.set_predicted(&it.credential, &it.resource, it.used);
        }
        if present != before {
            let dearest = predictions
                .iter()
                .max_by(|a, b| share(a).total_cmp(&share(b)));
            tracing::info!(
                poll.period_ms = present.as_millis(),
                poll.period_before_ms = before.as_millis(),
                forge.resource = dearest.map(|it| it.resource.as_str()),
                forge.predicted = dearest.map(|it| it.used.round()),
                forge.limit = dearest.map(|it| it.limit),
                "the forge is polled at another period, by what is left of its budget"
            );
        }
        present
    }

    /// Reads the bound repositories that a hint is due for.
    pub async fn poll_hinted_once(&self) {
        let (Some(desired), Some(grant)) = (self.parts.in_force.get(), self.parts.lease.grant())
        else {
            return;
        };
        let mirror = StoreMirror::new(self.parts.store.clone(), grant);
        let request = poll_request(&desired, self.wanted());
        let report = self.parts.observer.poll_hinted(&request, &mirror).await;
        if report.moved() {
            self.parts.wake.notify_one();
        }
    }

    /// Reads the bound repositories in which the last pass wants something read that no poll was
    /// asked for yet.
    pub async fn poll_wanted_once(&self) {
        let (Some(desired), Some(grant)) = (self.parts.in_force.get(), self.parts.lease.grant())
        else {
            return;
        };
        let Some((request, repositories)) = self.beyond(&desired) else {
            return;
        };
        let mirror = StoreMirror::new(self.parts.store.clone(), grant);
        let observer = &self.parts.observer;
        let report = observer.poll_some(&request, &repositories, &mirror).await;
        if report.moved() {
            self.parts.wake.notify_one();
        }
    }

    /// What is wanted that no poll was asked for yet, and in which repositories; from now on one
    /// is.
    fn beyond(&self, desired: &Desired) -> Option<(PollRequest, BTreeSet<RepositoryId>)> {
        let wanted = self.wanted();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let repositories = wanted.beyond(&asked);
        if repositories.is_empty() {
            return None;
        }
        let request = poll_request(desired, wanted);
        *asked = request.clone();
        Some((request, repositories))
    }

    /// Makes one pass; says whether it came to anything, so that another may find more to do.
    pub async fn pass_once(&self) -> bool {
        let wants = |wanted| {
            self.remember(wanted);
            self.ask_for_more();
        };
        match self.parts.passes.pass(wants).await {
            Ok(progressed) => progressed,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "pass failed");
                false
            }
        }
    }

    /// Has read at once what the last pass waits for and no poll was asked for yet, so that a
    /// chain of steps takes seconds and not periods.
    fn ask_for_more(&self) {
        let wanted = self.wanted();
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !wanted.beyond(&asked).is_empty() {
            self.wake_wanted.notify_one();
        }
    }

    fn remember(&self, wanted: Wanted) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }

    fn wanted(&self) -> Wanted {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.clone()
    }
}

/// How much of its limit a budget is predicted to use.
#[expect(clippy::cast_precision_loss, reason = "limits are some thousands")]
fn share(prediction: &super::period::Prediction) -> f64 {
    prediction.used / prediction.limit.max(1) as f64
}
