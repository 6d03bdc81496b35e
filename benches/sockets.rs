//! What 64 datagrams cost over loopback, sent and received one by one and in batches.
//!
//! `cargo bench --bench sockets` runs it. A datagram's way through the kernel costs the most. A batch saves the entries into
//! the kernel; and on Linux those to one address, as all are here, go half of the way together.

use std::{hint::black_box, net::SocketAddr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sealgram::{AddressedUdp, RecvBatch, SendBatch, ServerSocket};

const COUNT: usize = 64;
const MAX_DATAGRAM: usize = 1_452;
/// Lengths of datagrams in bytes: an input and a large snapshot.
const SIZES: [usize; 2] = [100, 1_200];

/// A client of one family and a server of both.
fn ends(host: &str) -> (ServerSocket, ServerSocket, SocketAddr) {
    let bind = |address: &str| {
        let address = address.parse().expect("an address");
        let mut socket = ServerSocket::bind(address).expect("a free port");
        socket.prepare().expect("a usable socket");
        socket
    };
    let (client, server) = (bind(&format!("{host}:0")), bind("[::]:0"));
    let port = server.local_addr().expect("a bound socket").port();
    (client, server, format!("{host}:{port}").parse().expect("an address"))
}

fn sockets(c: &mut Criterion) {
    let mut group = c.benchmark_group("sockets");
    group.throughput(Throughput::Elements(COUNT.try_into().expect("a small number")));
    for (size, host) in SIZES.into_iter().flat_map(|size| ["127.0.0.1", "[::1]"].map(|host| (size, host))) {
        let name = format!("{size} B to {host}");
        let (mut client, mut server, to) = ends(host);
        let bytes = vec![7; size];
        let mut buffer = vec![0; MAX_DATAGRAM + 1];
        group.bench_function(BenchmarkId::new("one by one", &name), |b| {
            b.iter(|| {
                for _ in 0..COUNT {
                    client.send_to(black_box(&bytes), to).expect("room");
                }
                for _ in 0..COUNT {
                    black_box(server.recv_from(&mut buffer).expect("a datagram"));
                }
            });
        });
        let (mut out, mut back) = (SendBatch::new(MAX_DATAGRAM), RecvBatch::new(MAX_DATAGRAM));
        group.bench_function(BenchmarkId::new("batch", &name), |b| {
            b.iter(|| {
                while let Some(place) = out.room().and_then(|room| room.get_mut(..size)) {
                    place.copy_from_slice(black_box(&bytes));
                    out.push(size, to);
                }
                assert!(out.flush(&mut client, |error| panic!("{error}")));
                assert_eq!(server.recv_batch(&mut back).expect("datagrams"), COUNT);
                while let Some(arrival) = back.take_next() {
                    black_box(arrival.datagram);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, sockets);
criterion_main!(benches);
