//! The record of all exchanges: counted, judged, and written down where asked for.
//!
//! With a folder set, every process appends one line an exchange to a file of its own:
//! operation, verdict, details, separated by tabs. `make test` adds the files up.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The variable that names the folder for the lines.
const FOLDER: &str = "CODEXK8S_EXCHANGES_DIR";

/// What is done about exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractCheck {
    /// Whether exchanges are judged at all.
    pub judge: bool,
    /// Whether dropping a model that saw a violation panics.
    pub enforce: bool,
    /// The folder for the lines that `make test` adds up.
    pub folder: Option<PathBuf>,
    /// A file for whole exchanges as JSON lines.
    pub record: Option<PathBuf>,
}

impl ContractCheck {
    /// No judging: what a demonstration needs.
    pub const OFF: Self = Self {
        judge: false,
        enforce: false,
        folder: None,
        record: None,
    };

    /// Judge, write lines if `CODEXK8S_EXCHANGES_DIR` says where, never panic: for child processes.
    pub fn recording() -> Self {
        Self {
            judge: true,
            enforce: false,
            folder: std::env::var_os(FOLDER).map(PathBuf::from),
            record: None,
        }
    }

    /// Judge, and panic on a violation: for tests.
    pub fn enforcing() -> Self {
        Self {
            enforce: true,
            ..Self::recording()
        }
    }
}

/// Totals of a model.
#[derive(Debug, Clone, Default)]
pub struct ExchangeTotals {
    /// Exchanges seen.
    pub exchanges: u64,
    /// What broke the contract.
    pub violations: Vec<String>,
}

/// One exchange to be noted.
#[derive(Debug)]
pub(super) struct Noted<'n> {
    /// `METHOD /path/{template}`.
    pub operation: &'n str,
    pub path: &'n str,
    pub request: &'n Value,
    pub status: u16,
    pub response: Option<&'n Value>,
    pub problems: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Exchanges {
    pub check: ContractCheck,
    pub totals: ExchangeTotals,
    lines: Option<File>,
    record: Option<File>,
}

fn appended(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

impl Exchanges {
    pub(super) fn new(check: ContractCheck) -> std::io::Result<Self> {
        let name = format!("{}.tsv", std::process::id());
        let lines = check
            .folder
            .as_ref()
            .map(|folder| appended(&folder.join(name)))
            .transpose()?;
        let record = check.record.as_deref().map(appended).transpose()?;
        Ok(Self {
            check,
            totals: ExchangeTotals::default(),
            lines,
            record,
        })
    }

    pub(super) fn note(&mut self, noted: &Noted<'_>) {
        self.totals.exchanges += 1;
        let problems = noted.problems.join("; ").replace(['\t', '\n'], " ");
        let verdict = if problems.is_empty() {
            "ok"
        } else {
            "violation"
        };
        let line = format!("{}\t{verdict}\t{problems}\n", noted.operation);
        if let Some(lines) = &mut self.lines
            && let Err(error) = lines.write_all(line.as_bytes())
        {
            self.totals
                .violations
                .push(format!("the exchange could not be written down: {error}"));
        }
        if let Some(record) = &mut self.record {
            let whole = json!({
                "operation": noted.operation, "path": noted.path, "request": noted.request,
                "status": noted.status, "response": noted.response, "problems": noted.problems,
            });
            if let Err(error) = record.write_all(format!("{whole}\n").as_bytes()) {
                self.totals
                    .violations
                    .push(format!("the exchange could not be recorded: {error}"));
            }
        }
        if !problems.is_empty() {
            let violation = format!(
                "{} ({}, {}): {problems}",
                noted.operation, noted.path, noted.status
            );
            tracing::error!(violation, "an exchange breaks GitHub's contract");
            self.totals.violations.push(violation);
        }
    }
}
