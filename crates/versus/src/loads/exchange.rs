//! The ruler of W7: what the key exchanges of a handshake cost by themselves, with the crate that the library uses.

use std::hint::black_box;

use x25519_dalek::{PublicKey, StaticSecret};

use super::{Figures, figures};
use crate::machine::cpu;

/// A fresh key pair and so many agreements, in µs.
pub fn measure(agreements: u32, quick: bool) -> Figures {
    let rounds = if quick { 20 } else { 400 };
    let other = PublicKey::from(&StaticSecret::from([9; 32]));
    let start = cpu();
    for _ in 0..rounds {
        let own = StaticSecret::from(black_box([3; 32]));
        black_box(PublicKey::from(&own));
        for _ in 0..agreements {
            black_box(own.diffie_hellman(black_box(&other)));
        }
    }
    figures([("cpu", (cpu() - start) / f64::from(rounds) / 1e3)])
}
