//! Takes tables of names from the control plane.

use std::sync::Arc;

use meltemi_proto::istio::nds::NameTable;
use prost::Message;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::Table;
use crate::last_good::Keeper;

/// Where the latest table goes. The last good one stays when the control plane is gone.
#[derive(Debug)]
pub struct Names {
    table: watch::Sender<Arc<Table>>,
    namespace: String,
    domain: String,
    keeper: Keeper,
}

impl Names {
    /// For a pod of this namespace, whose names end with `domain`. Begins with the table that `keeper` has, and tells it
    /// later ones.
    pub fn new(namespace: &str, domain: &str, keeper: Keeper) -> Self {
        let table = watch::Sender::new(Arc::default());
        let last = keeper.names();
        let names = Self { table, namespace: namespace.to_owned(), domain: domain.to_owned(), keeper };
        if let Some(Err(error)) = last.map(|table| names.take(&table)) {
            warn!(%error, "the last table of names is ignored");
        }
        names
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
        self.keeper.note_names(body);
        Ok(())
    }
}
