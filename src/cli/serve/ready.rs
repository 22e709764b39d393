//! Readiness: really asks Postgres, and looks at config and forge.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    api::port::{Readiness, ReadyCheck},
    reconcile::{Freshness, config::ConfigInForce, lease::LeaseState},
    store::Store,
};

/// How long Postgres may take to answer: whoever asks us is not patient either.
const PATIENCE: Duration = Duration::from_millis(900);

/// What readiness is made of.
pub(super) struct PlatformReadiness {
    pub(super) store: Store,
    pub(super) reconciles: bool,
    pub(super) in_force: ConfigInForce,
    pub(super) freshness: Freshness,
    pub(super) lease: LeaseState,
    /// A forge that was not read for so long is not fresh.
    pub(super) stale_after: Duration,
}

#[async_trait]
impl Readiness for PlatformReadiness {
    async fn checks(&self) -> Vec<ReadyCheck> {
        let mut checks = vec![self.postgres().await];
        // A replica that stands by reads nothing: it is ready when it could take over.
        if self.reconciles && *self.lease.held().borrow() {
            checks.push(self.config());
            checks.push(self.forge());
        }
        checks
    }
}

impl PlatformReadiness {
    async fn postgres(&self) -> ReadyCheck {
        let asked = tokio::time::timeout(PATIENCE, self.store.schema_is_current());
        let Ok(answer) = asked.await else {
            return ReadyCheck::not_ready("postgres", "no answer");
        };
        match answer {
            Ok(true) => ReadyCheck::ready("postgres"),
            Ok(false) => ReadyCheck::not_ready("postgres", "the schema is not migrated"),
            Err(error) => ReadyCheck::not_ready("postgres", error.to_string()),
        }
    }

    fn config(&self) -> ReadyCheck {
        if self.in_force.get().is_some() {
            return ReadyCheck::ready("config");
        }
        let reason = self.freshness.config_error();
        ReadyCheck::not_ready(
            "config",
            reason.unwrap_or_else(|| "no config is accepted yet".to_owned()),
        )
    }

    fn forge(&self) -> ReadyCheck {
        match self.freshness.forge_age() {
            Some(age) if age <= self.stale_after => ReadyCheck::ready("forge"),
            _ => {
                let reason = self.freshness.forge_error();
                ReadyCheck::not_ready(
                    "forge",
                    reason.unwrap_or_else(|| "not read lately".to_owned()),
                )
            }
        }
    }
}

/// The readiness as the API wants it.
pub(super) fn readiness(parts: PlatformReadiness) -> Arc<dyn Readiness> {
    Arc::new(parts)
}
