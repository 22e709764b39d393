//! Desired state: bad input with its places, the example organisation, schemas,
//! and a real Git server over HTTP.

mod example;
