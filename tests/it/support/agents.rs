//! Real agent programs, if they are installed: `manifests/images/agents/install` does that, and
//! `make test` says how many tests were left out without them.

use std::path::PathBuf;

use super::cluster::note;

/// The folder that holds `codex` and `claude`, for the test that asks; else it is left out.
pub(crate) fn programs_for_test() -> Option<PathBuf> {
    let folder = std::env::var_os("CODEXK8S_TEST_AGENTS").map(PathBuf::from);
    if folder.is_none() {
        note(Err("no agent programs"));
    }
    folder
}
