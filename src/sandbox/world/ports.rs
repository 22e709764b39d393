//! Ports for `serve`'s listeners. They stay the same over its restarts, so that
//! pods find the run API again, and no other sandbox takes them meanwhile: each
//! world holds the lock of its three.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
};

use uuid::Uuid;

/// Ports below those that the system gives to outgoing connections.
const FIRST: u16 = 20_000;
/// Threes of ports.
const THREES: u16 = 4_000;
const TRIES: usize = 1_000;

/// Three ports, ours until this is dropped.
#[derive(Debug)]
pub(super) struct Ports {
    /// For the run API, the staff API and operations.
    pub(super) numbers: [u16; 3],
    _lock: File,
}

impl Ports {
    /// Takes three that nobody holds and nobody listens on.
    pub(super) fn take() -> std::io::Result<Self> {
        let user = rustix::process::geteuid().as_raw();
        let folder = std::env::temp_dir().join(format!("codex-k8s-ports-{user}"));
        fs::create_dir_all(&folder)?;
        for _ in 0..TRIES {
            let bytes = Uuid::new_v4().into_bytes();
            let three = u16::from_be_bytes([bytes[0], bytes[1]]) % THREES;
            let lock = File::create(folder.join(three.to_string()))?;
            let first = FIRST + three * 3;
            let numbers = [first, first + 1, first + 2];
            let free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
            if lock.try_lock().is_ok() && numbers.iter().all(free) {
                return Ok(Self {
                    numbers,
                    _lock: lock,
                });
            }
        }
        Err(std::io::Error::other("no three free ports found"))
    }
}
