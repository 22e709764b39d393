//! Ports for `serve`'s listeners. They stay the same over its restarts, so that
//! pods find the run API again.

use std::net::{Ipv4Addr, TcpListener};

use uuid::Uuid;

/// Ports below those that the system gives to outgoing connections.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
const TRIES: usize = 1_000;

/// Three different ports that nobody listens on now.
pub(super) fn free_ports() -> std::io::Result<[u16; 3]> {
    let mut found = Vec::new();
    for _ in 0..TRIES {
        let bytes = Uuid::new_v4().into_bytes();
        let port = FIRST + u16::from_be_bytes([bytes[0], bytes[1]]) % COUNT;
        if !found.contains(&port) && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            found.push(port);
        }
        if let [run, api, ops] = found[..] {
            return Ok([run, api, ops]);
        }
    }
    Err(std::io::Error::other("no three free ports found"))
}
