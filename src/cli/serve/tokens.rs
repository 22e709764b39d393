//! The ring of run token keys, from the settings.

use std::collections::BTreeMap;

use anyhow::Context;
use secrecy::SecretSlice;

use crate::{domain::run_keys::RunKeys, settings::TokenKeys};

/// Takes every key of the settings over.
pub(super) fn ring(keys: &TokenKeys) -> anyhow::Result<RunKeys> {
    let versions: BTreeMap<i32, SecretSlice<u8>> = keys
        .versions()
        .filter_map(|version| Some((version, SecretSlice::from(keys.get(version)?.to_vec()))))
        .collect();
    RunKeys::new(versions).context("take over the run token keys")
}
