//! The hash by which an object tells what it was built from.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Raised when a builder changes what it makes of the same input, so that
/// objects of the version before are built again.
const BUILDER_VERSION: u32 = 1;

/// SHA-256 over the canonical JSON of a builder's input: keys sorted, no
/// spaces. A secret is never part of an input.
pub fn input_hash(input: &impl Serialize) -> String {
    let mut value = super::to_value(input);
    value.sort_all_objects();
    let text = format!("{BUILDER_VERSION}:{value}");
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter_and_values_do() {
        let one = json!({"b": [1, {"y": null, "x": "é"}], "a": true});
        let same = json!({"a": true, "b": [1, {"x": "é", "y": null}]});
        let other = json!({"a": true, "b": [{"x": "é", "y": null}, 1]});
        assert_eq!(input_hash(&one), input_hash(&same));
        assert_ne!(input_hash(&one), input_hash(&other));
        assert_eq!(input_hash(&one).len(), 64);
    }
}
