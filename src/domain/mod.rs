//! The vocabulary: identities, labels, triggers, run states. Pure.
