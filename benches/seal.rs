//! What sealing and opening costs: the packets' back end beside the reference, `chacha20poly1305`, by itself, a header
//! mask, and a whole packet, header mask and replay window included.
//!
//! `cargo bench --bench seal` prints a table first: the two take turns in short bursts, so that both meet the same
//! machine, and the ratio is the median of those of the bursts. Then come the usual measurements of each by itself.
//!
//! `cargo bench --features ring --bench seal` prints a second table: the back end of that feature and the default one, beside
//! `ring` with a key that is made once.

use std::{hint::black_box, time::Instant};

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};
use sealgram::fuzzing::{PacketCipher, PacketPair};

/// Lengths of plaintexts in bytes: a small input, a full snapshot, the largest that leaves by default.
const SIZES: [usize; 3] = [64, 256, 1_200];
const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 12] = [1; 12];
/// What is authenticated beside the text: the word of a packet.
const WORD: [u8; 4] = [2; 4];

fn throughput(size: usize) -> Throughput {
    Throughput::Bytes(u64::try_from(size).expect("a length fits"))
}

/// Seals and opens in place, by one of the two.
trait Cipher {
    fn seal(&self, text: &mut [u8]) -> [u8; 16];
    fn open(&self, text: &mut [u8], tag: &[u8; 16]) -> bool;
}

struct Ours(PacketCipher);

impl Cipher for Ours {
    fn seal(&self, text: &mut [u8]) -> [u8; 16] {
        self.0.seal(&NONCE, &WORD, text).expect("a short text")
    }

    fn open(&self, text: &mut [u8], tag: &[u8; 16]) -> bool {
        self.0.open(&NONCE, &WORD, text, tag)
    }
}

struct Reference(ChaCha20Poly1305);

impl Cipher for Reference {
    fn seal(&self, text: &mut [u8]) -> [u8; 16] {
        self.0.encrypt_inout_detached((&NONCE).into(), &WORD, text.into()).expect("a short text").into()
    }

    fn open(&self, text: &mut [u8], tag: &[u8; 16]) -> bool {
        self.0.decrypt_inout_detached((&NONCE).into(), &WORD, text.into(), tag.into()).is_ok()
    }
}

#[cfg(feature = "ring")]
mod with_ring {
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
    use sealgram::fuzzing::DefaultCipher;

    use super::{Cipher, KEY, NONCE, WORD};

    /// What builds without the feature use.
    struct Default(DefaultCipher);

    impl Cipher for Default {
        fn seal(&self, text: &mut [u8]) -> [u8; 16] {
            self.0.seal(&NONCE, &WORD, text).expect("a short text")
        }

        fn open(&self, text: &mut [u8], tag: &[u8; 16]) -> bool {
            self.0.open(&NONCE, &WORD, text, tag)
        }
    }

    /// The crate as it comes, with its key made once. What does not open is lost.
    struct Bare(LessSafeKey);

    impl Cipher for Bare {
        fn seal(&self, text: &mut [u8]) -> [u8; 16] {
            let nonce = Nonce::assume_unique_for_key(NONCE);
            let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(WORD), text).expect("a short text");
            tag.as_ref().try_into().expect("a tag has 16 bytes")
        }

        fn open(&self, text: &mut [u8], tag: &[u8; 16]) -> bool {
            let nonce = Nonce::assume_unique_for_key(NONCE);
            self.0.open_in_place_separate_tag(nonce, Aad::from(WORD), (*tag).into(), text, 0..).is_ok()
        }
    }

    pub(super) fn default() -> impl Cipher {
        Default(DefaultCipher::new(KEY))
    }

    pub(super) fn bare() -> impl Cipher {
        Bare(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &KEY).expect("a key has 32 bytes")))
    }
}

/// By the names that the measurements have.
fn ciphers() -> [(&'static str, Box<dyn Cipher>); 2] {
    let ours = Ours(PacketCipher::new(KEY));
    let reference = Reference(ChaCha20Poly1305::new(&KEY.into()));
    [("packets' back end", Box::new(ours)), ("chacha20poly1305", Box::new(reference))]
}

/// One sealing of a buffer that stays sealed, over and over.
fn sealing(cipher: &dyn Cipher, size: usize) -> impl FnMut() + '_ {
    let mut text = vec![1; size];
    move || {
        black_box(cipher.seal(black_box(&mut text)));
    }
}

/// One opening of the same packet, copied anew each time.
fn opening(cipher: &dyn Cipher, size: usize) -> impl FnMut() + '_ {
    let mut sealed = vec![1; size];
    let tag = cipher.seal(&mut sealed);
    let mut text = sealed.clone();
    move || {
        text.copy_from_slice(&sealed);
        assert!(cipher.open(black_box(&mut text), &tag));
    }
}

/// One sealing and one opening, which gives the text back.
#[cfg(feature = "ring")]
fn passing(cipher: &dyn Cipher, size: usize) -> impl FnMut() + '_ {
    let mut text = vec![1; size];
    move || {
        let tag = cipher.seal(black_box(&mut text));
        assert!(cipher.open(black_box(&mut text), &tag));
    }
}

fn masking(cipher: &PacketCipher) -> impl FnMut() + '_ {
    || {
        black_box(cipher.mask(black_box(&[3; 16])));
    }
}

fn cipher(c: &mut Criterion) {
    let ciphers = ciphers();
    let mut group = c.benchmark_group("cipher");
    for size in SIZES {
        group.throughput(throughput(size));
        for (name, cipher) in &ciphers {
            let id = |operation| BenchmarkId::new(format!("{operation}, {name}"), size);
            group.bench_function(id("seal"), |b| b.iter(sealing(cipher.as_ref(), size)));
            group.bench_function(id("open"), |b| b.iter(opening(cipher.as_ref(), size)));
        }
    }
    group.finish();
    let masks = PacketCipher::new(KEY);
    c.bench_function("mask", |b| b.iter(masking(&masks)));
}

#[expect(clippy::disallowed_methods, reason = "a benchmark needs a time to hand in")]
fn ends() -> (PacketPair, PacketPair) {
    PacketPair::two(Instant::now())
}

fn packet(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet");
    for size in SIZES {
        group.throughput(throughput(size));
        let (mut sender, mut receiver) = ends();
        let plain = vec![1; size + 20];
        let mut packet = plain.clone();
        group.bench_function(BenchmarkId::new("seal", size), |b| {
            b.iter(|| assert!(sender.seal(black_box(&mut packet))));
        });
        let mut sealed = || {
            let mut packet = plain.clone();
            assert!(sender.seal(&mut packet));
            packet
        };
        group.bench_function(BenchmarkId::new("open", size), |b| {
            b.iter_batched_ref(
                &mut sealed,
                |packet| assert!(receiver.open(black_box(packet))),
                BatchSize::SmallInput,
            );
        });
        let mut forged = plain.clone();
        group.bench_function(BenchmarkId::new("open forged", size), |b| {
            b.iter(|| assert!(!receiver.open(black_box(&mut forged))));
        });
    }
    group.finish();
}

/// How long one call takes, in ns. A burst is short, so that few of them meet somebody else's turn.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn burst(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 100;
    let start = Instant::now();
    (0..CALLS).for_each(|_| call());
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Both by turns, and how many times as long the second takes.
fn pair(rounds: usize, mut ours: impl FnMut(), mut theirs: impl FnMut()) -> [f64; 3] {
    let rounds: Vec<[f64; 2]> = (0..rounds).map(|_| [burst(&mut ours), burst(&mut theirs)]).collect();
    let median = |of: fn(&[f64; 2]) -> f64| median(rounds.iter().map(of).collect());
    [median(|[ours, _]| *ours), median(|[_, theirs]| *theirs), median(|[ours, theirs]| theirs / ours)]
}

fn table(rounds: usize) {
    let [(_, ours), (_, theirs)] = ciphers();
    println!("| | bytes | packets' back end, ns | `chacha20poly1305`, ns | times |\n|---|---|---|---|---|");
    let row = |operation: &str, size: usize, [ours, theirs, times]: [f64; 3]| {
        println!("| {operation} | {size} | {ours:.0} | {theirs:.0} | {times:.1} |");
    };
    for size in SIZES {
        row("seal", size, pair(rounds, sealing(ours.as_ref(), size), sealing(theirs.as_ref(), size)));
        row("open", size, pair(rounds, opening(ours.as_ref(), size), opening(theirs.as_ref(), size)));
    }
    let masks = PacketCipher::new(KEY);
    let [mask, ..] = pair(rounds, masking(&masks), masking(&masks));
    println!("| mask | | {mask:.0} | | |\n");
}

/// Both back ends of packets beside `ring`: sealed, opened, and one after the other.
#[cfg(feature = "ring")]
fn table_beside_ring(rounds: usize) {
    let [(_, feature), _] = ciphers();
    let (default, bare) = (with_ring::default(), with_ring::bare());
    let back_ends: [(&str, &dyn Cipher); 2] = [("feature `ring`", feature.as_ref()), ("default", &default)];
    println!("| | bytes | back end | ns | `ring`, ns | times |\n|---|---|---|---|---|---|");
    for size in [64, 128, 192, 256, 1_200] {
        for (name, cipher) in back_ends {
            let row = |operation: &str, [bare, ours, times]: [f64; 3]| {
                println!("| {operation} | {size} | {name} | {ours:.0} | {bare:.0} | {times:.2} |");
            };
            row("seal", pair(rounds, sealing(&bare, size), sealing(cipher, size)));
            row("open", pair(rounds, opening(&bare, size), opening(cipher, size)));
            row("both", pair(rounds, passing(&bare, size), passing(cipher, size)));
        }
    }
    println!();
}

criterion_group!(benches, cipher, packet);

fn main() {
    // `cargo test` runs everything once, to see that it runs.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let rounds = if measured { 2_000 } else { 1 };
    table(rounds);
    #[cfg(feature = "ring")]
    table_beside_ring(rounds);
    benches();
    Criterion::default().configure_from_args().final_summary();
}
