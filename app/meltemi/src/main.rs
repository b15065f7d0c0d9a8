//! One binary, several roles: the CLI, istiod, the proxy, istio-iptables and the local cluster.
//!
//! The role is chosen by the name the binary is called by (`istioctl`, `pilot-discovery`, `pilot-agent`,
//! `istio-iptables`, the name of a sample applet), or by the first argument.

mod cli;
mod role;
mod verbs;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    role::Role::of(&arguments).run(arguments)
}
