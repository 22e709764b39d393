//! The `codex-k8s` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One provider for everything that speaks TLS, before anything does.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return ExitCode::FAILURE;
    }
    codex_k8s::cli::main()
}
