//! What sealing and opening one packet costs, header mask and replay window included, beside the bare cipher.
//!
//! `cargo bench --bench seal` runs it. The cipher's own back end weighs most, and a library cannot choose it for its
//! users: run it once more with `RUSTFLAGS='--cfg poly1305_backend="soft"'` and compare.

use std::{hint::black_box, time::Instant};

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{AeadInOut, Nonce},
};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sealgram::fuzzing::PacketPair;

/// Lengths of datagrams in bytes: a small input, a full snapshot, the largest that leaves by default.
const SIZES: [u32; 3] = [64, 256, 1_200];

fn datagram(size: u32) -> Vec<u8> {
    vec![1; usize::try_from(size).expect("a datagram fits into memory")]
}

#[expect(clippy::disallowed_methods, reason = "a benchmark needs a time to hand in")]
fn ends() -> (PacketPair, PacketPair) {
    PacketPair::two(Instant::now())
}

fn seal(c: &mut Criterion) {
    let mut group = c.benchmark_group("seal");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size.into()));
        let (mut sender, _) = ends();
        let mut packet = datagram(size);
        group.bench_function(BenchmarkId::new("packet", size), |b| {
            b.iter(|| assert!(sender.seal(black_box(&mut packet))));
        });
        group.bench_function(BenchmarkId::new("bare cipher", size), |b| {
            let cipher = ChaCha20Poly1305::new(&[7; 32].into());
            let nonce = Nonce::<ChaCha20Poly1305>::default();
            let body = packet.len() - 20;
            b.iter(|| cipher.encrypt_inout_detached(&nonce, &[0; 4], black_box(&mut packet[..body]).into()));
        });
    }
    group.finish();
}

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size.into()));
        let (mut sender, mut receiver) = ends();
        let plain = datagram(size);
        let mut sealed = || {
            let mut packet = plain.clone();
            assert!(sender.seal(&mut packet));
            packet
        };
        group.bench_function(BenchmarkId::new("packet", size), |b| {
            b.iter_batched_ref(
                &mut sealed,
                |packet| assert!(receiver.open(black_box(packet))),
                BatchSize::SmallInput,
            );
        });
        let mut forged = plain.clone();
        group.bench_function(BenchmarkId::new("forged packet", size), |b| {
            b.iter(|| assert!(!receiver.open(black_box(&mut forged))));
        });
    }
    group.finish();
}

criterion_group!(benches, seal, open);
criterion_main!(benches);
