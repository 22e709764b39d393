//! The `codex-k8s` binary.

fn main() {}
