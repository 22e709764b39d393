//! From the files of one commit to [`Desired`], or to all its errors together.
//!
//! ```text
//! files ─► documents (yaml: places and values) ─► schema ─► types ─► checks ─► Desired
//!            every step adds to one list of errors, FILE:LINE:COLUMN each
//! ```
//!
//! Nothing here touches Git, the network or a clock. Reading a folder is
//! [`read_folder`]; reading a commit is `source/`.

mod assemble;
mod built_in;
mod check;
mod document;
mod error;
mod files;
mod inventory;
mod objects;
mod schema_check;
mod suggest;
mod yaml;

pub use built_in::BUILT_IN_PROMPTS;
pub use error::{Code, ConfigError};

pub(crate) use files::{MAX_FOLDERS, is_candidate, is_hidden};
pub use files::{SourceFile, SourceFiles, read_folder};
pub use inventory::{InventoryItem, inventory};

use super::model::Desired;
use crate::domain::ids::CommitSha;

/// How many errors of a commit are listed.
const MAX_ERRORS: usize = 1_000;

/// Reads all documents of a commit.
///
/// *Guarantees*: the same files give the same result, byte for byte. Errors
/// come sorted by file, line and column, and each once.
///
/// *Errors*: all that were found, at most `MAX_ERRORS` and a last one that
/// says so.
pub fn load(sha: CommitSha, files: SourceFiles) -> Result<Desired, Vec<ConfigError>> {
    let files = files.sorted();
    let mut errors = files.errors;
    let parsed = files.files.iter().map(document::parse).collect();
    let objects = objects::Objects::from_parsed(parsed, &mut errors);
    errors.extend(check::check(&objects));
    if errors.is_empty() {
        return assemble::assemble(sha, objects).map_err(|error| vec![error]);
    }
    errors.sort();
    errors.dedup();
    if errors.len() > MAX_ERRORS {
        let left_out = errors.len() - MAX_ERRORS;
        errors.truncate(MAX_ERRORS);
        let message = format!("and {left_out} more errors");
        errors.push(ConfigError::in_file(".", Code::TooManyErrors, message));
    }
    Err(errors)
}
