//! An example to copy: a game's own parser behind a whole session, over sockets in memory, in virtual time.
#![no_main]

use std::net::SocketAddr;

use sealgram::{
    Config, Credentials, Environment, Guarantee, Invite, MemorySocket, SealedEndpoint, memory_pair, sim::Net,
};

/// The function under test: yours goes here. This one reads moves, `kind u8, x i8, y i8`.
fn parse(message: &[u8]) -> Option<Vec<(u8, i8, i8)>> {
    let (moves, []) = message.as_chunks::<3>() else { return None };
    let read = |&[kind, x, y]: &[u8; 3]| (kind < 8).then_some((kind, x.cast_signed(), y.cast_signed()));
    moves.iter().map(read).collect()
}

/// One end. Clock and generator are the network's, so that an input does the same each time.
fn end(net: &Net, socket: MemorySocket, node: &str) -> SealedEndpoint<MemorySocket> {
    let node: SocketAddr = node.parse().expect("an address");
    let clock = net.clone();
    let environment = Environment::new(move || clock.now(), net.rng(node));
    let credentials = Credentials::invite(&Invite::from_bytes([3; 32]));
    SealedEndpoint::with_environment(socket, credentials, Config::default(), environment)
        .expect("a fit configuration")
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let net = Net::seed(1);
    let (first, second) = memory_pair();
    let (mut peer, mut game) = (end(&net, first, "192.0.2.1:1"), end(&net, second, "192.0.2.2:1"));
    peer.connect().expect("either end of an invite may dial");
    let messages: Vec<_> = data.split(|byte| *byte == b'\n').take(64).collect();
    for message in &messages {
        peer.send_payload(Guarantee::Delivery, message).expect("there is room for 64 short messages");
    }
    let mut heard = 0;
    while heard < messages.len() {
        while let Some(message) = game.recv().expect("the session lives") {
            assert_eq!(message.bytes(), messages[heard]);
            // What it makes of the bytes is yours to judge.
            let (Some(_) | None) = parse(&message);
            heard += 1;
        }
        game.maintain().expect("the session lives");
        while peer.recv().expect("the session lives").is_some() {}
        let next = peer.maintain().expect("the session lives");
        net.advance_to(next.unwrap_or_else(|| net.now()));
    }
});
