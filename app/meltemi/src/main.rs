//! One binary, several roles: the CLI, istiod, the proxy, istio-iptables and the local cluster.
//!
//! The role is chosen by the name the binary is called by (`istioctl`, `pilot-discovery`, `pilot-agent`,
//! `istio-iptables`, the name of a sample applet), or by the first argument.

mod allocator;
mod cli;
mod local;
mod render;
mod role;
mod verbs;

fn main() -> std::process::ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // Helpers of containers and of the daemon's launch must run before any thread exists.
    if let Some(code) = meltemi_node::launch::hidden(arguments.get(1..).unwrap_or_default()) {
        return std::process::ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    if arguments.get(1).is_some_and(|first| first == meltemi_node::launch::DAEMON) {
        return local::daemon::main(arguments.get(2..).unwrap_or_default());
    }
    role::Role::of(&arguments).run(arguments)
}
