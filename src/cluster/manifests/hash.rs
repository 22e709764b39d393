//! The hash by which an object tells what it was built from.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Raised when a builder changes what it makes of the same input, so that
/// objects of the version before are built again.
const BUILDER_VERSION: u32 = 1;

/// SHA-256 over the JSON of a builder's input: fields as its type has them, maps by their keys,
/// no spaces. A secret is never part of an input.
///
/// # Panics
///
/// Never: an input is plain data, which always serialises.
pub fn input_hash(input: &impl Serialize) -> String {
    let text = serde_json::to_vec(input).expect("a builder's input is plain data");
    let hash = Sha256::new().chain_update(format!("{BUILDER_VERSION}:"));
    hex::encode(hash.chain_update(text).finalize())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_order_in_which_a_map_was_filled_does_not_matter_and_values_do() {
        let one = BTreeMap::from([("b", "é"), ("a", "")]);
        let same = BTreeMap::from([("a", ""), ("b", "é")]);
        let other = BTreeMap::from([("a", "é"), ("b", "")]);
        assert_eq!(input_hash(&one), input_hash(&same));
        assert_ne!(input_hash(&one), input_hash(&other));
        assert_eq!(input_hash(&one).len(), 64);
    }
}
