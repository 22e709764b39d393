//! Waking the reconciler: Postgres notifies of new facts. A notice is a hint and
//! carries no truth; losing one changes latency only.

use futures::{Stream, StreamExt, stream::BoxStream};
use sqlx::postgres::PgListener;

use super::{Store, StoreError};

/// The channel that new facts are announced on.
const CHANNEL: &str = "codexk8s_wake";

/// Hints that something new is stored. It reconnects by itself; what was announced meanwhile
/// is made up for by one hint.
pub type WakeStream = BoxStream<'static, ()>;

impl Store {
    /// Listens for new facts, on a connection of its own out of the pool.
    pub async fn listen(&self) -> Result<WakeStream, StoreError> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(hints(listener).boxed())
    }
}

fn hints(listener: PgListener) -> impl Stream<Item = ()> {
    futures::stream::unfold(listener, |mut listener| async move {
        loop {
            // `None` is a lost connection that will be made anew: a hint, too.
            match listener.try_recv().await {
                Ok(_) => return Some(((), listener)),
                Err(error) => {
                    tracing::warn!(error = %error, "listening for facts failed, trying again");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    })
}
