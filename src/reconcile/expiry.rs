//! What the config keeps no longer: logs and sessions of finished runs, and all but the newest
//! sessions of live ones, what the ledger has of effects that were of no run, and branches that are
//! gone, so that rows do not grow for ever.
//!
//! These rows decide nothing, so no plan names them: an old effect that is still wanted is found
//! where it was made, and noted again; so is a branch. They are looked at some minutes apart, and
//! where nothing is to go nothing is begun and nothing written (invariant I1).

use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;

use crate::{
    desired::model::Retention,
    domain::Timestamp,
    store::{Kept, LeaseGrant, Store, StoreError},
};

/// Between two looks. A pod saves a session every two minutes: a live run has few too many.
const EVERY: TimeDelta = TimeDelta::minutes(5);

/// Sessions of a live run: the newest, and two behind it for a look at what went wrong.
const LIVE_SESSIONS: i64 = 3;

/// For how long the ledger keeps effects of no run, such as answers to refused triggers: every
/// pass reads them, and who is answered once a month is answered once.
const EFFECTS: TimeDelta = TimeDelta::days(30);

/// For how long a branch that is gone is kept in mind: it could come back under its name.
const GONE_BRANCHES: TimeDelta = TimeDelta::days(30);

/// Runs and sessions of one look: so many of the largest sessions go within a statement's time.
const ROWS: i64 = 20;

/// Log chunks of one look.
const CHUNKS: i64 = 500;

/// Deletes what has been kept for long enough.
#[derive(Debug, Default)]
pub struct Expiry {
    /// When it is looked again, by the database's clock; `None`: at once.
    next: Mutex<Option<Timestamp>>,
}

impl Expiry {
    /// Looks again at once.
    pub fn forget(&self) {
        self.set_next(None);
    }

    /// Deletes a batch of what `retention` keeps no longer, if it is time to look.
    ///
    /// *Guarantees*: of a run that is not finished no log goes, and not its newest session. Where
    /// more may be left, the next call looks again, else one some minutes later, also after an
    /// error.
    pub async fn run(
        &self,
        store: &Store,
        grant: &LeaseGrant,
        retention: &Retention,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !self.is_due(now) {
            return Ok(());
        }
        self.set_next(Some(now + EVERY));
        let (
            Some(logs_since),
            Some(sessions_since),
            Some(effects_since),
            Some(gone_branches_since),
        ) = (
            before(now, retention.logs.as_secs()),
            before(now, retention.sessions.as_secs()),
            now.checked_sub_signed(EFFECTS),
            now.checked_sub_signed(GONE_BRANCHES),
        )
        else {
            // Kept for longer than there are dates.
            return Ok(());
        };
        let kept = Kept {
            logs_since,
            sessions_since,
            live_sessions: LIVE_SESSIONS,
            effects_since,
            gone_branches_since,
        };
        let expired = store.expired(&kept, ROWS).await?;
        if expired.is_empty() {
            return Ok(());
        }
        let tx = store.begin_holder(grant).await?;
        let mut tx = tx.named("expiry");
        let chunks = tx.expire_logs(&expired.logs_of, CHUNKS).await?;
        let sessions = tx.delete_sessions(&expired.sessions).await?;
        let effects = tx.delete_effects(&expired.effects).await?;
        let branches = tx.forget_branches(&expired.branches).await?;
        tx.commit().await?;
        tracing::info!(
            expired.runs = expired.logs_of.len(),
            expired.log_chunks = chunks,
            expired.sessions = sessions,
            expired.effects = effects,
            expired.branches = branches,
            "logs, sessions, notes of effects and branches were kept for long enough"
        );
        let full = |rows: usize| rows >= usize::try_from(ROWS).unwrap_or(usize::MAX);
        if full(expired.logs_of.len())
            || full(expired.sessions.len())
            || full(expired.effects.len())
            || full(expired.branches.len())
            || chunks >= CHUNKS.unsigned_abs()
        {
            self.forget();
        }
        Ok(())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back holds nothing up for longer.
        next.is_none_or(|next| next <= now || next - now > EVERY)
    }

    fn set_next(&self, next: Option<Timestamp>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

fn before(now: Timestamp, seconds: u64) -> Option<Timestamp> {
    let span = TimeDelta::try_seconds(i64::try_from(seconds).ok()?)?;
    now.checked_sub_signed(span)
}
