//! The retry schedule of effects: exponential, capped, the same for the same count.
//!
//! The schedule comes from the `backoff` crate, which is asked for by name and
//! no longer maintained; this module is all that knows of it.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// How long to wait after the failure that follows `failures` earlier ones.
pub(super) fn pause(failures: i32) -> Duration {
    let mut schedule: ExponentialBackoff = ExponentialBackoffBuilder::new()
        .with_initial_interval(FIRST)
        .with_max_interval(LONGEST)
        .with_multiplier(2.0)
        .with_randomization_factor(0.0)
        .with_max_elapsed_time(None)
        .build();
    // Past the cap every further step is the same.
    let steps = failures.clamp(0, 16);
    (0..=steps)
        .filter_map(|_| schedule.next_backoff())
        .last()
        .unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        assert_eq!(pause(0), Duration::from_secs(1));
        assert_eq!(pause(1), Duration::from_secs(2));
        assert_eq!(pause(4), Duration::from_secs(16));
        assert_eq!(pause(1_000_000), LONGEST);
    }
}
