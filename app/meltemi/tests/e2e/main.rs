//! The whole thing, as a user sees it: a cluster started by `meltemi up`, driven by an unmodified kubectl and plain HTTP.

mod bad_input;
mod bookinfo;
mod capture;
mod cli;
mod clients;
mod cluster;
mod faults;
mod gateways;
mod http;
mod kubectl;
mod lab;
mod lifecycle;
mod mesh;
mod refusals;
mod storage;
mod survival;
mod verbs;
