//! Accepts connections and hands each to the core that has the fewest: fair with few long
//! connections too, which `SO_REUSEPORT` is not, and the one place for the connection limit.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::warn;

use super::core::Handle;

/// Accepts until the future is dropped; above `limit` open connections new ones are closed.
pub async fn accept(listener: TcpListener, cores: &[Handle], limit: u64) {
    loop {
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or memory: serving what there is makes room again.
                warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let open: u64 = cores.iter().map(Handle::connections).sum();
        let Some(core) = cores.iter().min_by_key(|core| core.connections()) else {
            return;
        };
        if open >= limit {
            core.metrics().connection_shed();
        } else if let Ok(socket) = socket.into_std() {
            core.take(socket, address.ip());
        }
    }
}

/// Long enough not to spin, short enough not to be noticed.
const PAUSE: Duration = Duration::from_millis(50);
