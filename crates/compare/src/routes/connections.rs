//! What a held connection costs, all processes of the service together.

use super::Routes;
use crate::load::connection::Connection;
use crate::processes;
use crate::server::Server;

/// Connections held at once.
pub const HELD: usize = 200;
/// Condition of the measure.
pub const CONDITION: &str = "200 held, each after one request";
/// The kernel counts pages; less than one for all connections together is told as one.
const PAGE_BYTES: f64 = 4096.0;

/// Bytes a connection; why they could not be held, otherwise.
///
/// As many requests as there will be connections go over one first: what they make the application load is not the connections'.
pub fn held(routes: &Routes, server: &Server) -> Result<f64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let unmeasured = || "the memory of its processes cannot be read".to_owned();
    runtime.block_on(async {
        let mut first = None;
        for _ in 0..HELD {
            once(routes, server, &mut first).await?;
        }
        let before = processes::memory(server.pid()).ok_or_else(unmeasured)?;
        let mut all = Vec::with_capacity(HELD);
        for number in 0..HELD {
            let mut connection = None;
            once(routes, server, &mut connection).await.map_err(|why| format!("after {number} held connections: {why}"))?;
            all.push(connection.ok_or_else(|| "the service closes connections after an answer".to_owned())?);
        }
        let after = processes::memory(server.pid()).ok_or_else(unmeasured)?;
        drop(all);
        Ok((after.saturating_sub(before) as f64).max(PAGE_BYTES) / HELD as f64)
    })
}

async fn once(routes: &Routes, server: &Server, kept: &mut Option<Connection>) -> Result<(), String> {
    let exchange = async {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(server.address).await.map_err(|error| format!("no connection: {error}"))?,
        };
        let (_, again) = connection.exchange(&routes.requests[0], false).await?;
        *kept = again.then_some(connection);
        Ok(())
    };
    tokio::time::timeout(routes.timeout, exchange).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}
