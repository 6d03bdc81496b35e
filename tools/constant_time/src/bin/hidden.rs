//! Under valgrind: secrets are marked as undefined, and every branch or address that depends on one is counted. What is
//! public by its nature, whether a tag fits, is one branch for each decision and no more. Ends with 1 if any count is
//! another, or if the leaky control was not caught.

use std::{hint::black_box, net::SocketAddr, process::ExitCode};

use constant_time::{errors, hide, is_watched, leaky_equal, show};
use sealgram::fuzzing::{PacketCipher, decisions};

struct Table {
    failed: bool,
}

impl Table {
    /// `expected`: how many branches depend on what is hidden.
    fn row(&mut self, what: &str, expected: std::ops::RangeInclusive<u64>, work: impl FnOnce()) {
        let before = errors();
        work();
        let found = errors() - before;
        let good = expected.contains(&found);
        self.failed |= !good;
        let verdict = if good { "ok" } else { "NOT AS EXPECTED" };
        println!("{what:<58} {found:>3} of {expected:?} {verdict}");
    }
}

fn hidden<const N: usize>(byte: u8) -> [u8; N] {
    let bytes = black_box([byte; N]);
    hide(&bytes);
    bytes
}

fn cipher() -> PacketCipher {
    PacketCipher::new(hidden(7))
}

fn packets(table: &mut Table) {
    let nonce = [1; 12];
    for len in [0, 1, 15, 16, 17, 64, 128, 192, 193, 256, 1_200] {
        let (cipher, mut text) = (cipher(), vec![0; len]);
        hide(&text);
        let mut tag = [0; 16];
        table.row(&format!("seal {len} bytes"), 0..=0, || {
            tag = cipher.seal(&nonce, b"header", &mut text).unwrap_or_default();
        });
        show(&text);
        show(&tag);
        // Wrong in its first byte, in its last, in none: the same one decision.
        for (what, at) in [("first", Some(0)), ("last", Some(15)), ("no", None)] {
            let (mut text, mut tag) = (text.clone(), tag);
            if let Some(at) = at {
                tag[at] ^= 1;
            }
            table.row(&format!("open {len} bytes, {what} byte of the tag wrong"), 1..=1, || {
                black_box(cipher.open(&nonce, b"header", &mut text, &tag));
            });
        }
        table.row("mask of a header", 0..=0, || {
            black_box(cipher.mask(&tag));
        });
    }
}

/// These tell their caller, and it is he who branches: one decision each.
fn comparisons(table: &mut Table) {
    let from = SocketAddr::from(([192, 0, 2, 1], 7_777));
    for given in [[0; 16], [9; 16]] {
        table.row("cookie", 1..=1, || decide(decisions::cookie(hidden(5), from, &[3; 32], &given)));
    }
    for data in [[4; 8], [5; 8], [4, 4, 4, 4, 4, 4, 4, 5]] {
        table.row("answer to a path challenge", 1..=1, || decide(decisions::path_answer(hidden(4), data)));
    }
}

#[inline(never)]
fn decide(said: bool) {
    if black_box(said) {
        black_box(());
    }
}

fn main() -> ExitCode {
    if !is_watched() {
        eprintln!("run this under valgrind: bash tools/constant_time/run");
        return ExitCode::FAILURE;
    }
    let mut table = Table { failed: false };
    table.row("control: a comparison that stops at the first difference", 2..=16, || {
        black_box(leaky_equal(&hidden::<16>(1), &[1; 16]));
    });
    packets(&mut table);
    comparisons(&mut table);
    if table.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
