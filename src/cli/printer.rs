//! How commands speak to people: answers on standard output, errors on standard error.
//!
//! A closed pipe ends output quietly. Colours are used on a terminal only, and
//! not where `NO_COLOR` is set. Text from outside is printed without its control
//! characters, so that no issue title can move a cursor.

use std::{
    borrow::Cow,
    fmt::{self, Display},
    io::{self, IsTerminal as _, Write as _},
    ops::ControlFlow,
};

use comfy_table::{Table, presets};
use serde::Serialize;

/// Speaks to people.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    colours: bool,
    terminal: bool,
}

/// What an advice begins with.
const HINT: &str = "hint: ";

/// An advice for `.context(Hint(…))`, printed after the error and its causes.
#[derive(Debug)]
pub struct Hint(pub String);

impl Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HINT}{}", self.0)
    }
}

impl std::error::Error for Hint {}

/// The weight of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// It went well.
    Good,
    /// It needs a look.
    Warning,
    /// It went wrong.
    Bad,
    /// In the background.
    Faint,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

impl Printer {
    /// A printer for this process's output.
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            colours: terminal && crate::settings::colours_wanted(),
            terminal,
        }
    }

    /// A printer without colours, for tests and files.
    pub const fn plain() -> Self {
        Self {
            colours: false,
            terminal: false,
        }
    }

    /// A line in a tone.
    pub fn styled(self, tone: Tone, text: &str) -> String {
        let text = visible(text);
        if self.colours && tone != Tone::Plain {
            return format!("\x1b[{}m{text}\x1b[0m", tone.code());
        }
        text
    }

    /// Prints a line.
    pub fn line(self, tone: Tone, text: &str) -> io::Result<()> {
        put(&format!("{}\n", self.styled(tone, text)))
    }

    /// Prints a table; columns are as wide as their text.
    pub fn table<R>(self, header: &[&str], rows: R) -> io::Result<()>
    where
        R: IntoIterator<Item = Vec<String>>,
    {
        put(&table_text(header, rows))
    }

    /// Prints text from outside as it stands; on a terminal, without its control characters
    /// other than line ends and tabs. Breaks where nobody reads any more.
    pub fn text(self, text: &str) -> io::Result<ControlFlow<()>> {
        write(&self.shown(text))
    }

    fn shown(self, text: &str) -> Cow<'_, str> {
        if self.terminal {
            let kept = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
            return text.chars().filter(kept).collect();
        }
        text.into()
    }

    /// Prints a value as JSON.
    pub fn json<T: Serialize>(self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        put(&format!("{text}\n"))
    }

    /// Prints an error with all its causes, and its hints last.
    pub fn error(self, error: &anyhow::Error) {
        // Nothing is left to do for an error that cannot be told.
        let _ = io::stderr().lock().write_all(error_text(error).as_bytes());
    }
}

impl Default for Printer {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes to standard output. Who closed the pipe has read enough.
fn put(text: &str) -> io::Result<()> {
    write(text).map(|_| ())
}

/// Writes to standard output; breaks where the pipe is closed.
fn write(text: &str) -> io::Result<ControlFlow<()>> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        result => result.map(ControlFlow::Continue),
    }
}

fn table_text<R>(header: &[&str], rows: R) -> String
where
    R: IntoIterator<Item = Vec<String>>,
{
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    let lines = table.to_string();
    let trimmed: Vec<_> = lines.lines().map(str::trim_end).collect();
    format!("{}\n", trimmed.join("\n"))
}

fn error_text(error: &anyhow::Error) -> String {
    let (hints, causes): (Vec<_>, Vec<_>) = error
        .chain()
        .map(ToString::to_string)
        .partition(|text| text.starts_with(HINT));
    let mut lines = Vec::new();
    for (index, cause) in causes.iter().enumerate() {
        let word = if index == 0 { "error" } else { "  because" };
        lines.push(format!("{word}: {cause}\n"));
    }
    lines.extend(hints.iter().map(|hint| format!("{hint}\n")));
    lines.concat()
}

/// The text without what a terminal would obey.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_tells_its_causes_and_ends_with_its_hint() {
        let error = Err::<(), _>(io::Error::other("no route"))
            .context("connect to the database")
            .context(Hint("is it running?".to_owned()))
            .unwrap_err();
        assert_eq!(
            error_text(&error),
            "error: connect to the database\n  because: no route\nhint: is it running?\n"
        );
    }

    #[test]
    fn foreign_text_moves_no_cursor() {
        let printer = Printer::plain();
        assert_eq!(printer.styled(Tone::Bad, "a\x1b[2Jb\tc"), "a [2Jb c");
        let table = table_text(&["run", "state"], [vec!["r\x071".into(), "running".into()]]);
        assert!(!table.contains('\x07'), "{table}");
        assert!(table.starts_with(" RUN"), "{table}");
    }

    #[test]
    fn a_log_has_no_power_over_a_terminal_and_is_whole_elsewhere() {
        let log = "a\x1b[2J\x07\r\n\tb\u{9b}31m\n";
        let terminal = Printer {
            colours: false,
            terminal: true,
        };
        assert_eq!(terminal.shown(log), "a[2J\n\tb31m\n");
        assert_eq!(Printer::plain().shown(log), log);
    }

    #[test]
    fn colours_are_for_terminals() {
        let coloured = Printer {
            colours: true,
            terminal: true,
        };
        assert_eq!(coloured.styled(Tone::Good, "x"), "\x1b[32mx\x1b[0m");
        assert_eq!(Printer::plain().styled(Tone::Good, "x"), "x");
    }
}
