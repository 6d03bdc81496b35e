//! One piece of work at a time for callgrind, which counts its instructions. `.ci/instructions` runs all of them.
//!
//! `sealgram-instructions` without an argument lists the pieces; with a name it runs that piece and prints how often. Only
//! what happens inside of [`counted`] counts: `valgrind --tool=callgrind --toggle-collect='*counted*'`.

#[path = "../../scenes/mod.rs"]
mod scenes;

use std::{hint::black_box, process::ExitCode};

use scenes::{
    crowd::{Crowd, TICK},
    handshakes::{Handshake, PROFILES},
    pair::Pair,
    strangers::{BATCH, Kind, Strangers},
};
use sealgram::{
    Guarantee, Session,
    fuzzing::{PacketPair, ReplayWindow, UsualPayload},
    sim::Net,
};

/// What is between this call and its return is counted.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// Calls of a small piece.
const CALLS: usize = 1_000;

type Piece = (&'static str, fn() -> usize);

/// By name: each runs, and says how many units its instructions are to be divided by.
const PIECES: [Piece; 25] = [
    ("seal_64", || seal(64)),
    ("seal_256", || seal(256)),
    ("seal_1200", || seal(1_200)),
    ("open_64", || open(64)),
    ("open_256", || open(256)),
    ("open_1200", || open(1_200)),
    ("open_forged_1200", || open_forged(1_200)),
    ("window_in_order", || window(|at| at)),
    ("window_reordered", || window(|at| at ^ 7)),
    ("window_duplicate", || window(|at| at / 2)),
    ("frames_read", frames_read),
    ("frames_write", frames_write),
    ("send_receive_sealed_none_64", || send_receive(Pair::sealed(), Guarantee::None, 64)),
    ("send_receive_sealed_order_1024", || send_receive(Pair::sealed(), Guarantee::Order, 1_024)),
    ("send_receive_sealed_delivery_64", || send_receive(Pair::sealed(), Guarantee::Delivery, 64)),
    ("send_receive_plain_delivery_64", || send_receive(Pair::plain(), Guarantee::Delivery, 64)),
    ("echo_of_server_order_100", || echo(Guarantee::Order)),
    ("echo_of_server_delivery_100", || echo(Guarantee::Delivery)),
    ("idle_server_of_100", idle),
    ("handshake_invite", || handshake("invite")),
    ("handshake_client_key", || handshake("client, key")),
    ("reject_garbage_64", || reject(Kind::ShortGarbage)),
    ("reject_garbage_1200", || reject(Kind::Garbage)),
    ("reject_init_without_cookie", || reject(Kind::Init)),
    ("reject_init_with_wrong_cookie", || reject(Kind::WrongCookie)),
];

/// A packet of so many bytes of plaintext, with room for its header and tag.
fn packet(size: usize) -> Vec<u8> {
    vec![1; size + 20]
}

fn ends() -> (PacketPair, PacketPair) {
    PacketPair::two(Net::seed(1).now())
}

fn seal(size: usize) -> usize {
    let ((mut sender, _), mut packet) = (ends(), packet(size));
    counted(|| (0..CALLS).for_each(|_| assert!(sender.seal(black_box(&mut packet)))));
    CALLS
}

fn open(size: usize) -> usize {
    let (mut sender, mut receiver) = ends();
    let mut packets = vec![packet(size); CALLS];
    packets.iter_mut().for_each(|packet| assert!(sender.seal(packet)));
    counted(|| packets.iter_mut().for_each(|packet| assert!(receiver.open(black_box(packet)))));
    CALLS
}

fn open_forged(size: usize) -> usize {
    let ((_, mut receiver), mut packet) = (ends(), packet(size));
    counted(|| (0..CALLS).for_each(|_| assert!(!receiver.open(black_box(&mut packet)))));
    CALLS
}

fn window(number: fn(u64) -> u64) -> usize {
    let mut window = ReplayWindow::default();
    counted(|| {
        for at in (0..).take(CALLS) {
            black_box(window.take(black_box(number(at))));
        }
    });
    CALLS
}

fn frames_read() -> usize {
    let payload = UsualPayload::new(100);
    counted(|| (0..CALLS).for_each(|_| assert_eq!(black_box(&payload).read(), 300)));
    CALLS
}

fn frames_write() -> usize {
    let (payload, mut into) = (UsualPayload::new(100), [0; 1_200]);
    let frames = payload.frames();
    counted(|| (0..CALLS).for_each(|_| assert!(black_box(&frames).write(black_box(&mut into)) > 300)));
    CALLS
}

/// A message in a datagram of its own: both ends, the sockets in memory and the acknowledgement included.
fn send_receive<S: Session>(mut pair: Pair<S>, guarantee: Guarantee, size: usize) -> usize {
    let bytes = vec![7; size];
    counted(|| (0..CALLS).for_each(|_| pair.turn(guarantee, black_box(&bytes), 1)));
    CALLS
}

/// The server's side alone, among 100 players.
fn echo(guarantee: Guarantee) -> usize {
    let mut crowd = Crowd::new(100);
    // The first ticks have the path MTU search among them, and estimates that settle.
    for _ in 0..40 * TICK {
        crowd.millisecond(guarantee, &[7; 100], Crowd::serve);
    }
    let mut counting = || crowd.millisecond(guarantee, &[7; 100], |crowd| counted(|| crowd.serve()));
    (0..20 * TICK).map(|_| counting()).sum()
}

/// What nothing to do costs the server among 100 players who have nothing to say, a millisecond.
fn idle() -> usize {
    let mut crowd = Crowd::new(100);
    for _ in 0..CALLS {
        counted(|| crowd.maintain());
        crowd.idle();
    }
    CALLS
}

/// Both sides.
fn handshake(name: &str) -> usize {
    let profile = PROFILES.iter().find(|profile| profile.name == name).expect("a profile of this name");
    let mut ends: Vec<_> = (0..10).map(|_| Handshake::new(profile)).collect();
    counted(|| {
        for ends in &mut ends {
            black_box(ends.run());
        }
    });
    ends.len()
}

fn reject(kind: Kind) -> usize {
    let mut strangers = Strangers::new(kind);
    for _ in 0..20 {
        strangers.send();
        counted(|| strangers.serve());
    }
    let (came, flood) = strangers.counts();
    assert_eq!(came, 20 * BATCH as u64);
    assert_eq!((flood.dh_operations, flood.envelopes_refused), (0, 0));
    let answered = matches!(kind, Kind::Init | Kind::WrongCookie);
    assert_eq!((flood.cookies_sent, flood.cookies_taken), (if answered { came } else { 0 }, 0));
    20 * BATCH
}

fn main() -> ExitCode {
    let Some(wanted) = std::env::args().nth(1) else {
        PIECES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let Some((_, run)) = PIECES.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("no piece is called {wanted}");
        return ExitCode::FAILURE;
    };
    println!("{}", run());
    ExitCode::SUCCESS
}
