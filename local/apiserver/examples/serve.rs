//! Serves an API server on a loopback port: `serve DATA_DIR [PORT]` writes `DATA_DIR/kubeconfig` and runs until killed.

use meltemi_apiserver::{ApiServer, Options};
use std::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().unwrap_or_else(|| "/tmp/meltemi-apiserver".into());
    let port: u16 = args.next().map_or(Ok(0), |p| p.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let address = listener.local_addr()?;
    let mut options = Options::new(&dir);
    options.advertise = Some((address.ip(), address.port()));
    let server = ApiServer::open(options).await?;
    let path = format!("{dir}/kubeconfig");
    std::fs::write(&path, server.kubeconfig(&format!("https://{address}"))?)?;
    println!("KUBECONFIG={path}");
    server.serve(listener).await
}
