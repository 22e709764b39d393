//! A wire between a replica and Postgres that can be frozen: bytes stay where they are, as when
//! a network swallows packets or a server hangs.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

/// The wire; it ends when this is dropped.
pub(super) struct Link {
    port: u16,
    frozen: Arc<watch::Sender<bool>>,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// A wire to this port of this machine.
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let frozen = Arc::new(watch::Sender::new(false));
        let state = Arc::clone(&frozen);
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                tokio::spawn(join(near, port, state.subscribe()));
            }
        });
        Self {
            port: own,
            frozen,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The near end.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Lets nothing through any more, or again.
    pub(super) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }
}

async fn join(near: TcpStream, port: u16, frozen: watch::Receiver<bool>) {
    // A server that is away shows as a connection that ends.
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let (near, far) = (near.into_split(), far.into_split());
    tokio::join!(
        carry(near.0, far.1, frozen.clone()),
        carry(far.0, near.1, frozen)
    );
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    // An end is news, too.
    let _ = frozen.wait_for(|frozen| !frozen).await;
}
