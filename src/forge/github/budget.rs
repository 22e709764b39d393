//! One credential's budget: what the forge grants an hour, how fast it goes,
//! and when to wait or refuse before the forge does.
//!
//! Shared by everyone who uses the credential. Forge times are turned into
//! spans by the forge's own `Date`, so that clocks need not agree.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::HeaderMap;

use crate::forge::metrics::BudgetLeft;

/// Reads leave this share of the budget to writes, in percent.
const RESERVE_PERCENT: u64 = 5;

/// No read is slowed while this share of what an even spending would leave is left, in percent.
const PLENTY_PERCENT: u64 = 80;

/// The longest a request is held back; beyond it is refused, so that a poll ends.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The span in which writes are counted.
const MINUTE: Duration = Duration::from_mins(1);

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Send it now.
    Go,
    /// Ask again after this time.
    Wait(Duration),
    /// Refuse it; come back after this time.
    Refuse(Duration),
}

#[derive(Debug, Clone, Copy)]
struct Window {
    left: BudgetLeft,
    resets_at: Instant,
}

#[derive(Debug, Default)]
struct State {
    windows: BTreeMap<String, Window>,
    blocked_until: Option<Instant>,
    writes: VecDeque<Instant>,
    last_paced: BTreeMap<String, Instant>,
}

/// The budget of one credential.
#[derive(Debug)]
pub(super) struct Budget {
    writes_per_minute: usize,
    state: Mutex<State>,
}

impl Budget {
    pub(super) fn new(writes_per_minute: usize) -> Self {
        Self {
            writes_per_minute: writes_per_minute.max(1),
            state: Mutex::default(),
        }
    }

    /// Judges a request at a moment. A write that may go is counted.
    pub(super) fn admit(&self, resource: &str, write: bool, now: Instant) -> Admission {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = state.blocked_until.filter(|until| *until > now) {
            return wait_or_refuse(until - now);
        }
        if let Some(window) = state.windows.get(resource).copied()
            && window.resets_at > now
        {
            let last = state.last_paced.get(resource).copied();
            match window.judge(write, last, now) {
                Admission::Go => {}
                other => return other,
            }
        }
        if write && let Some(wait) = state.write_wait(self.writes_per_minute, now) {
            return wait_or_refuse(wait);
        }
        state.last_paced.insert(resource.to_owned(), now);
        if write {
            state.writes.push_back(now);
        }
        Admission::Go
    }

    /// Notes what an answer says of the budget.
    pub(super) fn note(&self, headers: &HeaderMap, now: Instant) -> Option<(String, BudgetLeft)> {
        let number = |name: &str| -> Option<i64> { headers.get(name)?.to_str().ok()?.parse().ok() };
        let left = BudgetLeft {
            limit: u64::try_from(number("x-ratelimit-limit")?).ok()?,
            remaining: u64::try_from(number("x-ratelimit-remaining")?).ok()?,
            reset_epoch_seconds: number("x-ratelimit-reset")?,
        };
        let resource = headers.get("x-ratelimit-resource");
        let resource = resource
            .and_then(|value| value.to_str().ok())
            .unwrap_or("core");
        self.note_body(resource, left, forge_now(headers), now);
        Some((resource.to_owned(), left))
    }

    /// Notes a budget that an answer's body tells.
    pub(super) fn note_body(&self, resource: &str, left: BudgetLeft, date: i64, now: Instant) {
        let span = u64::try_from(left.reset_epoch_seconds - date).unwrap_or(0);
        let span = Duration::from_secs(span);
        let window = Window {
            left,
            resets_at: now + span,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.windows.insert(resource.to_owned(), window);
    }

    /// What is left at a moment, of windows that have not ended.
    pub(super) fn windows(&self, now: Instant) -> Vec<(String, BudgetLeft, Duration)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = state.windows.iter();
        windows
            .filter(|(_, window)| window.resets_at > now)
            .map(|(resource, window)| (resource.clone(), window.left, window.resets_at - now))
            .collect()
    }

    /// Lets nothing leave for a while: the forge said so.
    pub(super) fn block(&self, time: Duration, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let until = now + time;
        state.blocked_until = Some(state.blocked_until.map_or(until, |old| old.max(until)));
    }
}

fn wait_or_refuse(time: Duration) -> Admission {
    if time <= LONGEST_WAIT {
        Admission::Wait(time)
    } else {
        Admission::Refuse(time)
    }
}

impl Window {
    /// Reads pace themselves where much less is left than an even spending would have left.
    fn judge(&self, write: bool, last: Option<Instant>, now: Instant) -> Admission {
        let time_left = self.resets_at - now;
        let BudgetLeft {
            limit, remaining, ..
        } = self.left;
        let reserve = if write {
            0
        } else {
            limit * RESERVE_PERCENT / 100
        };
        if remaining <= reserve {
            return Admission::Refuse(time_left);
        }
        if write || !self.is_behind(time_left) {
            return Admission::Go;
        }
        let spendable = u32::try_from(remaining - reserve).unwrap_or(u32::MAX);
        let pace = time_left / spendable;
        match last.map(|last| last + pace).filter(|next| *next > now) {
            Some(next) => wait_or_refuse(next - now),
            None => Admission::Go,
        }
    }

    /// Whether less is left than the share of what an even spending would leave. A prediction
    /// by what was used so far would take for a pace what is read and written once, such as a
    /// repository that was just bound.
    fn is_behind(&self, time_left: Duration) -> bool {
        let hour = Duration::from_hours(1).as_secs();
        let even = self.left.limit * time_left.as_secs().min(hour) / hour;
        self.left.remaining < even * PLENTY_PERCENT / 100
    }
}

impl State {
    fn write_wait(&mut self, per_minute: usize, now: Instant) -> Option<Duration> {
        while self
            .writes
            .front()
            .is_some_and(|sent| now.duration_since(*sent) >= MINUTE)
        {
            self.writes.pop_front();
        }
        let oldest = self.writes.front()?;
        (self.writes.len() >= per_minute)
            .then(|| MINUTE.saturating_sub(now.duration_since(*oldest)))
    }
}

/// The forge's clock as an answer tells it, in seconds since 1970.
pub(super) fn forge_now(headers: &HeaderMap) -> i64 {
    let date = headers.get(http::header::DATE);
    date.and_then(|value| value.to_str().ok())
        .and_then(|text| chrono::DateTime::parse_from_rfc2822(text).ok())
        .map_or_else(|| chrono::Utc::now().timestamp(), |date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(limit: u64, remaining: u64, reset_in: i64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let date = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut put = |name: &'static str, value: String| {
            headers.insert(name, value.parse().unwrap());
        };
        put("date", date.to_rfc2822());
        put("x-ratelimit-limit", limit.to_string());
        put("x-ratelimit-remaining", remaining.to_string());
        put("x-ratelimit-reset", (1_800_000_000 + reset_in).to_string());
        put("x-ratelimit-resource", "core".to_owned());
        headers
    }

    #[test]
    fn reads_stop_at_the_reserve_and_writes_at_the_end() {
        let budget = Budget::new(80);
        let now = Instant::now();
        budget.note(&headers(5000, 200, 600), now);
        assert_eq!(
            budget.admit("core", false, now),
            Admission::Refuse(Duration::from_mins(10))
        );
        assert_eq!(budget.admit("core", true, now), Admission::Go);
        assert_eq!(budget.admit("graphql", false, now), Admission::Go);
        let later = now + Duration::from_mins(11);
        assert_eq!(budget.admit("core", false, later), Admission::Go);
    }

    #[test]
    fn reads_slow_down_when_the_hour_would_not_last() {
        let budget = Budget::new(80);
        let now = Instant::now();
        // Half the hour is gone and nine tenths of the budget with it.
        budget.note(&headers(5000, 500, 1800), now);
        assert_eq!(budget.admit("core", false, now), Admission::Go);
        let Admission::Refuse(pace) = budget.admit("core", false, now) else {
            unreachable!("250 requests in 1800 s are one each 7.2 s");
        };
        assert_eq!(pace.as_millis(), 7200);
        assert_eq!(budget.admit("core", false, now + pace), Admission::Go);
    }

    #[test]
    fn a_steady_pace_is_not_held_back() {
        let budget = Budget::new(80);
        let now = Instant::now();
        budget.note(&headers(5000, 3000, 1800), now);
        assert_eq!(budget.admit("core", false, now), Admission::Go);
        assert_eq!(budget.admit("core", false, now), Admission::Go);
    }

    #[test]
    fn what_is_read_once_at_the_beginning_of_the_hour_is_not_held_back() {
        let budget = Budget::new(80);
        let now = Instant::now();
        // Two minutes into the hour: an hour at this speed would need 9,000.
        budget.note(&headers(5000, 4700, 3480), now);
        assert_eq!(budget.admit("core", false, now), Admission::Go);
        assert_eq!(budget.admit("core", false, now), Admission::Go);
    }

    #[test]
    fn the_writes_of_a_minute_are_limited() {
        let budget = Budget::new(2);
        let now = Instant::now();
        assert_eq!(budget.admit("core", true, now), Admission::Go);
        assert_eq!(budget.admit("core", true, now), Admission::Go);
        assert_eq!(
            budget.admit("core", true, now),
            Admission::Refuse(Duration::from_mins(1))
        );
        assert_eq!(budget.admit("core", true, now + MINUTE), Admission::Go);
    }

    #[test]
    fn what_the_forge_blocks_stays_blocked() {
        let budget = Budget::new(80);
        let now = Instant::now();
        budget.block(Duration::from_secs(3), now);
        budget.block(Duration::from_secs(1), now);
        assert_eq!(
            budget.admit("core", false, now),
            Admission::Wait(Duration::from_secs(3))
        );
        assert_eq!(
            budget.admit("core", false, now + Duration::from_secs(3)),
            Admission::Go
        );
    }
}
