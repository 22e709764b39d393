//! A span of time as people write it: `90s`, `30m`, `2h`, `1h30m`, `7d`.
//!
//! It is kept in whole seconds; the text form is canonical (`1h30m`).

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The form of a duration, for the schema.
const PATTERN: &str = "^([0-9]{1,9}[dhms])+$";

/// Units from the largest, with their seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A span of time in whole seconds, written `2h`, `90s` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DurationText(u64);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write it like `90s`, `30m`, `2h` or `1h30m`")]
pub struct InvalidDuration(String);

impl DurationText {
    /// A span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// A span of whole minutes.
    pub const fn from_mins(minutes: u64) -> Self {
        Self(minutes * 60)
    }

    /// A span of whole hours.
    pub const fn from_hours(hours: u64) -> Self {
        Self(hours * 3_600)
    }

    /// Its whole seconds.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The same span for the standard library.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, seconds) in UNITS {
            if left >= seconds {
                write!(f, "{}{unit}", left / seconds)?;
                left %= seconds;
            }
        }
        Ok(())
    }
}

impl FromStr for DurationText {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        parse(text)
            .map(Self)
            .ok_or_else(|| InvalidDuration(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let (_, seconds) = UNITS.into_iter().find(|(unit, _)| *unit == c)?;
        let count: u64 = digits.parse().ok()?;
        total = total.checked_add(count.checked_mul(seconds)?)?;
        digits.clear();
    }
    (digits.is_empty() && !text.is_empty()).then_some(total)
}

impl TryFrom<String> for DurationText {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, InvalidDuration> {
        text.parse()
    }
}

impl From<DurationText> for String {
    fn from(duration: DurationText) -> Self {
        duration.to_string()
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": PATTERN,
            "description": "A span of time such as `90s`, `30m`, `2h` or `1h30m`.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_canonically() {
        for (text, seconds, canonical) in [
            ("90s", 90, "1m30s"),
            ("2h", 7_200, "2h"),
            ("1h30m", 5_400, "1h30m"),
            ("7d", 604_800, "7d"),
            ("0s", 0, "0s"),
        ] {
            let duration: DurationText = text.parse().expect(text);
            assert_eq!(duration.as_secs(), seconds, "{text}");
            assert_eq!(duration.to_string(), canonical);
        }
    }

    #[test]
    fn texts_without_unit_or_number_are_refused() {
        for bad in [
            "",
            "2",
            "h",
            "2 h",
            "-1h",
            "1h2",
            "2w",
            "99999999999999999999s",
        ] {
            assert!(bad.parse::<DurationText>().is_err(), "{bad}");
        }
    }
}
