//! Git over HTTP(S) for libgit2: one transport for every remote we talk to.
//!
//! libgit2 is built without a TLS library; its `http` and `https` transports
//! are ours, over reqwest and rustls. It chooses a transport by scheme alone,
//! so each remote is registered here first and gets a URL of its own, by which
//! the transport finds the real URL, its credential and its settings. Two
//! remotes with one URL and different credentials never meet.
//!
//! Nothing here decides what to fetch or push, and nothing retries.
//!
//! All calls into libgit2 that use a remote block; call them where blocking is
//! allowed (`tokio::task::spawn_blocking`).

mod http;
mod remotes;

pub use remotes::{
    Credential, CredentialSource, GitHttp, HttpOptions, RemoteHandle, RemoteUrlError,
};
