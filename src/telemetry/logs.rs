//! Log lines: where they go and how they look.
//!
//! Fields have dotted names (`run.id`, `config.sha`, `issue.number`). A span's
//! fields are part of every line inside it, so a pass names its config and an
//! action its run once, and each line can be searched by them.

use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    fmt::{MakeWriter, format::FmtSpan},
    layer::SubscriberExt as _,
    util::{SubscriberInitExt as _, TryInitError},
};

use crate::settings::{LogFormat, Logging};

/// The fields that lines are searched by. Use these names and no other spelling.
pub mod field {
    /// The run's id.
    pub const RUN_ID: &str = "run.id";
    /// The commit of the config repo.
    pub const CONFIG_SHA: &str = "config.sha";
    /// The issue's or pull request's number.
    pub const ISSUE_NUMBER: &str = "issue.number";
    /// The repository as `owner/name`.
    pub const REPO_NAME: &str = "repo.name";
}

/// Starts logging to standard error for the whole process; fails when it was started before.
pub fn init(logging: &Logging) -> Result<(), TryInitError> {
    let format = match logging.format {
        LogFormat::Auto if io::stderr().is_terminal() => LogFormat::Human,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    };
    let colours = io::stderr().is_terminal() && crate::settings::colours_wanted();
    match format {
        LogFormat::Human => Registry::default()
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(io::stderr)
                    .with_ansi(colours)
                    .with_target(false)
                    .with_filter(filter(&logging.filter)),
            )
            .try_init(),
        LogFormat::Json | LogFormat::Auto => json(&logging.filter, io::stderr).try_init(),
    }
}

/// A subscriber that writes one JSON object a line.
pub fn json<W>(directives: &str, writer: W) -> impl Subscriber + Send + Sync + 'static
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    Registry::default().with(
        tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_events(FmtSpan::NONE)
            .with_current_span(false)
            .with_span_list(true)
            .with_writer(writer)
            .with_filter(filter(directives)),
    )
}

/// Directives that do not parse were refused with the settings; what is left of them counts.
fn filter(directives: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(directives)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use secrecy::SecretString;

    use super::*;
    use crate::domain::{
        ids::{AttemptNo, RunId},
        run_token::{RunToken, TokenClaim},
    };

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(work: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(json("info", move || writer.clone()), work);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_one_object_with_the_fields_of_its_spans() {
        let text = logged(|| {
            let pass = tracing::info_span!("pass", config.sha = "abc");
            let _pass = pass.enter();
            let action = tracing::info_span!("action", run.id = "r1", issue.number = 12);
            let _action = action.enter();
            tracing::info!(repo.name = "example-org/hello", "applied\nit");
            tracing::debug!("not at this level");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "applied\nit");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line[field::REPO_NAME], "example-org/hello");
        assert_eq!(line["spans"][0][field::CONFIG_SHA], "abc");
        assert_eq!(line["spans"][1][field::RUN_ID], "r1");
        assert_eq!(line["spans"][1][field::ISSUE_NUMBER], 12);
    }

    #[test]
    fn secrets_do_not_reach_a_line_however_they_are_logged() {
        let claim = TokenClaim {
            key_version: 1,
            run: RunId(uuid::Uuid::from_u128(3)),
            attempt: AttemptNo(1),
        };
        let token = RunToken::derive(b"some key", claim);
        let secret = SecretString::from("hidden-word".to_owned());
        let settings = crate::settings::Api {
            listen: ([127, 0, 0, 1], 0).into(),
            token: Some(secret.clone()),
            webhook_secret: Some(secret.clone()),
        };
        let text = logged(|| {
            let span = tracing::info_span!("call", token = ?token, ?secret);
            let _span = span.enter();
            tracing::error!(?settings, ?secret, "refused {token:?} {secret:?}");
        });
        assert!(text.contains("refused"), "{text}");
        assert!(!text.contains("hidden-word"), "{text}");
        assert!(!text.contains("ck8s_"), "{text}");
    }
}
