//! What a session keeps in memory while nothing happens: structs, keys, replay window, heap. `--nocapture` prints it.

use super::{super::live::Live, *};
use crate::{
    connection::Connection,
    crypto::{OpenKeys, SealKey, Secret},
    delivery::{
        ack::Acks, rate::RateControl, recovery::SentPackets, recv::Place, recv::RecvQueue, send::SendQueue,
        send_lane::SendLane,
    },
};

/// Bytes of the heap that a peer holds: those that its end gives back.
fn heap(peer: Sealed) -> i64 {
    -allocation_counter::measure(|| drop(peer)).bytes_current
}

/// Bytes of the heap that the sessions of both peers hold: their connections, and beyond these what an endpoint without a
/// session does not.
fn of_sessions(mut world: World) -> [i64; 2] {
    // A keep-alive takes memory for a moment; in between everything rests.
    let rests = |world: &World| world.peers.iter().all(|peer| peer.connection.is_resting());
    assert!(world.run_until(Duration::from_secs(20), rests).is_some());
    let connection = Connection::new(&std::sync::Arc::default());
    let connection = -allocation_counter::measure(|| drop(connection)).bytes_current;
    let fresh = heap(World::pair("paired", 1).peers.swap_remove(0)) - connection;
    let two = heap(world.peers.pop().unwrap());
    [heap(world.peers.pop().unwrap()) - fresh, two - fresh]
}

fn live() -> World {
    let mut world = World::pair("paired", 1);
    world.connect(0);
    world.settle();
    world
}

/// Takes everything that has arrived.
fn take(world: &mut World, peer: usize) -> usize {
    let connection = world.peers[peer].connection_mut();
    let mut count = 0;
    while let Some(ready) = connection.pop() {
        count += 1;
        if let Place::Stored(handle) = ready.place {
            connection.release(handle);
        }
    }
    count
}

/// Sends `count` messages of `len` bytes each way, on as many lanes; they all arrive, and then nothing happens for long.
fn after(count: usize, lanes: usize, len: usize) -> [i64; 2] {
    let mut world = live();
    let (mut sent, mut taken) = (0, [0; 2]);
    while taken != [count; 2] {
        for peer in 0..2 {
            let connection = world.peers[peer].connection_mut();
            for number in sent..count.min(sent + 100) {
                let lane = u8::try_from(number % lanes).unwrap();
                connection.send(lane, Guarantee::Delivery, &vec![1; len]).unwrap();
            }
            connection.flush();
            world.flush(peer);
        }
        sent = count.min(sent + 100);
        for _ in 0..50 {
            world.run(ms(2));
            taken = [0, 1].map(|peer| taken[peer] + take(&mut world, peer));
        }
    }
    world.run(Duration::from_secs(60));
    of_sessions(world)
}

#[test]
fn an_idle_session_is_small() {
    macro_rules! show {
        ($($kind:ty),*) => { $(println!("{:>6} {}", size_of::<$kind>(), stringify!($kind));)* };
    }
    show!(Sealed, Connection, SendQueue, SendLane, RecvQueue, Acks, SentPackets, RateControl);
    show!(Live, SealKey, OpenKeys, Secret<32>);
    let unused = of_sessions({
        let mut world = live();
        world.run(Duration::from_secs(90));
        world
    });
    // Keys, replay window and what the connection keeps are in the heap.
    let cases = [
        ("unused", unused, 1_800),
        ("one message on one lane", after(1, 1, 100), 2_000),
        ("1 MB on one lane", after(1_000, 1, 1_000), 2_000),
        ("1 MB on 8 lanes", after(1_000, 8, 1_000), 3_400),
        ("256 lanes touched once", after(256, 256, 10), 56_000),
        ("1 MB on 256 lanes", after(1_000, 256, 1_000), 56_000),
    ];
    for (what, heap, _) in cases {
        println!("{what}: {heap:?} bytes of heap");
    }
    for (what, heap, most) in cases {
        assert!(heap.iter().all(|&bytes| bytes <= most), "{what}: {heap:?}, not {most}");
    }
}
