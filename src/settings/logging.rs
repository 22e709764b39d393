//! How log lines look and which are written.

use super::{Concern, Reader, variables as var};

/// Log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// How they look.
    pub format: LogFormat,
    /// Which are written, as filter directives.
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

impl Concern for Logging {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let format = reader.required(&var::LOG_FORMAT);
        let filter = reader.required::<String>(&var::LOG);
        if let Some(error) = filter
            .as_ref()
            .and_then(|filter| tracing_subscriber::EnvFilter::builder().parse(filter).err())
        {
            reader.note(&var::LOG, format!("not a log filter: {error}"));
        }
        Some(Self {
            format: format?,
            filter: filter?,
        })
    }
}
