//! Does capture work? A connection to an address that nobody has must arrive at the proxy's port, and the kernel must tell
//! where it was going.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::rule::Family;

/// An address of the blocks that documents use for examples: nobody has it.
fn nobody(family: Family) -> IpAddr {
    let last = fastrand::u8(1..=254);
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, last).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// Dials `probe` of an address that nobody has and waits at `proxy` for the connection.
///
/// # Errors
/// With the reason, when it does not arrive in time or arrives without its destination.
pub(super) fn check(family: Family, proxy: u16, probe: u16, limit: Duration) -> Result<(), String> {
    let wanted = SocketAddr::new(nobody(family), probe);
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let listener = TcpListener::bind((any, proxy)).map_err(|error| format!("port {proxy}: {error}"))?;
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let client = std::thread::spawn(move || TcpStream::connect_timeout(&wanted, limit));
    let arrived = accept(&listener, limit);
    let dialled = client.join().map_err(|_| "the client ended".to_owned())?;
    let stream = match (arrived, dialled) {
        (Some(stream), _) => stream,
        (None, Err(error)) => return Err(format!("{wanted}: {error}")),
        (None, Ok(_)) => return Err(format!("{wanted} was reached, but not through port {proxy}")),
    };
    let socket = SockRef::from(&stream);
    let original = if wanted.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    match original.map(|address| address.as_socket()) {
        Ok(Some(told)) if told == wanted => Ok(()),
        Ok(told) => Err(format!("the kernel says that {told:?} was dialled instead of {wanted}")),
        Err(error) => Err(format!("the kernel does not tell who was dialled: {error}")),
    }
}

fn accept(listener: &TcpListener, limit: Duration) -> Option<TcpStream> {
    const PAUSE: Duration = Duration::from_millis(10);
    let end = Instant::now() + limit;
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Some(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                std::thread::sleep(PAUSE);
            }
            Err(_) => return None,
        }
    }
}
