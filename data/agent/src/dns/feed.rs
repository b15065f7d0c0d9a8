//! Takes tables of names from the control plane.

use std::sync::Arc;

use meltemi_proto::istio::nds::NameTable;
use prost::Message;
use tokio::sync::watch;
use tracing::debug;

use super::Table;

/// Where the latest table goes. The last good one stays when the control plane is gone.
#[derive(Debug)]
pub struct Names {
    table: watch::Sender<Arc<Table>>,
    namespace: String,
    domain: String,
}

impl Names {
    /// For a pod of this namespace, whose names end with `domain`.
    pub fn new(namespace: &str, domain: &str) -> Self {
        let table = watch::Sender::new(Arc::default());
        Self { table, namespace: namespace.to_owned(), domain: domain.to_owned() }
    }

    /// The latest table.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Table>> {
        self.table.subscribe()
    }

    /// Takes an encoded table.
    ///
    /// # Errors
    /// With the reason, when it is none; the former stays.
    pub fn take(&self, body: &[u8]) -> Result<(), String> {
        let message = NameTable::decode(body).map_err(|error| format!("name table: {error}"))?;
        let table = Table::new(&message, &self.namespace, &self.domain);
        debug!(names = table.len(), "table of names");
        self.table.send_replace(Arc::new(table));
        Ok(())
    }
}
