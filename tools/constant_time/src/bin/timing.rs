//! Times, by dudect's method: two classes of inputs by turns, and Welch's t of their times. |t| below 5 says that no
//! difference was found in so many measurements, not that there is none. The control must be far above.

use std::{cell::RefCell, hint::black_box, net::SocketAddr, time::Instant};

use constant_time::leaky_equal;
use dudect_bencher::{BenchRng, Class, CtRunner, ctbench_main, rand::RngExt};
use sealgram::fuzzing::{PacketCipher, PacketPair, decisions};

/// A measurement is of so many calls: one is too short for the clock.
const CALLS: usize = 16;
const MEASUREMENTS: usize = 1_000_000;

/// Runs `work` with what `left` or `right` make, in random order.
fn two<T>(
    runner: &mut CtRunner,
    rng: &mut BenchRng,
    mut make: impl FnMut(Class, &mut BenchRng) -> T,
    work: impl FnMut(&mut T),
) {
    let work = RefCell::new(work);
    let inputs: Vec<_> = (0..MEASUREMENTS)
        .map(|_| {
            let class = if rng.random::<bool>() { Class::Left } else { Class::Right };
            (class, RefCell::new(make(class, rng)))
        })
        .collect();
    for (class, input) in inputs {
        runner.run_one(class, || {
            let (mut work, mut input) = (work.borrow_mut(), input.borrow_mut());
            for _ in 0..CALLS {
                work(black_box(&mut input));
            }
        });
    }
}

/// A packet of 64 bytes whose tag is wrong in its first byte, or in its last.
fn tag_of_a_packet(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (cipher, nonce) = (PacketCipher::new([7; 32]), [1; 12]);
    let mut text = [3; 64];
    let tag = cipher.seal(&nonce, b"header", &mut text).unwrap_or_default();
    let make = |class, _: &mut BenchRng| {
        let mut wrong = tag;
        wrong[if matches!(class, Class::Left) { 0 } else { 15 }] ^= 0x55;
        (text, wrong)
    };
    two(runner, rng, make, |(text, tag)| {
        black_box(cipher.open(&nonce, b"header", text, tag));
    });
}

/// Poly1305 and the key stream over a text of zeros, or of random bytes, under random keys: the tag never fits.
fn text_of_a_packet(runner: &mut CtRunner, rng: &mut BenchRng) {
    let cipher = PacketCipher::new(rng.random());
    let make = |class, rng: &mut BenchRng| {
        let text: [u8; 64] = if matches!(class, Class::Left) { [0; 64] } else { rng.random() };
        text
    };
    two(runner, rng, make, |text| {
        black_box(cipher.open(&[2; 12], b"header", text, &[1; 16]));
    });
}

/// A cookie that differs in its first byte, or in its last.
fn cookie(runner: &mut CtRunner, rng: &mut BenchRng) {
    let from = SocketAddr::from(([192, 0, 2, 1], 7_777));
    let make = |class, _: &mut BenchRng| {
        let mut given = [9; 16];
        given[if matches!(class, Class::Left) { 0 } else { 15 }] ^= 0x55;
        given
    };
    two(runner, rng, make, |given| {
        black_box(decisions::cookie([5; 32], from, &[3; 32], given));
    });
}

/// An answer to a path challenge that differs in its first byte, or in its last.
fn path_answer(runner: &mut CtRunner, rng: &mut BenchRng) {
    let make = |class, _: &mut BenchRng| {
        let mut data = [4; 8];
        data[if matches!(class, Class::Left) { 0 } else { 7 }] ^= 0x55;
        data
    };
    two(runner, rng, make, |data| {
        black_box(decisions::path_answer([4; 8], *data));
    });
}

/// A packet with a bad tag whose number was seen before, or is new: a forger must not learn which.
fn number_in_the_window(runner: &mut CtRunner, rng: &mut BenchRng) {
    let (mut peer, mut own) = PacketPair::two(Instant::now());
    let mut packets: Vec<[u8; 84]> = Vec::new();
    for number in 0..64 {
        let mut packet = [0; 84];
        assert!(peer.seal(&mut packet));
        packets.push(packet);
        // Half of them were seen.
        let mut copy = packet;
        assert!(number >= 32 || own.open(&mut copy));
    }
    let make = |class, rng: &mut BenchRng| {
        let among = if matches!(class, Class::Left) { 0..32 } else { 32..64 };
        // The text is changed: the tag, and with it the mask of the number, stays.
        let mut packet = packets[rng.random_range::<usize, _>(among)];
        packet[40] ^= 0x55;
        packet
    };
    two(runner, rng, make, |packet| {
        black_box(own.open(packet));
    });
}

/// The control.
fn control_leaks(runner: &mut CtRunner, rng: &mut BenchRng) {
    let make = |class, _: &mut BenchRng| {
        let mut given = [9; 64];
        given[if matches!(class, Class::Left) { 0 } else { 63 }] ^= 0x55;
        given
    };
    two(runner, rng, make, |given| {
        black_box(leaky_equal(given, black_box(&[9; 64])));
    });
}

ctbench_main!(tag_of_a_packet, text_of_a_packet, cookie, path_answer, number_in_the_window, control_leaks);
