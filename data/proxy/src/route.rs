//! Which cluster a request goes to, and what happens to it on the way. Pure: `RouteConfiguration` → [`RouteTable`] → a decision.

pub mod action;
pub mod compile;
pub mod headers;
pub mod matching;
pub mod retry;
pub mod rewrite;
pub mod table;
pub mod template;

pub use table::{Route, RouteTable, VirtualHost};
