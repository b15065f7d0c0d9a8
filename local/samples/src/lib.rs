//! Bookinfo, httpbin, echo, curl and friends as functions of one binary.
//!
//! A sample is chosen by the name of the image that users' manifests already carry ([`lookup`]), and run by its
//! applet name ([`run`]). Samples are ordinary HTTP programs: they know nothing of the mesh they run in.

mod bookinfo;
mod call;
mod catalogue;
mod curl;
mod helloworld;
mod httpbin;
mod serve;
mod sleep;
mod tcp_echo;

use std::process::ExitCode;

pub use catalogue::{Sample, lookup};

/// Programs that stand in `/usr/local/bin` of every sample container, so that `sh -c 'curl …'` works.
pub const SHELL_APPLETS: &[&str] = &["curl"];

/// Whether a process called by this name is one of the samples' shell programs.
pub fn is_applet(name: &str) -> bool {
    SHELL_APPLETS.contains(&name)
}

/// Runs a sample until it ends or is told to stop by SIGTERM or SIGINT.
///
/// `args` are the program's own arguments, without its name.
pub fn run(applet: &str, args: Vec<String>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(applet, &error.into()),
    };
    let outcome = runtime.block_on(async {
        match applet {
            "curl" => Ok(curl::run(args).await),
            "productpage" => bookinfo::productpage::run().await.map(|()| ExitCode::SUCCESS),
            "details" => bookinfo::details::run().await.map(|()| ExitCode::SUCCESS),
            "reviews" => bookinfo::reviews::run().await.map(|()| ExitCode::SUCCESS),
            "ratings" => bookinfo::ratings::run().await.map(|()| ExitCode::SUCCESS),
            "helloworld" => helloworld::run().await.map(|()| ExitCode::SUCCESS),
            "httpbin" => httpbin::run(&args).await.map(|()| ExitCode::SUCCESS),
            "tcp-echo" => tcp_echo::run(&args).await.map(|()| ExitCode::SUCCESS),
            "sleep" => sleep::run(&args).await.map(|()| ExitCode::SUCCESS),
            other => {
                anyhow::bail!("there is no sample called {other:?}; the samples are {}", catalogue::applets())
            }
        }
    });
    outcome.unwrap_or_else(|error| fail(applet, &error))
}

fn fail(applet: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("{applet}: {error:#}");
    ExitCode::FAILURE
}
