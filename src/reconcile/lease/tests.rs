//! The gate and the times, without a database.

use super::*;
use crate::domain::Timestamp;

const FAR: Duration = Duration::from_hours(1);

fn state(send_from: Duration, send_until: Duration) -> LeaseState {
    let state = LeaseState::default();
    state.set(Some(Held {
        grant: LeaseGrant {
            holder: "replica-a".to_owned(),
            epoch: Epoch(1),
            until: Timestamp::UNIX_EPOCH,
            beat: 1,
            now: Timestamp::UNIX_EPOCH,
            former_until: None,
            restored_at: None,
        },
        send_until,
        send_from,
    }));
    state
}

#[test]
fn nothing_is_sent_without_a_lease_in_its_quiet_time_or_near_its_end() {
    let now = since_boot();
    assert!(LeaseState::default().check().is_err());
    let open = state(now, now + FAR);
    assert!(open.check().is_ok() && open.grant().is_some());
    let quiet = state(now + FAR, now + FAR * 2);
    assert!(quiet.check().is_err() && quiet.grant().is_some());
    // The clock stands at or after the end: rows are not written either.
    let ending = state(Duration::ZERO, now);
    assert!(ending.check().is_err() && ending.grant().is_none());
    open.set(None);
    assert!(open.check().is_err() && open.grant().is_none());
}

#[test]
fn the_last_write_leaves_a_margin_before_the_end() {
    let margin = Duration::from_secs(12);
    let timing = LeaseTiming {
        lease: Duration::from_mins(1),
        margin,
        taker: TakerClock::Both,
    };
    assert_eq!(
        timing.send_until(Duration::from_secs(100)),
        Duration::from_secs(148)
    );
}

#[test]
fn a_clock_that_jumps_ends_no_former_holders_time() {
    let seconds = Duration::from_secs;
    let timing = LeaseTiming {
        lease: seconds(60),
        margin: seconds(12),
        taker: TakerClock::Both,
    };
    let now = Timestamp::UNIX_EPOCH + chrono::Duration::days(1);
    let after = |former_until| LeaseGrant {
        holder: "replica-b".to_owned(),
        epoch: Epoch(2),
        until: now + chrono::Duration::seconds(60),
        beat: 2,
        now,
        former_until,
        restored_at: None,
    };
    let just = after(Some(now));
    let at = |seen| timing.send_from(&just, seconds(1_000), seen);
    // Its last beat was seen a lease ago: the rows decide.
    assert_eq!(at(Some(seconds(940))), seconds(1_012));
    // It was seen just now, or never: by the rows it ended, and it may be at work.
    assert_eq!(at(Some(seconds(999))), seconds(1_059));
    assert_eq!(at(None), seconds(1_060));
    let long_ago = after(Some(now - chrono::Duration::hours(1)));
    let sent = timing.send_from(&long_ago, seconds(1_000), Some(seconds(999)));
    assert_eq!(sent, seconds(1_059));
    // Given back: nothing is on its way.
    let given_back = after(None);
    assert_eq!(
        timing.send_from(&given_back, seconds(1_000), Some(seconds(999))),
        Duration::ZERO
    );
}
