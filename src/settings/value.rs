//! Small value types that settings are written in.

use std::{convert::Infallible, path::PathBuf, str::FromStr, time::Duration};

/// A length of time as people write it: `1500ms`, `1.5s`, `30s`, `5m`, `2h`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write a number and one of ms, s, m, h, d, such as `1.5s`";
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or(FORM)?;
        let (number, unit) = text.split_at(split);
        let seconds_each = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(FORM),
        };
        let number: f64 = number.parse().map_err(|_| FORM)?;
        let duration =
            Duration::try_from_secs_f64(number * seconds_each).map_err(|_| "too long")?;
        if duration.is_zero() {
            return Err("must be longer than nothing");
        }
        // Whole milliseconds: what a float adds below them is noise.
        let millis = u64::try_from(duration.as_micros().div_ceil(1000)).map_err(|_| "too long")?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// A path as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathText(pub(super) PathBuf);

impl FromStr for PathText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(PathBuf::from(text)))
    }
}

/// An `http` or `https` URL without credentials in it, its trailing slashes dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpUrl(pub(super) url::Url);

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: url::Url = text
            .trim_end_matches('/')
            .parse()
            .map_err(|error: url::ParseError| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("it must be an http or https URL".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials do not belong into a URL".to_owned());
        }
        Ok(Self(url))
    }
}

/// A number of bytes: plain, or with `KiB`, `MiB`, `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write a number of bytes, or one with KiB, MiB or GiB";
        let split = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let shift = match unit {
            "" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(FORM),
        };
        let number: u64 = number.parse().map_err(|_| FORM)?;
        match number.checked_mul(1 << shift) {
            Some(0) | None => Err("it must be more than nothing and fit 64 bits"),
            Some(bytes) => Ok(Self(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_unit() {
        let span = |text: &str| text.parse::<Span>().map(|span| span.0);
        assert_eq!(span("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(span("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(span("2h"), Ok(Duration::from_hours(2)));
        for bad in [
            "",
            "30",
            "s",
            "-1s",
            "1..5s",
            "0s",
            "5 s",
            "1w",
            "99999999999999999999d",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_are_read_with_their_unit() {
        assert_eq!("64MiB".parse::<Bytes>(), Ok(Bytes(64 << 20)));
        assert_eq!("512".parse::<Bytes>(), Ok(Bytes(512)));
        for bad in ["", "0", "1MB", "1.5MiB", "99999999999GiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_carry_no_credentials() {
        assert!(
            "https://forge.example.org/api/v3/"
                .parse::<HttpUrl>()
                .is_ok()
        );
        for bad in [
            "ssh://forge.example.org",
            "https://u:p@forge.example.org",
            "forge",
        ] {
            assert!(bad.parse::<HttpUrl>().is_err(), "{bad}");
        }
    }
}
