//! W8: one packet sealed and opened, in memory, without the mask of a header.

use std::hint::black_box;

use super::{Figures, figures};
use crate::{
    cipher::{Cipher, Crate, Own, Ring, TAG},
    end::Outcome,
    machine::cpu,
    peers::Peer,
};

pub fn measure(peer: Peer, bytes: usize, quick: bool) -> Outcome<Figures> {
    let cipher: Box<dyn Cipher> = match peer {
        Peer::CipherOwn | Peer::CipherOwnRing => Box::new(Own::new()),
        Peer::CipherCrate => Box::new(Crate::new()),
        Peer::CipherRing => Box::new(Ring::chacha()?),
        Peer::CipherRingAes => Box::new(Ring::aes()?),
        other => return Err(format!("{other:?} is no cipher").into()),
    };
    let rounds = if quick { 200 } else { 40_000 };
    let mut packet = vec![7; bytes + TAG];
    let mut both = |number| {
        cipher.seal(number, black_box(&mut packet));
        cipher.open(number, black_box(&mut packet))
    };
    let warm = (0..rounds / 10).all(&mut both);
    let start = cpu();
    let opened = (0..rounds).all(&mut both);
    let spent = cpu() - start;
    if !(warm && opened) {
        return Err("a packet did not open".into());
    }
    Ok(figures([("cpu", spent / rounds as f64)]))
}
