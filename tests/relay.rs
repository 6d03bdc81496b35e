//! The examples' relay does to real datagrams what it says, and the same to the same.

#[path = "../examples/common/relay.rs"]
mod relay;

use std::net::UdpSocket;
use std::time::Duration;

use relay::{Conditions, Counts, Relay};

/// Sends `count` numbered datagrams through a relay and gives what came out, in order.
///
/// Never more than a hundred or so are on their way: a socket's buffer does not hold many more when the machine is
/// busy, and what overruns it would be lost without the relay knowing.
fn through(conditions: Conditions, count: u32) -> (Vec<u32>, Counts) {
    let sockets = [UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap()];
    let relay =
        Relay::between([0, 1].map(|at: usize| sockets[at].local_addr().unwrap()), conditions).unwrap();
    for (socket, address) in sockets.iter().zip(relay.addresses()) {
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    }
    let [near, far] = sockets;
    let mut got = Vec::new();
    let mut read_until = |sent: u32, missing: u64| {
        let mut buffer = [0; 64];
        let mut patience = 10_000;
        loop {
            let counts = relay.counts();
            let due = counts.received - counts.lost + counts.duplicated + counts.replayed;
            if counts.received == u64::from(sent) && got.len() as u64 + missing >= due {
                return;
            }
            match far.recv(&mut buffer) {
                Ok(len) => got.push(u32::from_le_bytes(buffer[..len].try_into().unwrap())),
                Err(_) => patience -= 1,
            }
            assert!(patience > 0, "{counts:?}, got {}", got.len());
        }
    };
    for number in 0..count {
        near.send(&number.to_le_bytes()).unwrap();
        if number % 20 == 19 {
            read_until(number + 1, 80);
        }
    }
    read_until(count, 0);
    (got, relay.counts())
}

#[test]
fn a_kind_relay_changes_nothing() {
    let conditions = Conditions {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(15),
        ..Conditions::default()
    };
    let (got, counts) = through(conditions, 500);
    assert_eq!(got, (0..500).collect::<Vec<_>>());
    let want = Counts { received: 500, bytes: 2_000, forwarded: 500, ..Counts::default() };
    assert_eq!(counts, want);
}

#[test]
fn a_bad_relay_does_each_bad_thing_and_the_same_seed_the_same_things() {
    let conditions = Conditions {
        seed: 9,
        loss: 0.2,
        duplicate: 0.1,
        reorder: 0.1,
        replay: 0.1,
        corrupt: 0.1,
        ..Conditions::default()
    };
    let (got, counts) = through(conditions, 1_000);
    assert!((140..260).contains(&counts.lost), "{counts:?}");
    for each in [counts.duplicated, counts.replayed, counts.corrupted, counts.reordered] {
        assert!((30..170).contains(&each), "{counts:?}");
    }
    assert_eq!(counts.forwarded, counts.received - counts.lost + counts.duplicated + counts.replayed);
    assert_eq!(got.len() as u64, counts.forwarded);
    let (mut again, other) = through(conditions, 1_000);
    let mut got = got;
    got.sort_unstable();
    again.sort_unstable();
    assert_eq!(got, again, "which datagrams are lost, repeated and damaged follows from the seed");
    assert_eq!(Counts { reordered: 0, ..counts }, Counts { reordered: 0, ..other });
}
