//! What reading costs a server: datagrams of one sender and of many, read in batches and several by one call
//! (`UDP_GRO`), beside what a sealed server spends on an upload in all.

use std::{hint::black_box, net::UdpSocket};

use sealgram::{
    AddressedUdp, Credentials, Event, Guarantee, RecvBatch, SealedEndpoint, SealedServer, SecretKey, Trust,
    UdpLike,
};

use super::{
    measures, median, spent,
    streams::{FULL, bind, config, connected},
};

/// Datagrams that wait before the server has its turn.
const TURN: usize = 48;

/// Who sends them.
#[derive(Clone, Copy)]
enum Senders {
    OneInRuns,
    OneByOne,
    Many,
}

#[derive(Clone, Copy)]
enum Reads {
    /// `recvmmsg`, room for a datagram in each message.
    Batch,
    /// `UDP_GRO`, one message with room for a run.
    Joined,
    /// `UDP_GRO` and `recvmmsg`, room for a run in each message.
    JoinedBatch,
}

fn read<A: AddressedUdp>(socket: &mut A, reads: Reads, batch: &mut RecvBatch, buffer: &mut [u8]) -> usize {
    let mut bytes = 0;
    if let Reads::Joined = reads {
        while let Ok((len, size, from)) = socket.recv_run_from(buffer) {
            black_box((size, from));
            bytes += len;
        }
        return bytes;
    }
    while socket.recv_batch(batch).is_ok() {
        while let Some(arrival) = batch.take_next() {
            bytes += black_box(arrival.datagram).len();
        }
    }
    bytes
}

/// What a datagram costs its reader.
fn bare(senders: Senders, reads: Reads, turns: usize) -> f64 {
    let (mut socket, at) = bind();
    socket.prepare().expect("a socket");
    let mut ends: Vec<_> = (0..TURN).map(|_| connected(at)).collect();
    let (full, run, mut buffer) = (vec![7; 1_200], vec![7; TURN * 1_200], vec![0; 65_535]);
    let mut batch = match reads {
        Reads::JoinedBatch => RecvBatch::new(65_534),
        Reads::Joined | Reads::Batch => RecvBatch::new(1_452),
    };
    if !matches!(reads, Reads::Batch) {
        socket.join_reads();
    }
    let mut own = 0;
    for _ in 0..turns {
        match senders {
            Senders::OneInRuns => assert_eq!(ends[0].send_run(&run, 1_200).expect("room"), TURN),
            Senders::OneByOne => (0..TURN).for_each(|_| assert!(ends[0].send(&full).is_ok())),
            Senders::Many => ends.iter().for_each(|end| assert!(end.send(&full).is_ok())),
        }
        let began = spent();
        assert_eq!(read(&mut socket, reads, &mut batch, &mut buffer), TURN * 1_200);
        own += spent() - began;
    }
    own as f64 / (turns * TURN) as f64
}

fn deliver(server: &mut SealedServer<impl AddressedUdp>) -> usize {
    let mut heard = 0;
    while let Some((_, message)) = server.recv() {
        black_box(message.bytes());
        heard += 1;
    }
    while let Some((id, event)) = server.poll_event() {
        if let Event::Join { .. } = event {
            server.accept(id);
        }
    }
    server.maintain();
    heard
}

/// What a message of an upload costs the server in all.
fn upload(messages: usize) -> f64 {
    let key = SecretKey::generate().expect("randomness");
    let (socket, at) = bind();
    let mut server = SealedServer::new(socket, Credentials::server_auth(&key, Trust::Anyone), config())
        .expect("a good configuration");
    let own = SecretKey::generate().expect("randomness");
    let credentials = Credentials::client_auth(&own, key.public_key()).expect("two keys");
    let mut player: SealedEndpoint<UdpSocket> =
        SealedEndpoint::with_credentials(connected(at), credentials, Default::default())
            .expect("a good configuration");
    player.connect().expect("a first call");
    let (mut heard, mut own, mut first) = (0, 0, 0);
    while heard < messages {
        while player.queued_bytes() < 4 * TURN * FULL && player.is_connected() {
            player.send_payload(Guarantee::Delivery, &[7; FULL]).expect("room");
        }
        while player.recv().expect("a session").is_some() {}
        player.maintain().expect("a session");
        let began = spent();
        heard += deliver(&mut server);
        // The size of datagrams and the rate are found before anything counts.
        if heard < messages / 4 {
            first = heard;
        } else {
            own += spent() - began;
        }
    }
    own as f64 / (heard - first) as f64
}

pub(crate) fn table() {
    let (rounds, turns) = if measures() { (7, 500) } else { (1, 2) };
    let middle = |price: &dyn Fn() -> f64| median((0..rounds).map(|_| price()).collect());
    println!(
        "| read at a server, ns a datagram | `recvmmsg` | `UDP_GRO`, one run a call | `UDP_GRO`, 64 runs a call |"
    );
    println!("|---|---:|---:|---:|");
    let senders = [
        ("one sender, runs of 48", Senders::OneInRuns),
        ("one sender, 48 one by one", Senders::OneByOne),
        ("48 senders, one each", Senders::Many),
    ];
    for (name, senders) in senders {
        let [batch, joined, both] = [Reads::Batch, Reads::Joined, Reads::JoinedBatch]
            .map(|reads| middle(&|| bare(senders, reads, turns)));
        println!("| {name} | {batch:.0} | {joined:.0} | {both:.0} |");
    }
    let all = middle(&|| upload(40 * turns));
    println!("\nA sealed server spends {all:.0} ns on each 1 KiB `Delivery` that one player uploads.\n");
}
