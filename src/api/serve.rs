//! Serving a router on a listener until told to end.

use std::{future::IntoFuture, io, time::Duration};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long open requests may take to end: a push that waits for its outcome
/// is repeated by the agent. With all else it is less than the ten seconds in
/// which a process that is told to stop has ended.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `shutdown`, then lets open requests end for a short while.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let told = shutdown.clone();
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async move { told.cancelled().await })
        .into_future();
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => served,
        () = drained => Ok(()),
    }
}
