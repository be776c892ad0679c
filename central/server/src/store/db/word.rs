//! Word between processes on one server: that something was committed. Enters: that this process did. Leaves: that another
//! one did, which works on the same tables. Word may get lost with a connection: whoever connects asks anew.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client};

use super::super::Address;
use super::{DbError, Server};

/// The channel, which all tenants of a database share; the payload says whose tables are meant.
const CHANNEL: &str = "hangtag";
/// Words that are not heard yet: one is as good as many.
const HELD: usize = 1;

/// A session that hears and tells.
pub(crate) struct Word {
    client: Client,
    schema: String,
    heard: mpsc::Receiver<()>,
}

impl Word {
    /// Begins to listen. `None` where processes have no server in common.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub(crate) async fn open(address: &Address) -> Result<Option<Self>, DbError> {
        match address {
            Address::File(_) => Ok(None),
            Address::Server(server) => Self::listen(server).await.map(Some),
        }
    }

    async fn listen(server: &Arc<Server>) -> Result<Self, DbError> {
        let (client, mut messages) = server.open().await?;
        let (tell, heard) = mpsc::channel(HELD);
        let (name, is_named) = tokio::sync::oneshot::channel::<(String, i32)>();
        tokio::spawn(async move {
            let mut named = Some(is_named);
            let mut own: Option<(String, i32)> = None;
            loop {
                match messages.next().await {
                    Some(Ok(AsyncMessage::Notification(word))) => {
                        own = own.or_else(|| named.take().and_then(|mut named| named.try_recv().ok()));
                        let is_others = own.as_ref().is_none_or(|(schema, pid)| {
                            word.payload() == schema && word.process_id() != *pid
                        });
                        if is_others {
                            // Full: there is word already.
                            let _ = tell.try_send(());
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::debug!(%error, "a session for word of commits ended");
                        return;
                    }
                    None => return,
                }
            }
        });
        let question = "SELECT CAST(current_schema() AS TEXT), pg_backend_pid()";
        let row = client.query_one(question, &[]).await?;
        let schema: String = row.try_get(0)?;
        drop(name.send((schema.clone(), row.try_get(1)?)));
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
        Ok(Self { client, schema, heard })
    }

    /// Tells the others that this process committed something.
    ///
    /// # Errors
    /// When the session is over.
    pub(crate) async fn tell(&self) -> Result<(), DbError> {
        self.client.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &self.schema]).await?;
        Ok(())
    }

    /// Waits for word of another process. False when the session is over. Cancel-safe.
    pub(crate) async fn hear(&mut self) -> bool {
        self.heard.recv().await.is_some()
    }
}
