//! `Schedule`: a stage asked for by the clock, on an issue that is always there for it; and the
//! same by pushes, as a part of `Repository`.

use chrono::Duration;
use chrono_tz::Tz;
use croner::Cron;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::DurationText, kind::ObjectName};
use crate::domain::{
    Timestamp,
    ids::{IssueNumber, StageKind},
};

/// A stage asked for by the clock.
///
/// Each tick is a trigger without a label: as long as the issue is open and its text is by
/// members, it starts a run there, waits for one that is at work, and joins one that is queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSpec {
    /// The `Repository` whose issue it is.
    pub repository: ObjectName,
    /// The issue on which the stage is asked for.
    #[schemars(range(min = 1))]
    pub issue: IssueNumber,
    /// The stage.
    pub stage: StageKind,
    /// When: minute, hour, day of month, month, day of week, as in crontab(5); or `@hourly`,
    /// `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[schemars(length(min = 1))]
    pub cron: String,
    /// The time zone of those times, by its name in the IANA database, such as `Europe/Berlin`;
    /// UTC when absent.
    ///
    /// Where clocks go forward, a tick in the hour that is left out comes right after it; where
    /// they go back, a time of day that is there twice counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// How late a tick may be seen and still count; of several missed ones the last counts.
    #[serde(default = "ten_minutes")]
    pub starting_deadline: DurationText,
    /// Whether its ticks count for nothing.
    #[serde(default)]
    pub suspend: bool,
}

const fn ten_minutes() -> DurationText {
    DurationText::from_mins(10)
}

impl ScheduleSpec {
    /// Why its times cannot be read, if so, and the field below `spec` that is to blame.
    pub fn error(&self) -> Option<(&'static str, String)> {
        let cron = cron(&self.cron).err().map(|why| {
            let message = format!("`{}` is no time to go by: {why}", self.cron);
            ("cron", message)
        });
        cron.or_else(|| Some(("timeZone", self.zone().err()?)))
    }

    fn zone(&self) -> Result<Tz, String> {
        let Some(name) = &self.time_zone else {
            return Ok(Tz::UTC);
        };
        let unknown = |_| format!("`{name}` is no time zone of the IANA database");
        name.parse().map_err(unknown)
    }

    /// The last tick up to a time that is not older than the starting deadline.
    pub fn last_tick(&self, now: Timestamp) -> Option<Timestamp> {
        let cron = cron(&self.cron).ok()?;
        let late = i64::try_from(self.starting_deadline.as_secs()).ok()?;
        let since = (now - Duration::seconds(late)).with_timezone(&self.zone().ok()?);
        let ticks = cron.iter_from(since).map(|tick| tick.to_utc());
        ticks.take_while(|tick| *tick <= now).last()
    }

    /// The first tick after a time.
    pub fn next_tick(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.with_timezone(&self.zone().ok()?);
        let next = cron(&self.cron).ok()?.find_next_occurrence(&now, false);
        next.ok().map(|tick| tick.to_utc())
    }
}

fn cron(text: &str) -> Result<Cron, String> {
    let fields = text.split_whitespace().count();
    if fields != 5 && !text.trim_start().starts_with('@') {
        return Err(format!("it has {fields} fields instead of five"));
    }
    Cron::new(text).parse().map_err(|error| error.to_string())
}

/// A stage asked for by every push to the default branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PushTrigger {
    /// The issue on which the stage is asked for.
    #[schemars(range(min = 1))]
    pub issue: IssueNumber,
    /// The stage.
    pub stage: StageKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str) -> ScheduleSpec {
        serde_json::from_value(serde_json::json!({
            "repository": "hello", "issue": 12, "stage": "dev", "cron": cron,
        }))
        .expect("a schedule")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn the_last_tick_counts_until_its_deadline() {
        let nightly = schedule("30 3 * * 1-5");
        let tick = at("2026-03-02T03:30:00Z");
        assert_eq!(nightly.last_tick(at("2026-03-02T03:29:59Z")), None);
        assert_eq!(nightly.last_tick(tick), Some(tick));
        assert_eq!(nightly.last_tick(at("2026-03-02T03:40:00Z")), Some(tick));
        assert_eq!(nightly.last_tick(at("2026-03-02T03:40:01Z")), None);
        let next = nightly.next_tick(at("2026-03-06T03:30:00Z"));
        assert_eq!(next, Some(at("2026-03-09T03:30:00Z")), "Friday to Monday");
    }

    #[test]
    fn of_several_missed_ticks_the_last_counts() {
        let often = schedule("*/5 * * * *");
        let last = often.last_tick(at("2026-03-02T03:29:30Z"));
        assert_eq!(last, Some(at("2026-03-02T03:25:00Z")));
    }

    #[test]
    fn a_time_zone_keeps_the_time_of_day() {
        let mut nightly = schedule("30 2 * * *");
        nightly.time_zone = Some("Europe/Berlin".to_owned());
        let next = |at_utc: &str| nightly.next_tick(at(at_utc)).expect("a tick");
        assert_eq!(next("2026-03-27T12:00:00Z"), at("2026-03-28T01:30:00Z"));
        assert_eq!(
            next("2026-03-28T12:00:00Z"),
            at("2026-03-29T01:00:00Z"),
            "02:30 is left out"
        );
        assert_eq!(next("2026-03-29T12:00:00Z"), at("2026-03-30T00:30:00Z"));
        let twice = next("2026-10-24T12:00:00Z");
        assert_eq!(twice, at("2026-10-25T00:30:00Z"), "02:30 comes twice");
        assert_eq!(nightly.next_tick(twice), Some(at("2026-10-26T01:30:00Z")));
        assert_eq!(
            nightly.last_tick(at("2026-03-28T01:35:00Z")),
            Some(at("2026-03-28T01:30:00Z"))
        );

        nightly.time_zone = Some("Europe/Atlantis".to_owned());
        let (field, why) = nightly.error().expect("no such zone");
        assert_eq!(field, "timeZone");
        assert!(why.contains("Europe/Atlantis"), "{why}");
    }

    #[test]
    fn times_that_cannot_be_read_are_told() {
        assert_eq!(schedule("@daily").error(), None);
        for wrong in [
            "",
            "0 3 * *",
            "0 0 3 * * *",
            "61 * * * *",
            "@sometimes",
            "a b c d e",
        ] {
            assert!(schedule(wrong).error().is_some(), "{wrong}");
        }
    }
}
