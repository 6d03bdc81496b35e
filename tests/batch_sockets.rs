//! Sockets with addresses: batches over real sockets of both families, in memory and in the simulator.

use std::io::{self, ErrorKind::WouldBlock};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sealgram::sim::Net;
use sealgram::{
    AddressedUdp, Config, MemoryHub, RecvBatch, SendBatch, ServerSocket, WorkerSocket, bind_workers,
};

const MAX: usize = 1_200;
const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

#[expect(clippy::disallowed_methods, reason = "real sockets live in real time")]
fn now() -> Instant {
    Instant::now()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A datagram that no other resembles, as long as `len`, but not shorter than its number.
fn datagram(number: usize, len: usize) -> Vec<u8> {
    let mut bytes = u32::try_from(number).unwrap().to_be_bytes().to_vec();
    bytes.extend((4..len).map(|place| (number * 31 + place * 7).to_le_bytes()[0]));
    bytes
}

/// Lengths between nothing but a number and the longest.
fn len(number: usize) -> usize {
    number * 397 % (MAX + 1)
}

fn put(batch: &mut SendBatch, bytes: &[u8], to: SocketAddr) {
    batch.room().unwrap()[..bytes.len()].copy_from_slice(bytes);
    assert!(batch.push(bytes.len(), to));
}

/// Everything that arrives, until so much is there.
fn collect(socket: &mut impl AddressedUdp, count: usize) -> Vec<(Vec<u8>, SocketAddr)> {
    let (mut batch, mut heard) = (RecvBatch::new(MAX), Vec::new());
    let began = now();
    while heard.len() < count {
        match socket.recv_batch(&mut batch) {
            Ok(_) => {}
            Err(error) if error.kind() == WouldBlock => {
                assert!(began.elapsed() < Duration::from_secs(5), "{} of {count} arrived", heard.len());
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
        while let Some(arrival) = batch.take_next() {
            assert!(!arrival.too_long);
            heard.push((arrival.datagram.to_vec(), arrival.from));
        }
    }
    heard
}

/// 64 there, and 64 back.
fn exchange<'a>(one: &'a mut dyn AddressedUdp, two: &'a mut dyn AddressedUdp, addresses: [SocketAddr; 2]) {
    let mut ends = [one, two];
    for sender in [0, 1] {
        let mut batch = SendBatch::new(MAX);
        for number in 0..64 {
            put(&mut batch, &datagram(number, len(number)), addresses[1 - sender]);
        }
        assert!(batch.room().is_none() && batch.len() == 64);
        assert!(batch.flush(&mut ends[sender], |error| panic!("{error}")));
        assert!(batch.is_empty() && batch.room().is_some());
        for (number, (bytes, from)) in collect(&mut ends[1 - sender], 64).into_iter().enumerate() {
            assert_eq!(bytes, datagram(number, len(number)), "datagram {number} of sender {sender}");
            assert_eq!(from, addresses[sender]);
        }
    }
}

#[test]
fn batches_of_64_arrive_whole_and_in_order_on_every_kind_of_socket() {
    for address in LOOPBACKS {
        let mut std = [(); 2].map(|()| UdpSocket::bind(address).unwrap());
        let addresses = [0, 1].map(|side: usize| std[side].local_addr().unwrap());
        for socket in &mut std {
            socket.prepare().unwrap();
        }
        let [one, two] = &mut std;
        exchange(one, two, addresses);

        let mut mio = [(); 2].map(|()| mio::net::UdpSocket::bind(at(address)).unwrap());
        let addresses = [0, 1].map(|side: usize| mio[side].local_addr().unwrap());
        let [one, two] = &mut mio;
        exchange(one, two, addresses);

        let mut server = [(); 2].map(|()| ServerSocket::bind(at(address)).unwrap());
        let addresses = [0, 1].map(|side: usize| server[side].local_addr().unwrap());
        let [one, two] = &mut server;
        exchange(one, two, addresses);
    }
    let addresses = ["10.0.0.1:1", "10.0.0.2:2"].map(at);
    let hub = MemoryHub::new();
    let [mut one, mut two] = addresses.map(|at| hub.socket(at).unwrap());
    exchange(&mut one, &mut two, addresses);
    // What is sent in the simulator has arrived when time has gone on.
    let net = Net::seed(3);
    let [one, two] = addresses.map(|at| Moving(net.socket(at), net.clone()));
    exchange(&mut Box::new(one), &mut Box::new(two), addresses);
}

/// A socket of the simulator that lets a moment pass after each datagram.
struct Moving(sealgram::sim::Socket, Net);

impl AddressedUdp for Moving {
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        let sent = AddressedUdp::send_to(&mut self.0, datagram, to);
        self.1.advance(Duration::from_millis(1));
        sent
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        AddressedUdp::recv_from(&mut self.0, buffer)
    }
}

/// A socket that takes so many datagrams in all, then blocks, and in between refuses one.
#[derive(Default)]
struct Narrow {
    room: usize,
    sent: Vec<Vec<u8>>,
}

impl AddressedUdp for Narrow {
    fn send_to(&mut self, datagram: &[u8], _to: SocketAddr) -> io::Result<usize> {
        if self.room == 0 {
            return Err(WouldBlock.into());
        }
        if datagram.is_empty() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.room -= 1;
        self.sent.push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn recv_from(&mut self, _buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.room == 0 {
            return Err(WouldBlock.into());
        }
        self.room -= 1;
        if self.room == 3 { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok((1, at("10.0.0.1:1"))) }
    }
}

#[test]
fn a_socket_that_blocks_inside_a_batch_keeps_the_rest_in_order() {
    let (mut socket, mut batch) = (Narrow::default(), SendBatch::new(MAX));
    for number in 0..20 {
        put(&mut batch, &datagram(number, len(number)), at("10.0.0.1:1"));
    }
    for room in [0, 7, 1, 5, 0, 6] {
        assert!(!batch.flush(&mut socket, |error| panic!("{error}")));
        socket.room = room;
    }
    assert_eq!(batch.len(), 20 - 13);
    assert!(!batch.flush(&mut socket, |error| panic!("{error}")));
    put(&mut batch, &datagram(20, 50), at("10.0.0.1:1"));
    socket.room = 9;
    assert!(batch.flush(&mut socket, |error| panic!("{error}")), "all is gone");
    let expected: Vec<_> =
        (0..20).map(|number| datagram(number, len(number))).chain([datagram(20, 50)]).collect();
    assert_eq!(socket.sent, expected);
}

#[test]
fn a_refused_datagram_costs_only_itself() {
    let (mut socket, mut batch) = (Narrow { room: 100, ..Narrow::default() }, SendBatch::new(MAX));
    for bytes in [b"1".as_slice(), b"", b"", b"2", b""] {
        put(&mut batch, bytes, at("10.0.0.1:1"));
    }
    let mut failures = 0;
    assert!(batch.flush(&mut socket, |_| failures += 1));
    assert_eq!((failures, socket.sent), (3, vec![b"1".to_vec(), b"2".to_vec()]));
}

#[test]
fn a_failure_behind_datagrams_is_told_by_the_next_call() {
    let (mut socket, mut batch) = (Narrow { room: 10, ..Narrow::default() }, RecvBatch::new(MAX));
    assert_eq!(socket.recv_batch(&mut batch).unwrap(), 6);
    assert_eq!(socket.recv_batch(&mut batch).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(socket.recv_batch(&mut batch).unwrap(), 3);
    assert_eq!(socket.recv_batch(&mut batch).unwrap_err().kind(), WouldBlock);
    assert_eq!(batch.len(), 9);
}

#[test]
fn what_the_system_refuses_in_a_batch_does_not_hold_up_the_rest() {
    for address in LOOPBACKS {
        let mut sender = ServerSocket::bind(at(address)).unwrap();
        let mut reader = ServerSocket::bind(at(address)).unwrap();
        let (to, mut batch) = (reader.local_addr().unwrap(), SendBatch::new(65_535));
        // No datagram of UDP is so long.
        for (number, len) in [(0, 10), (1, 65_535), (2, 20), (3, 65_535), (4, 65_535), (5, 30)] {
            put(&mut batch, &datagram(number, len), to);
        }
        let mut failures = 0;
        assert!(batch.flush(&mut sender, |error| {
            assert_ne!(error.kind(), WouldBlock);
            failures += 1;
        }));
        assert_eq!(failures, 3);
        let heard: Vec<_> = collect(&mut reader, 3).into_iter().map(|(bytes, _)| bytes).collect();
        assert_eq!(heard, [datagram(0, 10), datagram(2, 20), datagram(5, 30)]);
    }
}

#[test]
fn a_socket_that_runs_dry_inside_a_batch_gives_what_is_there() {
    let mut sender = ServerSocket::bind(at("127.0.0.1:0")).unwrap();
    let mut reader = ServerSocket::bind(at("127.0.0.1:0")).unwrap();
    let (to, mut batch) = (reader.local_addr().unwrap(), RecvBatch::new(MAX));
    assert_eq!(reader.recv_batch(&mut batch).unwrap_err().kind(), WouldBlock);
    for number in 0..10 {
        sender.send_to(&datagram(number, 40), to).unwrap();
    }
    // On loopback what was sent is there.
    assert_eq!(reader.recv_batch(&mut batch).unwrap(), 10);
    for number in 0..4 {
        assert_eq!(batch.take_next().unwrap().datagram, datagram(number, 40));
    }
    // Who stops half way keeps the rest, and more comes behind it.
    sender.send_to(&datagram(10, 40), to).unwrap();
    assert_eq!(reader.recv_batch(&mut batch).unwrap(), 1);
    assert_eq!(reader.recv_batch(&mut batch).unwrap_err().kind(), WouldBlock);
    for number in 4..11 {
        assert_eq!(batch.take_next().unwrap().datagram, datagram(number, 40));
    }
    assert!(batch.take_next().is_none());
}

#[test]
fn a_batch_that_is_full_leaves_the_rest_to_the_socket() {
    let mut sender = ServerSocket::bind(at("[::1]:0")).unwrap();
    let mut reader = ServerSocket::bind(at("[::1]:0")).unwrap();
    let (to, mut batch) = (reader.local_addr().unwrap(), RecvBatch::new(MAX));
    for number in 0..70 {
        sender.send_to(&datagram(number, 4), to).unwrap();
    }
    assert_eq!(reader.recv_batch(&mut batch).unwrap(), 64);
    assert_eq!(reader.recv_batch(&mut batch).unwrap(), 0, "no slot is free");
    for number in 0..64 {
        assert_eq!(batch.take_next().unwrap().datagram, datagram(number, 4));
    }
    assert_eq!(reader.recv_batch(&mut batch).unwrap(), 6);
    assert_eq!(batch.take_next().unwrap().datagram, datagram(64, 4));
}

#[test]
fn a_datagram_that_is_too_long_never_passes_for_a_shorter_one() {
    for address in LOOPBACKS {
        let mut sender = UdpSocket::bind(address).unwrap();
        let mut reader = ServerSocket::bind(at(address)).unwrap();
        let (to, mut batch) = (reader.local_addr().unwrap(), RecvBatch::new(MAX));
        for len in [MAX, MAX + 1, MAX + 2, 9_000, 4] {
            AddressedUdp::send_to(&mut sender, &datagram(len, len), to).unwrap();
        }
        AddressedUdp::send_to(&mut sender, &[], to).unwrap();
        assert_eq!(reader.recv_batch(&mut batch).unwrap(), 6);
        let mut seen = Vec::new();
        while let Some(arrival) = batch.take_next() {
            seen.push((arrival.datagram.len(), arrival.too_long));
        }
        let cut = (MAX + 1, true);
        assert_eq!(seen, [(MAX, false), cut, cut, cut, (4, false), (0, false)], "{address}");
    }
}

#[test]
fn one_port_serves_both_families_under_plain_addresses() {
    let mut server = ServerSocket::bind(at("[::]:0")).unwrap();
    server.prepare().unwrap();
    let port = server.local_addr().unwrap().port();
    let mut players = LOOPBACKS.map(|address| ServerSocket::bind(at(address)).unwrap());
    let mine = [0, 1].map(|each: usize| players[each].local_addr().unwrap());
    for (player, server) in players.iter_mut().zip(["127.0.0.1", "::1"]) {
        player.send_to(server.as_bytes(), SocketAddr::new(server.parse().unwrap(), port)).unwrap();
    }
    let heard = collect(&mut server, 2);
    for (from, text) in mine.into_iter().zip(["127.0.0.1", "::1"]) {
        assert!(heard.contains(&(text.into(), from)), "{heard:?}");
    }
    // Back in one batch, in turns, and one by one.
    let mut batch = SendBatch::new(MAX);
    for number in 0..40 {
        put(&mut batch, &datagram(number, 20), mine[number % 2]);
    }
    assert!(batch.flush(&mut server, |error| panic!("{error}")));
    for (each, player) in players.iter_mut().enumerate() {
        server.send_to(b"single", mine[each]).unwrap();
        let heard = collect(player, 21);
        for (turn, (bytes, from)) in heard[..20].iter().enumerate() {
            assert_eq!((bytes, from.port()), (&datagram(2 * turn + each, 20), port));
        }
        assert_eq!(heard[20].0, b"single");
    }
}

#[test]
fn an_address_of_the_other_family_is_an_error_of_its_datagram() {
    let mut four = ServerSocket::bind(at("127.0.0.1:0")).unwrap();
    let mut reader = ServerSocket::bind(at("127.0.0.1:0")).unwrap();
    let (to, mut batch) = (reader.local_addr().unwrap(), SendBatch::new(MAX));
    for each in [at("[::1]:9"), to, at("[::1]:9"), to] {
        put(&mut batch, b"x", each);
    }
    let mut failures = 0;
    assert!(batch.flush(&mut four, |_| failures += 1));
    assert_eq!(failures, 2);
    collect(&mut reader, 2);
}

/// Drives all workers until so much was heard, each datagram with the worker that has it in the end.
fn heard(workers: &mut [WorkerSocket], count: usize) -> Vec<(usize, Vec<u8>, SocketAddr)> {
    let (mut batch, mut heard) = (RecvBatch::new(MAX), Vec::new());
    let began = now();
    while heard.len() < count {
        assert!(began.elapsed() < Duration::from_secs(5), "{} of {count} arrived", heard.len());
        for worker in &mut *workers {
            let _ = worker.recv_batch(&mut batch);
            while let Some(arrival) = batch.take_next() {
                let (bytes, from) = (arrival.datagram.to_vec(), arrival.from);
                // All here are of sessions, also the long ones.
                if usize::from(bytes[0]) % 4 == worker.index() {
                    heard.push((worker.index(), bytes, from));
                } else {
                    worker.misdirected(&bytes, from);
                }
            }
        }
    }
    heard
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_player_stays_with_the_worker_of_his_id_wherever_he_comes_from() {
    let config = Config::default();
    let mut workers = bind_workers(at("[::]:0"), 4, 0, &config).unwrap();
    let port = workers[0].local_addr().unwrap().port();
    for (address, server) in LOOPBACKS.into_iter().zip(["127.0.0.1", "::1"]) {
        let server = SocketAddr::new(server.parse().unwrap(), port);
        // Many sources, so that the kernel's hash alone would send most to a wrong worker.
        let mut sources: Vec<_> = (0..16).map(|_| UdpSocket::bind(address).unwrap()).collect();
        let mut sent = Vec::new();
        for first in 0_u8..64 {
            let source = &mut sources[usize::from(first) % 16];
            let mut bytes = datagram(first.into(), if first % 3 == 0 { MAX } else { 60 });
            bytes[0] = first;
            AddressedUdp::send_to(source, &bytes, server).unwrap();
            sent.push((usize::from(first) % 4, bytes, source.local_addr().unwrap()));
        }
        let mut heard = heard(&mut workers, 64);
        heard.sort();
        sent.sort();
        assert!(heard == sent, "{address}: somebody got what was not his");
    }
    assert_eq!(workers.iter().map(WorkerSocket::lost).sum::<u64>(), 0);
}

#[test]
fn workers_are_one_to_sixty_four() {
    let config = Config::default();
    for (count, route) in [(0, 0), (65, 0), (1, 21)] {
        let error = bind_workers(at("127.0.0.1:0"), count, route, &config).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{count} {route}");
    }
    assert_eq!(bind_workers(at("127.0.0.1:0"), 1, 20, &config).unwrap().len(), 1);
}

#[test]
fn a_running_socket_allocates_nothing() {
    let mut server = ServerSocket::bind(at("[::]:0")).unwrap();
    let port = server.local_addr().unwrap().port();
    let to = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
    let mut player = ServerSocket::bind(at("127.0.0.1:0")).unwrap();
    let (mut out, mut back) = (SendBatch::new(MAX), RecvBatch::new(MAX));
    let bytes = [7; 100];
    let mut round = || {
        for _ in 0..64 {
            put(&mut out, &bytes, to);
        }
        assert!(out.flush(&mut player, |error| panic!("{error}")));
        let mut echoed = 0;
        while server.recv_batch(&mut back).is_ok() {
            while let Some(arrival) = back.take_next() {
                put(&mut out, arrival.datagram, arrival.from);
                echoed += 1;
            }
            assert!(out.flush(&mut server, |error| panic!("{error}")));
        }
        while player.recv_batch(&mut back).is_ok() {
            while back.take_next().is_some() {
                echoed += 1;
            }
        }
        assert_eq!(echoed, 128);
    };
    round();
    let counted = allocation_counter::measure(|| (0..50).for_each(|_| round()));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn sockets_and_batches_may_move_to_another_thread() {
    fn movable<T: Send>() {}
    movable::<ServerSocket>();
    movable::<WorkerSocket>();
    movable::<SendBatch>();
    movable::<RecvBatch>();
    movable::<MemoryHub>();
}
