//! Desired state: bad input with its places, the example organisation, the
//! command line, and a real Git server over HTTP.

mod bad_input;
pub(crate) mod example;
mod git_http;
pub(crate) mod git_server;
mod prompts;
mod source;
