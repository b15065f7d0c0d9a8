//! What the API server does on its own: bootstrap objects, namespaces and their contents, owner references.

mod bootstrap;
mod events;
mod garbage;
mod namespaces;

use crate::server::Core;
use anyhow::Result;
use std::sync::Arc;

/// Writes the objects every cluster has and starts the controllers.
pub async fn start(core: &Arc<Core>) -> Result<()> {
    bootstrap::ensure(core).await?;
    events::spawn(core.clone());
    garbage::spawn(core.clone());
    namespaces::spawn(core.clone());
    Ok(())
}
