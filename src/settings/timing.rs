//! Periods, time-outs and the lease: two profiles, and the relations that fencing needs.

use std::time::Duration;

use super::{
    Concern, Reader,
    value::Span,
    variables::{self as var, Variable},
};

/// A set of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Profile {
    /// For real forges and clusters.
    Production,
    /// For the embedded world, where everything is near and a person watches.
    Sandbox,
}

/// Every time the loop uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// How often forge and config repo are polled.
    pub poll: Duration,
    /// How long the period of polling the forge may become to spare its budget.
    pub poll_ceiling: Duration,
    /// How often everything is read again.
    pub sweep: Duration,
    /// How long the lease lasts.
    pub lease: Duration,
    /// How long before the lease's end the last write leaves.
    pub margin: Duration,
    /// How long a writing request may take.
    pub request_timeout: Duration,
    /// How long a database statement or an idle transaction may last.
    pub statement_timeout: Duration,
    /// How long the forge may hide a write from its own reads.
    pub visibility: Duration,
    /// How often a runner says that it is at work.
    pub heartbeat: Duration,
    /// After how long without an accepted heartbeat a runner ends itself.
    pub heartbeat_lost: Duration,
    /// How long an object that no run knows is left alone.
    pub orphan_grace: Duration,
    /// After how long something unknown is an alert.
    pub unknown_alert: Duration,
}

impl Timing {
    /// The times of a profile.
    pub const fn of(profile: Profile) -> Self {
        match profile {
            Profile::Production => Self {
                poll: Duration::from_secs(30),
                poll_ceiling: Duration::from_mins(5),
                sweep: Duration::from_mins(15),
                lease: Duration::from_mins(1),
                margin: Duration::from_secs(12),
                request_timeout: Duration::from_secs(10),
                statement_timeout: Duration::from_secs(15),
                visibility: Duration::from_mins(1),
                heartbeat: Duration::from_secs(20),
                heartbeat_lost: Duration::from_mins(5),
                orphan_grace: Duration::from_mins(10),
                unknown_alert: Duration::from_mins(10),
            },
            Profile::Sandbox => Self {
                poll: Duration::from_secs(2),
                poll_ceiling: Duration::from_secs(20),
                sweep: Duration::from_secs(30),
                lease: Duration::from_secs(9),
                margin: Duration::from_secs(2),
                request_timeout: Duration::from_millis(1500),
                statement_timeout: Duration::from_millis(2500),
                visibility: Duration::from_secs(3),
                heartbeat: Duration::from_secs(2),
                heartbeat_lost: Duration::from_secs(30),
                orphan_grace: Duration::from_secs(10),
                unknown_alert: Duration::from_secs(30),
            },
        }
    }

    /// The relations without which a stale holder could still write, with the variable to blame.
    fn broken_relations(&self) -> Vec<(&'static Variable, &'static str)> {
        let rules = [
            (
                self.request_timeout < self.margin,
                &var::TIMING_REQUEST_TIMEOUT,
                "must be shorter than the margin: a request sent last must end before the lease",
            ),
            (
                self.margin < self.lease,
                &var::TIMING_MARGIN,
                "must be shorter than the lease",
            ),
            (
                self.statement_timeout * 3 < self.lease,
                &var::TIMING_STATEMENT_TIMEOUT,
                "must be shorter than a third of the lease: renewals come each third",
            ),
            (
                self.heartbeat * 3 <= self.heartbeat_lost,
                &var::TIMING_HEARTBEAT,
                "must fit three times into the time after which a runner ends itself",
            ),
            (
                self.poll <= self.poll_ceiling,
                &var::TIMING_POLL_CEILING,
                "must not be shorter than the poll period",
            ),
            (
                self.poll_ceiling <= self.unknown_alert,
                &var::TIMING_POLL_CEILING,
                "must not be longer than the time after which something unknown is an alert",
            ),
            (
                self.poll <= self.sweep,
                &var::TIMING_SWEEP,
                "must not be shorter than the poll period",
            ),
        ];
        rules
            .into_iter()
            .filter(|(holds, ..)| !holds)
            .map(|(_, variable, rule)| (variable, rule))
            .collect()
    }
}

impl Concern for Timing {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut timing = Self::of(reader.required(&var::PROFILE)?);
        let fields = [
            (&var::TIMING_POLL, &mut timing.poll),
            (&var::TIMING_POLL_CEILING, &mut timing.poll_ceiling),
            (&var::TIMING_SWEEP, &mut timing.sweep),
            (&var::TIMING_LEASE, &mut timing.lease),
            (&var::TIMING_MARGIN, &mut timing.margin),
            (&var::TIMING_REQUEST_TIMEOUT, &mut timing.request_timeout),
            (
                &var::TIMING_STATEMENT_TIMEOUT,
                &mut timing.statement_timeout,
            ),
            (&var::TIMING_VISIBILITY, &mut timing.visibility),
            (&var::TIMING_HEARTBEAT, &mut timing.heartbeat),
            (&var::TIMING_HEARTBEAT_LOST, &mut timing.heartbeat_lost),
            (&var::TIMING_ORPHAN_GRACE, &mut timing.orphan_grace),
            (&var::TIMING_UNKNOWN_ALERT, &mut timing.unknown_alert),
        ];
        let mut whole = true;
        for (variable, field) in fields {
            match reader.optional::<Span>(variable) {
                Some(Some(Span(given))) => *field = given,
                Some(None) => {}
                None => whole = false,
            }
        }
        for (variable, rule) in timing.broken_relations() {
            reader.note(variable, rule);
        }
        whole.then_some(timing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_profiles_keep_the_relations() {
        for profile in [Profile::Production, Profile::Sandbox] {
            assert_eq!(Timing::of(profile).broken_relations(), [], "{profile:?}");
        }
    }
}
