//! `tcp-echo`: answers each line with a prefix, on every port it is given (`9000,9001`), as the sample of that name.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The longest line that is echoed, in bytes.
const LONGEST_LINE: u64 = 64 << 10;

/// Serves `args[0]` = ports, `args[1]` = prefix until told to stop.
pub async fn run(args: &[String]) -> anyhow::Result<()> {
    let ports = args.first().map_or("9000,9001,9002", String::as_str);
    let prefix = args.get(1).cloned().unwrap_or_else(|| "hello".into());
    for port in ports.split(',') {
        let listener = crate::serve::bind(port.trim().parse()?).await?;
        println!("listening on port {port}");
        tokio::spawn(accept(listener, prefix.clone()));
    }
    crate::serve::stopped().await;
    Ok(())
}

async fn accept(listener: TcpListener, prefix: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let prefix = prefix.clone();
        tokio::spawn(async move {
            if let Err(error) = echo(stream, &prefix).await {
                println!("connection ended: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream, prefix: &str) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut read).take(LONGEST_LINE).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        write.write_all(&[prefix.as_bytes(), b" ", &line].concat()).await?;
    }
}
