//! Waking the reconciler: Postgres notifies of new facts and of a lease given back. A
//! notice is a hint and carries no truth; losing one changes latency only.

use futures::{Stream, StreamExt, stream::BoxStream};
use sqlx::postgres::PgListener;

use super::{Store, StoreError};

/// The channel that new facts are announced on.
const FACTS_CHANNEL: &str = "codexk8s_wake";
/// The channel on which a lease that was given back is announced.
pub(super) const LEASE_CHANNEL: &str = "codexk8s_lease";

/// What may be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A fact was stored.
    Facts,
    /// The lease was given back.
    LeaseFree,
    /// The connection was made anew: anything may have been announced meanwhile.
    Anything,
}

/// Hints that something is new. It reconnects by itself.
pub type WakeStream = BoxStream<'static, Notice>;

impl Store {
    /// Listens for notices, on a connection of its own out of the pool.
    pub async fn listen(&self) -> Result<WakeStream, StoreError> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen_all([FACTS_CHANNEL, LEASE_CHANNEL]).await?;
        Ok(notices(listener).boxed())
    }
}

fn notices(listener: PgListener) -> impl Stream<Item = Notice> {
    futures::stream::unfold(listener, |mut listener| async move {
        loop {
            // `None` is a lost connection that will be made anew.
            match listener.try_recv().await {
                Ok(Some(told)) if told.channel() == LEASE_CHANNEL => {
                    return Some((Notice::LeaseFree, listener));
                }
                Ok(Some(_)) => return Some((Notice::Facts, listener)),
                Ok(None) => return Some((Notice::Anything, listener)),
                Err(error) => {
                    tracing::warn!(error = %error, "listening for facts failed, trying again");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    })
}
