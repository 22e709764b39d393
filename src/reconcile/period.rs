//! How long to wait between polls of the forge: the configured period, and longer while the
//! credentials' budget would not last until it is filled again.
//!
//! What counts is what a period really cost, whoever spent it: polls, writes, and others who use
//! the credential. Hints are read whatever the period is.

use std::time::{Duration, Instant};

use crate::forge::BudgetWindow;

/// A share of each budget that polling leaves to writes and to hinted reads, in percent.
const RESERVE_PERCENT: u64 = 10;

/// Nothing is slowed while this share of what an even spending would leave is left: what is made
/// once, such as the labels of a repository that was just bound, is no pace.
const PLENTY: f64 = 0.8;

/// The span in which a forge fills a budget again.
const WINDOW: Duration = Duration::from_hours(1);

/// A newer cost counts for a quarter: one dear poll does not make the next ones rare.
const NEWER: f64 = 0.25;

/// What is expected of one budget by the end of its window.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The credential's name.
    pub credential: String,
    /// `core` or `graphql`.
    pub resource: String,
    /// What will have been used when the window ends, at the present period.
    pub used: f64,
    /// What there is.
    pub limit: u64,
}

#[derive(Debug)]
struct Seen {
    credential: String,
    resource: String,
    remaining: u64,
    resets_at: Instant,
    at: Instant,
    /// What a period costs, smoothed; `None` until two looks fell into one window.
    cost: Option<f64>,
}

/// The period and what steers it.
#[derive(Debug)]
pub struct Period {
    floor: Duration,
    ceiling: Duration,
    present: Duration,
    seen: Vec<Seen>,
}

impl Period {
    /// Between a floor, which is kept while it can be, and a ceiling.
    pub fn new(floor: Duration, ceiling: Duration) -> Self {
        Self {
            floor,
            ceiling: ceiling.max(floor),
            present: floor,
            seen: Vec::new(),
        }
    }

    /// The present period.
    pub fn present(&self) -> Duration {
        self.present
    }

    /// Takes in what is left after a poll; answers what is predicted of each budget.
    pub fn observe(&mut self, windows: &[BudgetWindow], now: Instant) -> Vec<Prediction> {
        let mut needed = self.floor;
        let mut predictions = Vec::new();
        for window in windows {
            let cost = self.cost(window, now);
            let left = window.resets_in.as_secs_f64();
            let used = as_f64(window.limit.saturating_sub(window.remaining));
            let periods = left / self.present.as_secs_f64().max(f64::EPSILON);
            predictions.push(Prediction {
                credential: window.credential.clone(),
                resource: window.resource.clone(),
                used: used + cost.unwrap_or(0.0) * periods,
                limit: window.limit,
            });
            let reserve = window.limit * RESERVE_PERCENT / 100;
            let spendable = as_f64(window.remaining.saturating_sub(reserve));
            let Some(cost) = cost.filter(|cost| *cost > 0.0) else {
                continue;
            };
            if is_plenty(spendable, window) {
                continue;
            }
            // So many periods are left to spend it in.
            let period = left * cost / spendable.max(f64::EPSILON);
            let most = self.ceiling.as_secs_f64();
            needed = needed.max(Duration::from_secs_f64(period.min(most)));
        }
        self.present = needed.clamp(self.floor, self.ceiling);
        predictions
    }

    /// What a period costs of a budget, by what is left now and was left before.
    fn cost(&mut self, window: &BudgetWindow, now: Instant) -> Option<f64> {
        let resets_at = now + window.resets_in;
        let known = self
            .seen
            .iter_mut()
            .find(|seen| seen.credential == window.credential && seen.resource == window.resource);
        let Some(seen) = known else {
            self.seen.push(Seen {
                credential: window.credential.clone(),
                resource: window.resource.clone(),
                remaining: window.remaining,
                resets_at,
                at: now,
                cost: None,
            });
            return None;
        };
        // A few seconds of rounding do not make it another window.
        let same =
            resets_at.max(seen.resets_at) - resets_at.min(seen.resets_at) < Duration::from_secs(30);
        let elapsed = now.saturating_duration_since(seen.at).as_secs_f64();
        if same && elapsed > 0.0 {
            let spent = as_f64(seen.remaining.saturating_sub(window.remaining));
            // Polls that were woken early come closer together than the period.
            let cost = spent * (self.present.as_secs_f64() / elapsed).min(1.0);
            let before = seen.cost.unwrap_or(cost);
            seen.cost = Some(before + (cost - before) * NEWER);
        }
        (seen.remaining, seen.resets_at, seen.at) = (window.remaining, resets_at, now);
        seen.cost
    }
}

#[expect(clippy::cast_precision_loss, reason = "budgets are some thousands")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Whether so much is left to spend that a pace which would not last may still be none.
fn is_plenty(spendable: f64, window: &BudgetWindow) -> bool {
    let even = as_f64(window.limit) * window.resets_in.div_duration_f64(WINDOW);
    spendable >= even * PLENTY
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Duration = Duration::from_secs(30);
    const CEILING: Duration = Duration::from_mins(5);
    const HOUR: Duration = Duration::from_hours(1);

    fn window(remaining: u64, resets_in: Duration) -> BudgetWindow {
        BudgetWindow {
            credential: "writer".to_owned(),
            resource: "graphql".to_owned(),
            limit: 5_000,
            remaining,
            resets_in,
        }
    }

    /// Polls for an hour at what the period says, each poll at a price; answers what is left and
    /// the longest period.
    fn hour(price: impl Fn(Duration) -> u64) -> (u64, Duration, Duration) {
        let mut period = Period::new(FLOOR, CEILING);
        let began = Instant::now();
        let (mut passed, mut remaining, mut longest) = (Duration::ZERO, 5_000_u64, FLOOR);
        while passed < HOUR {
            remaining = remaining.saturating_sub(price(passed));
            period.observe(
                &[window(remaining, HOUR.saturating_sub(passed))],
                began + passed,
            );
            longest = longest.max(period.present());
            passed += period.present();
        }
        (remaining, longest, period.present())
    }

    #[test]
    fn a_budget_that_lasts_leaves_the_period_alone() {
        let (remaining, longest, _) = hour(|_| 14);
        assert_eq!((remaining, longest), (5_000 - 120 * 14, FLOOR));
    }

    #[test]
    fn what_is_spent_once_slows_nothing() {
        let labels_first = |passed| if passed < FLOOR * 4 { 100 } else { 4 };
        let (_, longest, _) = hour(labels_first);
        assert_eq!(longest, FLOOR);
    }

    #[test]
    fn a_budget_that_would_not_last_is_stretched_over_the_hour() {
        let (remaining, longest, _) = hour(|_| 100);
        assert!(remaining >= 350, "{remaining} are left for others");
        assert!(remaining <= 1_000, "{remaining} are left unused");
        assert!(longest > FLOOR && longest < CEILING, "{longest:?}");
    }

    #[test]
    fn the_period_shrinks_again_when_polls_become_cheap() {
        let dear = |passed| if passed < HOUR / 4 { 100 } else { 5 };
        let (_, longest, last) = hour(dear);
        assert!(longest > FLOOR);
        assert_eq!(last, FLOOR);
    }

    #[test]
    fn nothing_is_longer_than_the_ceiling() {
        let (_, longest, _) = hour(|_| 2_000);
        assert_eq!(longest, CEILING);
    }

    #[test]
    fn a_new_window_is_no_gain() {
        let mut period = Period::new(FLOOR, CEILING);
        let now = Instant::now();
        period.observe(&[window(1_000, Duration::from_mins(30))], now);
        let left = Duration::from_mins(30).saturating_sub(FLOOR);
        period.observe(&[window(900, left)], now + FLOOR);
        let before = period.present();
        assert!(before > FLOOR);
        let later = now + Duration::from_mins(31);
        let predicted = period.observe(&[window(4_990, HOUR)], later);
        assert!(period.present() < before);
        assert!(predicted[0].used > 10.0);
    }

    #[test]
    fn a_forge_without_budgets_is_polled_at_the_floor() {
        let mut period = Period::new(FLOOR, CEILING);
        assert_eq!(period.observe(&[], Instant::now()), []);
        assert_eq!(period.present(), FLOOR);
    }
}
