//! What a message costs two endpoints over loopback, with and without runs of datagrams, beside bare sockets; what a
//! server spends that has several datagrams for a player; and what reading costs it.
//!
//! `cargo bench --bench endpoints` prints a table: nanoseconds of processor time per message, sender and receiver
//! together in one thread; medians of seven rounds in which all ways take turns, and the median of what each is to bare
//! `send` and `recv` in the same round. In `runs` the endpoint has the system's socket; in `one by one` it has the same
//! socket, which does not say that it can carry several datagrams by one call. The tables of the server are made the same
//! way; the processor time of its calls, and of all.

#[path = "scenes/streams.rs"]
mod streams;
#[path = "scenes/uploads.rs"]
mod uploads;

use std::{
    hint::black_box,
    io,
    net::{SocketAddr, UdpSocket},
};

use sealgram::{
    AddressedUdp, Config, Endpoint, Guarantee, RecvBatch, SealedEndpoint, SecretKey, SendBatch, Session,
    UdpLike, Unconnected,
};

/// One short round shows that it runs; `cargo bench` says that it is to measure.
fn measures() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Messages that are sent before the other end has its turn, in bytes: no socket loses any of them.
const TURN: usize = 48 * 1_024;

struct Load {
    name: &'static str,
    guarantee: Guarantee,
    len: usize,
    messages: usize,
}

const LOADS: [Load; 2] = [
    Load { name: "1 KiB reliable bulk", guarantee: Guarantee::Delivery, len: 1_024, messages: 20_000 },
    Load { name: "64 B unreliable flood", guarantee: Guarantee::None, len: 64, messages: 100_000 },
];

/// A socket that says nothing of runs.
struct OneByOne(UdpSocket);

impl UdpLike for OneByOne {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.0.send(datagram)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }

    fn prepare(&mut self) -> io::Result<()> {
        UdpLike::prepare(&mut self.0)
    }

    fn may_fragment(&self) -> bool {
        UdpLike::may_fragment(&self.0)
    }
}

fn connected() -> [UdpSocket; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
    for (own, other) in [(0, 1), (1, 0)] {
        sockets[own].connect(address(&sockets[other])).expect("a socket that is bound");
    }
    sockets
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("a socket that is bound")
}

/// Processor time of this process so far, in nanoseconds.
#[cfg(unix)]
fn spent() -> i64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process knows its own");
    let time = [usage.user_time(), usage.system_time()];
    time.iter().map(|time| (time.tv_sec() * 1_000_000 + time.tv_usec()) * 1_000).sum()
}

/// Nobody can be asked without `unsafe`, so the table has zeros.
#[cfg(not(unix))]
fn spent() -> i64 {
    0
}

/// What one message costs.
fn price(load: &Load, mut run: impl FnMut(&Load)) -> f64 {
    let before = spent();
    run(load);
    (spent() - before) as f64 / load.messages as f64
}

fn bare(load: &Load) -> f64 {
    let [from, to] = connected();
    to.set_nonblocking(true).expect("a socket");
    let (message, mut buffer) = (vec![7; load.len], vec![0; 1_500]);
    price(load, |load| {
        let mut left = load.messages;
        while left > 0 {
            let turn = left.min(TURN / load.len).min(64);
            for _ in 0..turn {
                from.send(black_box(&message)).expect("room");
            }
            let heard = std::iter::from_fn(|| to.recv(&mut buffer).ok()).count();
            assert_eq!(heard, turn);
            left -= turn;
        }
    })
}

fn bare_in_batches(load: &Load) -> f64 {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
    let target = address(&sockets[1]);
    let [mut from, mut to] = sockets.map(streams::Apart);
    for socket in [&mut from, &mut to] {
        socket.prepare().expect("a socket");
    }
    let (mut out, mut back) = (SendBatch::new(load.len), RecvBatch::new(load.len));
    price(load, |load| {
        let mut left = load.messages;
        while left > 0 {
            let turn = left.min(TURN / load.len).min(64);
            for _ in 0..turn {
                out.room().expect("room").fill(7);
                out.push(load.len, target);
            }
            assert!(out.flush(&mut from, |error| panic!("{error}")));
            assert_eq!(to.recv_batch(&mut back).expect("datagrams"), turn);
            while let Some(arrival) = back.take_next() {
                black_box(arrival.datagram);
            }
            left -= turn;
        }
    })
}

fn endpoints<U: UdpLike, S: Session>(load: &Load, mut ends: [Endpoint<U, S>; 2]) -> f64 {
    ends[0].connect().expect("either may");
    while !ends.iter().all(Endpoint::is_connected) {
        drive(&mut ends);
    }
    // The size of datagrams and the rate are found before anything counts.
    transfer(load, &mut ends, load.messages / 4);
    price(load, |load| transfer(load, &mut ends, load.messages))
}

fn transfer<U: UdpLike, S: Session>(load: &Load, ends: &mut [Endpoint<U, S>; 2], messages: usize) {
    let message = vec![7; load.len];
    let (mut sent, mut heard, mut idle) = (0, 0, 0);
    while heard < messages {
        for _ in 0..TURN / load.len {
            if sent == messages || ends[0].queued_bytes() > 4 * TURN {
                break;
            }
            ends[0].send_payload(load.guarantee, black_box(&message)).expect("room");
            sent += 1;
        }
        ends[0].flush().expect("a session");
        let before = heard;
        heard += drive(ends);
        idle = if heard > before { 0 } else { idle + 1 };
        // An unreliable message may be lost.
        if sent == messages && idle > 100_000 {
            println!("{}: {} of {messages} lost", load.name, messages - heard);
            break;
        }
    }
}

/// What a message of 64 bytes there and one back cost, one after the other; `after_bulk`: once runs were read.
fn ping_pong<U: UdpLike, S: Session>(load: &Load, mut ends: [Endpoint<U, S>; 2], after_bulk: bool) -> f64 {
    ends[0].connect().expect("either may");
    while !ends.iter().all(Endpoint::is_connected) {
        drive(&mut ends);
    }
    if after_bulk {
        transfer(&LOADS[0], &mut ends, 2_000);
        ends.reverse();
        transfer(&LOADS[0], &mut ends, 2_000);
    }
    let message = vec![7; load.len];
    price(load, |load| {
        for turn in 0..load.messages {
            let [one, two] = &mut ends;
            let (from, to) = if turn % 2 == 0 { (one, two) } else { (two, one) };
            from.send_payload(load.guarantee, black_box(&message)).expect("room");
            from.flush().expect("a session");
            while to.recv().expect("a session").is_none() {}
        }
    })
}

fn bare_ping_pong(load: &Load) -> f64 {
    let sockets = connected();
    let (message, mut buffer) = (vec![7; load.len], vec![0; 1_500]);
    price(load, |load| {
        for turn in 0..load.messages {
            sockets[turn % 2].send(black_box(&message)).expect("room");
            black_box(sockets[1 - turn % 2].recv(&mut buffer).expect("a datagram"));
        }
    })
}

/// Lets both read and write, and returns how many messages the second has heard.
fn drive<U: UdpLike, S: Session>(ends: &mut [Endpoint<U, S>; 2]) -> usize {
    let mut heard = 0;
    for end in ends.iter_mut().rev() {
        while let Some(message) = end.recv().expect("a session") {
            black_box(message.bytes());
            heard += 1;
        }
        end.maintain().expect("a session");
    }
    heard
}

fn plain<U: UdpLike>(sockets: [U; 2]) -> [Endpoint<U>; 2] {
    sockets.map(|socket| Endpoint::plain(socket, Config::default()).expect("a good configuration"))
}

fn sealed<U: UdpLike>(sockets: [U; 2]) -> [SealedEndpoint<U>; 2] {
    let keys = [(); 2].map(|()| SecretKey::generate().expect("randomness"));
    let mut side = 0;
    sockets.map(|socket| {
        side += 1;
        let peer = keys[side % 2].public_key();
        SealedEndpoint::paired(socket, &keys[side - 1], peer, Config::default()).expect("a good key")
    })
}

/// The same over sockets that are not connected, each of which names the address of the other.
fn unconnected() -> [SealedEndpoint<Unconnected<UdpSocket>>; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
    let addresses = [address(&sockets[1]), address(&sockets[0])];
    let mut ends = sealed(sockets.map(Unconnected::new));
    for (end, other) in ends.iter_mut().zip(addresses) {
        end.set_addresses(&[other]).expect("one address");
    }
    ends
}

type Way = (&'static str, fn(&Load) -> f64);

const WAYS: [Way; 7] = [
    ("bare send and recv", bare),
    ("bare sendmmsg and recvmmsg", bare_in_batches),
    ("plain, one by one", |load| endpoints(load, plain(connected().map(OneByOne)))),
    ("plain, runs", |load| endpoints(load, plain(connected()))),
    ("sealed, one by one", |load| endpoints(load, sealed(connected().map(OneByOne)))),
    ("sealed, runs", |load| endpoints(load, sealed(connected()))),
    ("sealed, runs, `Unconnected`", |load| endpoints(load, unconnected())),
];

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

const PING_PONG: Load =
    Load { name: "64 B there and back", guarantee: Guarantee::None, len: 64, messages: 20_000 };

const SINGLE_WAYS: [Way; 6] = [
    ("bare send and recv", bare_ping_pong),
    ("plain, one by one", |load| ping_pong(load, plain(connected().map(OneByOne)), false)),
    ("plain, runs", |load| ping_pong(load, plain(connected()), false)),
    ("plain, runs, after bulk", |load| ping_pong(load, plain(connected()), true)),
    ("sealed, one by one", |load| ping_pong(load, sealed(connected().map(OneByOne)), false)),
    ("sealed, runs", |load| ping_pong(load, sealed(connected()), false)),
];

fn table(load: &Load, ways: &[Way]) {
    let rounds = if measures() { 7 } else { 1 };
    let load = &Load { messages: if measures() { load.messages } else { 500 }, ..*load };
    let rounds: Vec<Vec<_>> = (0..rounds).map(|_| ways.iter().map(|(_, way)| way(load)).collect()).collect();
    println!("| {} | ns a message | of bare |\n|---|---:|---:|", load.name);
    for (index, (name, _)) in ways.iter().enumerate() {
        let price = median(rounds.iter().map(|round| round[index]).collect());
        let ratio = median(rounds.iter().map(|round| round[index] / round[0]).collect());
        println!("| {name} | {price:.0} | {ratio:.2} |");
    }
    println!();
}

fn main() {
    for load in &LOADS {
        table(load, &WAYS);
    }
    table(&PING_PONG, &SINGLE_WAYS);
    streams::tables();
    uploads::table();
}
