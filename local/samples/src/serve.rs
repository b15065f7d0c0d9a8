//! How every sample serves HTTP: one listener, one log line a request, a clean end on SIGTERM.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves `router` on all addresses at `port` until SIGTERM or SIGINT, then finishes what is in flight.
pub async fn http(port: u16, router: Router) -> anyhow::Result<()> {
    let listener = bind(port).await?;
    println!("listening on port {port}");
    let service = router.layer(from_fn(log)).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

/// Binds IPv6 and IPv4 at once, or IPv4 alone where the kernel has no IPv6.
pub async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            .await
            .with_context(|| format!("cannot listen on port {port}; is another program using it?")),
    }
}

/// Resolves when the process is asked to stop.
pub async fn stopped() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}

async fn log(request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let response = next.run(request).await;
    println!("{line} {}", response.status().as_u16());
    response
}

/// The value of an environment variable, or the default where it is unset or empty.
pub fn env(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}

/// A port from the environment, or the default.
pub fn env_port(name: &str, default: u16) -> u16 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
