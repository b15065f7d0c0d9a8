//! A worker: one thread with its own runtime, listening sockets and upstream connections.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use hashbrown::HashMap;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle as LocalHandle, LocalSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::accept::{Shared, handle};
use super::table::SharedTable;
use crate::base::address::Address;
use crate::net::socket::{BindOptions, is_taken, listen, listen_unix};
use crate::net::stream::Stream;
use crate::telemetry::stats::enter_worker;
use crate::upstream::pool::Pools;

/// A listening socket of one worker.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix domain socket.
    Unix(std::os::unix::net::UnixListener),
}

enum Command {
    Serve(Address, Socket, Arc<()>),
    /// The sender is dropped when the socket is closed.
    Unbind(Address, oneshot::Sender<()>),
}

/// All workers, as the control thread commands them. Dropping it ends them.
#[derive(Default)]
pub struct Workers {
    commands: Vec<mpsc::UnboundedSender<Command>>,
    threads: Vec<JoinHandle<()>>,
    /// Addresses where sockets of ours are open, as long as the mark lives.
    ours: parking_lot::Mutex<HashMap<Address, Weak<()>>>,
}

/// Sockets that are bound, one for each worker, and not yet served.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port the system chose where none was given.
    pub address: Address,
    sockets: Vec<Socket>,
    mark: Arc<()>,
}

/// Sockets on their way to be closed.
#[derive(Debug, Default)]
pub struct Closed(Vec<oneshot::Receiver<()>>);

impl Closed {
    /// Waits for these as well.
    pub fn and(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Waits until all of them are closed.
    pub async fn wait(self) {
        for waiting in self.0 {
            // An error is what we wait for: the worker has dropped its end.
            let _ = waiting.await;
        }
    }
}

impl Workers {
    /// Starts `count` workers that read `table`.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(count: usize, table: &SharedTable) -> io::Result<Self> {
        let mut workers = Self::default();
        for index in 0..count {
            let (sender, receiver) = mpsc::unbounded_channel();
            let table = Arc::clone(table);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || run(index, receiver, table))?;
            workers.commands.push(sender);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Binds an address for every worker.
    ///
    /// # Errors
    /// When it is taken, not ours, or forbidden.
    pub fn bind(&self, address: &Address, options: BindOptions) -> io::Result<Bound> {
        let count = self.commands.len().max(1);
        match address {
            Address::Ip(addr) => {
                if !self.is_ours(address) && is_taken(*addr) {
                    let reason = "the address is in use by another process";
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, reason));
                }
                bind_tcp(*addr, options, count).map(|(actual, sockets)| self.bound(actual, sockets))
            }
            Address::Pipe(path) => {
                let first = listen_unix(path)?;
                let more: io::Result<Vec<_>> = (1..count).map(|_| first.try_clone()).collect();
                let sockets = more?.into_iter().chain([first]).map(Socket::Unix).collect();
                Ok(self.bound(address.clone(), sockets))
            }
        }
    }

    /// Whether sockets of ours are open there: of another version of the listener, or of one that is just being closed.
    fn is_ours(&self, address: &Address) -> bool {
        self.ours.lock().get(address).is_some_and(|mark| mark.strong_count() > 0)
    }

    fn bound(&self, address: Address, sockets: Vec<Socket>) -> Bound {
        let mut ours = self.ours.lock();
        ours.retain(|_, mark| mark.strong_count() > 0);
        let mark = ours.get(&address).and_then(Weak::upgrade).unwrap_or_default();
        ours.insert(address.clone(), Arc::downgrade(&mark));
        Bound { address, sockets, mark }
    }

    /// Begins to accept connections.
    pub fn serve(&self, bound: Bound) {
        for (sender, socket) in self.commands.iter().zip(bound.sockets) {
            let _ = sender.send(Command::Serve(bound.address.clone(), socket, bound.mark.clone()));
        }
    }

    /// Closes the sockets at an address; connections stay. The answer waits until they are closed.
    pub fn unbind(&self, address: &Address) -> Closed {
        let one = |sender: &mpsc::UnboundedSender<Command>| {
            let (closed, waiting) = oneshot::channel();
            let _ = sender.send(Command::Unbind(address.clone(), closed));
            waiting
        };
        Closed(self.commands.iter().map(one).collect())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.commands.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn bind_tcp(addr: SocketAddr, options: BindOptions, count: usize) -> io::Result<(Address, Vec<Socket>)> {
    let first = listen(addr, options)?;
    let actual = first.local_addr()?;
    let mut sockets = vec![Socket::Tcp(first)];
    for _ in 1..count {
        sockets.push(Socket::Tcp(listen(actual, options)?));
    }
    Ok((Address::Ip(actual), sockets))
}

fn run(index: usize, mut commands: mpsc::UnboundedReceiver<Command>, table: SharedTable) {
    enter_worker(index);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return warn!(%error, index, "worker has no runtime"),
    };
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let shared = Shared { table, pools: Rc::new(Pools::default()) };
        tokio::task::spawn_local(sweep(shared.pools.clone()));
        let mut sockets: HashMap<Address, (CancellationToken, LocalHandle<()>)> = HashMap::new();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Serve(address, socket, mark) => {
                    let stop = CancellationToken::new();
                    let serving = accept(socket, address.clone(), shared.clone(), stop.clone());
                    let serving = tokio::task::spawn_local(async move {
                        serving.await;
                        drop(mark);
                    });
                    if let Some((old, _)) = sockets.insert(address, (stop, serving)) {
                        old.cancel();
                    }
                }
                Command::Unbind(address, closed) => {
                    let Some((stop, serving)) = sockets.remove(&address) else { continue };
                    stop.cancel();
                    tokio::task::spawn_local(async move {
                        let _ = serving.await;
                        drop(closed);
                    });
                }
            }
        }
    });
}

async fn sweep(pools: Rc<Pools>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        pools.sweep();
    }
}

async fn accept(socket: Socket, address: Address, shared: Shared, stop: CancellationToken) {
    let listener = match socket {
        Socket::Tcp(socket) => TcpListener::from_std(socket).map(Accepting::Tcp),
        Socket::Unix(socket) => UnixListener::from_std(socket).map(Accepting::Unix),
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, %address, "socket cannot be served"),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.next() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok(stream) => arrived(stream, &address, &shared),
            Err(error) => pause(&error, &address).await,
        }
    }
    // Who connected before the socket closes is served: the system has already told them that they are connected.
    while let Some(Ok(stream)) = listener.next().now_or_never() {
        arrived(stream, &address, &shared);
    }
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    async fn next(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

fn arrived(stream: Stream, address: &Address, shared: &Shared) {
    let (address, shared) = (address.clone(), shared.clone());
    tokio::task::spawn_local(async move { handle(stream, &address, shared).await });
}

/// Out of descriptors, or the client was gone at once: neither ends the listener.
async fn pause(error: &io::Error, address: &Address) {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        warn!(%error, %address, "connection was not accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
