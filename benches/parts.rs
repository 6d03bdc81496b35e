//! What the parts of a packet's way cost by themselves: reading and writing its frames, and the replay window.
//!
//! `cargo bench --bench parts` runs it. Sealing and opening are in `benches/seal.rs`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sealgram::fuzzing::{ReplayWindow, UsualPayload};

/// Bytes of each of the three messages in the packet.
const SIZES: [usize; 2] = [20, 300];

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("an acknowledgement and three messages");
    for size in SIZES {
        let (payload, mut into) = (UsualPayload::new(size), [0; 1_200]);
        group.bench_function(BenchmarkId::new("check and read", size), |b| {
            b.iter(|| assert_eq!(black_box(&payload).read(), 3 * size));
        });
        let frames = payload.frames();
        group.bench_function(BenchmarkId::new("write", size), |b| {
            b.iter(|| assert!(black_box(&frames).write(black_box(&mut into)) > 3 * size));
        });
    }
    group.finish();
}

/// What packet number comes at which place.
type Order = fn(u64) -> u64;

const ORDERS: [(&str, Order); 3] =
    [("in order", |at| at), ("reordered within 8", |at| at ^ 7), ("each twice", |at| at / 2)];

fn window(c: &mut Criterion) {
    let mut group = c.benchmark_group("replay window");
    for (name, number) in ORDERS {
        let (mut window, mut at) = (ReplayWindow::default(), 0);
        group.bench_function(name, |b| {
            b.iter(|| {
                at += 1;
                window.take(black_box(number(at)))
            });
        });
    }
    let mut window = ReplayWindow::default();
    assert!(window.take(1_000));
    group.bench_function("a duplicate", |b| b.iter(|| assert!(!window.take(black_box(1_000)))));
    group.finish();
}

criterion_group!(benches, frames, window);
criterion_main!(benches);
