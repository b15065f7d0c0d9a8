//! The service proxy: what service addresses mean, as nft rules in the cluster's namespace and as forwarders on the host.

pub mod egress;
pub mod forward;
pub mod host;
pub mod nft;
pub mod program;
pub mod run;
pub mod table;
