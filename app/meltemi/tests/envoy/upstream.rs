//! A server that does what the path says, a little like httpbin.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A server; its thread ends with the test's process.
pub struct Upstream {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Upstream {
    /// `name` is in every answer. Paths: `/status/CODE`, `/delay/SECONDS`, and everything else gives the request's head.
    pub fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let counter = counter.clone();
                std::thread::spawn(move || serve(stream.unwrap(), name, &counter));
            }
        });
        Self { address, requests }
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, name: &str, counter: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push(line.trim_end().to_owned()),
            }
        }
        counter.fetch_add(1, Ordering::SeqCst);
        let target = head[0].split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let mut status = 200;
        if let Some(code) = path.strip_prefix("/status/") {
            status = code.parse().unwrap();
        } else if let Some(seconds) = path.strip_prefix("/delay/") {
            std::thread::sleep(Duration::from_secs(seconds.parse().unwrap()));
        }
        head[1..].sort_unstable();
        let body = format!("{name}\n{}\n", head.join("\n"));
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nx-from: {name}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
