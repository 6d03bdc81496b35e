//! What is made of machines with both families, with one, and with both apart.

use super::*;

type Opened = Vec<(SocketAddr, bool)>;

/// What `bind_by` makes of a machine whose sockets `open` opens, and what it asked for.
fn bind(
    address: &str,
    open: impl Fn(SocketAddr, Opening) -> io::Result<UdpSocket>,
) -> (io::Result<ServerSocket>, Opened) {
    let mut asked = Vec::new();
    let outcome = bind_by(address.parse().unwrap(), false, &mut |address, opening| {
        asked.push((address, opening.only_six));
        open(address, opening)
    });
    (outcome, asked)
}

fn unsupported() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::EAFNOSUPPORT)
}

/// A system that keeps the families apart.
fn apart(address: SocketAddr, opening: Opening) -> io::Result<UdpSocket> {
    open(address, Opening { only_six: true, ..opening })
}

/// Sends `count` datagrams to a port of this machine.
fn send(server: &str, port: u16, count: usize) -> SocketAddr {
    let source = std::net::UdpSocket::bind((server, 0)).unwrap();
    for _ in 0..count {
        source.send_to(server.as_bytes(), (server, port)).unwrap();
    }
    source.local_addr().unwrap()
}

#[test]
fn one_socket_serves_both_families_where_it_can() {
    let (server, asked) = bind("[::]:0", open);
    assert_eq!(server.unwrap().sockets().count(), 1);
    assert_eq!(asked.len(), 1);
}

#[test]
fn where_the_families_are_apart_two_sockets_have_one_port() {
    let (server, _) = bind("[::]:0", apart);
    let mut server = server.unwrap();
    server.prepare().unwrap();
    let ports: Vec<_> = server.sockets().map(|socket| socket.local_addr().unwrap().port()).collect();
    assert_eq!(ports, [server.local_addr().unwrap().port(); 2]);
    assert!(!server.may_fragment());
    let mut out = SendBatch::new(100);
    for host in ["127.0.0.1", "::1"] {
        let player = std::net::UdpSocket::bind((host, 0)).unwrap();
        player.send_to(host.as_bytes(), (host, ports[0])).unwrap();
        let mut buffer = [0; 20];
        let (len, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (host.as_bytes(), player.local_addr().unwrap()));
        server.send_to(b"one", from).unwrap();
        for _ in 0..2 {
            out.room().unwrap()[..5].copy_from_slice(b"batch");
            out.push(5, from);
        }
        assert!(out.flush(&mut server, |error| panic!("{error}")));
        for expected in [b"one".as_slice(), b"batch", b"batch"] {
            let len = player.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], expected);
        }
    }
    assert_eq!(server.recv_from(&mut [0; 20]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_flood_of_one_family_does_not_starve_the_other() {
    let (server, _) = bind("[::]:0", apart);
    let mut server = server.unwrap();
    let port = server.local_addr().unwrap().port();
    let mut batch = RecvBatch::new(100);
    for (noisy, quiet) in [("127.0.0.1", "::1"), ("::1", "127.0.0.1")] {
        let flooder = send(noisy, port, 300);
        let player = send(quiet, port, 2);
        // In the very call, whoever was read first in the last one.
        let mut heard = 0;
        server.recv_batch(&mut batch).unwrap();
        while let Some(arrival) = batch.take_next() {
            heard += usize::from(arrival.from == player);
        }
        assert_eq!(heard, 2, "{quiet} waited behind {noisy}");
        let mut froms = Vec::new();
        for _ in 0..4 {
            froms.push(server.recv_from(&mut [0; 100]).unwrap().1 == flooder);
        }
        assert_eq!(froms, [true; 4]);
        send(quiet, port, 1);
        let single = (0..2).filter(|_| server.recv_from(&mut [0; 100]).unwrap().1 != flooder).count();
        assert_eq!(single, 1, "{quiet} waited behind {noisy}, read one by one");
        while server.recv_batch(&mut batch).is_ok() {
            while batch.take_next().is_some() {}
        }
    }
}

#[test]
fn both_families_give_and_take_runs_where_they_are_apart() {
    let (server, _) = bind("[::]:0", apart);
    let mut server = server.unwrap();
    server.prepare().unwrap();
    let port = server.local_addr().unwrap().port();
    assert_eq!(server.join_reads(), cfg!(target_os = "linux"));
    let mut buffer = vec![0; 65_535];
    for host in ["127.0.0.1", "::1"] {
        let mut player = std::net::UdpSocket::bind((host, 0)).unwrap();
        AddressedUdp::prepare(&mut player).unwrap();
        let to = SocketAddr::new(host.parse().unwrap(), port);
        let from = player.local_addr().unwrap();
        assert_eq!(player.send_run_to(&[7; 2_500], 1_000, to).unwrap(), 3);
        if cfg!(target_os = "linux") {
            assert_eq!(server.recv_run_from(&mut buffer).unwrap(), (2_500, 1_000, from));
        }
        assert_eq!(server.send_run_to(&[8; 2_500], 1_000, from).unwrap(), 3);
        let heard = [(); 3].map(|()| player.recv(&mut buffer).unwrap());
        assert_eq!(heard, [1_000, 1_000, 500]);
    }
}

#[test]
fn a_machine_with_one_family_serves_that() {
    let (only_four, asked) =
        bind(
            "[::]:0",
            |address, opening| {
                if address.is_ipv6() { Err(unsupported()) } else { open(address, opening) }
            },
        );
    assert!(only_four.unwrap().local_addr().unwrap().is_ipv4());
    assert_eq!(asked.len(), 2);
    let (only_six, _) =
        bind(
            "[::]:0",
            |address, opening| {
                if address.is_ipv4() { Err(unsupported()) } else { apart(address, opening) }
            },
        );
    let mut only_six = only_six.unwrap();
    assert_eq!(only_six.sockets().count(), 1);
    assert!(only_six.send_to(b"x", "127.0.0.1:9".parse().unwrap()).is_err());
}

#[test]
fn a_port_that_one_family_has_already_is_an_error_and_never_half_a_server() {
    let taken = open("0.0.0.0:0".parse().unwrap(), Opening { shared: false, only_six: false }).unwrap();
    let port = taken.local_addr().unwrap().port();
    for open in [open, apart] {
        let (outcome, _) = bind(&format!("[::]:{port}"), open);
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
    // Where the system chooses the port, another is tried, but not for ever.
    let (outcome, asked) = bind("[::]:0", |address, opening| {
        if address.is_ipv4() { Err(io::ErrorKind::AddrInUse.into()) } else { apart(address, opening) }
    });
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert_eq!(asked.len(), 1 + 2 * (PORTS + 1));
}

#[test]
fn an_address_of_one_family_stays_in_it() {
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        let (server, asked) = bind(address, apart);
        assert_eq!(server.unwrap().local_addr().unwrap().ip(), asked[0].0.ip());
        assert_eq!(asked.len(), 1);
    }
}

#[test]
fn a_server_has_room_for_what_arrives_while_it_is_busy() {
    use nix::sys::socket::{getsockopt, sockopt};
    let usual = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let usual = getsockopt(&usual, sockopt::RcvBuf).unwrap();
    let server = ServerSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    for socket in server.sockets() {
        assert!(getsockopt(socket, sockopt::RcvBuf).unwrap() >= usual);
    }
}
