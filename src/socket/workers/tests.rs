//! Sockets of three workers on one port of this machine, with the help of the kernel and without.

use std::{net::UdpSocket, sync::atomic::AtomicUsize};

use super::{mailbox::MAX_PARCELS, *};

/// As many as the arrays below have places.
const WORKERS: u8 = 3;
const ROUTE: usize = 5;

fn workers() -> Vec<WorkerSocket> {
    let address = "[::]:0".parse().unwrap();
    bind_unsteered(address, WORKERS.into(), ROUTE, &Config::default()).unwrap()
}

/// A datagram that names a worker, behind a route whose bytes would name others.
fn naming(worker: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![worker + 1; len];
    bytes[ROUTE] = 30 + worker;
    bytes
}

fn waiting(worker: &WorkerSocket) -> usize {
    worker.own().unwrap().lock().waiting.len()
}

/// One datagram for each worker, from 20 sources.
fn send_to_all(workers: &[WorkerSocket], len: usize) {
    let port = workers[0].local_addr().unwrap().port();
    for source in 0..20 {
        let (address, server) = [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")][source % 2];
        let source = UdpSocket::bind(address).unwrap();
        for worker in 0..WORKERS {
            source.send_to(&naming(worker, len), (server, port)).unwrap();
        }
    }
}

#[test]
fn without_the_kernel_a_datagram_reaches_its_worker_all_the_same() {
    let mut workers = workers();
    send_to_all(&workers, 100);
    let mut batch = RecvBatch::new(1_200);
    let mut handed = 0;
    let mut heard = [0; 3];
    for _ in 0..4 {
        for worker in &mut workers {
            while worker.recv_batch(&mut batch).is_ok() {
                while let Some(arrival) = batch.take_next() {
                    assert_eq!(arrival.datagram, naming(worker.index, 100), "worker {}", worker.index);
                    heard[worker.index()] += 1;
                }
            }
            handed += workers_waiting(worker);
        }
    }
    assert_eq!(heard, [20; 3]);
    assert!(handed > 0, "the hash of 20 sources alone was always right");
}

/// What waits for all workers; each can look into the boxes of the others.
fn workers_waiting(worker: &WorkerSocket) -> usize {
    worker.mail.iter().map(|mail| mail.lock().waiting.len()).sum()
}

#[test]
fn single_reads_hand_over_as_batches_do() {
    let mut workers = workers();
    send_to_all(&workers, 100);
    let mut heard = [0; 3];
    let mut buffer = [0; 1_201];
    for _ in 0..2 {
        for worker in &mut workers {
            while let Ok((len, _)) = worker.recv_from(&mut buffer) {
                assert_eq!(&buffer[..len], naming(worker.index, 100), "worker {}", worker.index);
                heard[worker.index()] += 1;
            }
        }
    }
    assert_eq!(heard, [20; 3]);
}

#[test]
fn the_kernel_finds_the_same_worker_as_we_do() {
    let mut workers = workers();
    if !kernel::steer(&workers[0]) {
        eprintln!("this kernel does not steer");
        return;
    }
    send_to_all(&workers, 100);
    for worker in &mut workers {
        let mut batch = RecvBatch::new(1_200);
        assert_eq!(worker.socket.recv_batch(&mut batch).unwrap(), 20);
        while let Some(arrival) = batch.take_next() {
            assert_eq!(arrival.datagram, naming(worker.index, 100));
        }
    }
}

#[test]
fn a_first_flight_stays_where_the_kernel_gave_it_until_it_is_known_to_be_none() {
    let mut workers = workers();
    kernel::steer(&workers[0]);
    let first_flight = ROUTE + usize::from(Config::default().handshake_bytes);
    send_to_all(&workers, first_flight);
    let mut batch = RecvBatch::new(1_452);
    let mut heard = 0;
    for worker in &mut workers {
        while worker.recv_batch(&mut batch).is_ok() {
            while let Some(arrival) = batch.take_next() {
                heard += 1;
                assert!(heard <= 120, "each is seen twice at most");
                worker.misdirected(arrival.datagram, arrival.from);
            }
        }
        // Its own it does not hand to itself, else they would go round for ever.
        assert_eq!(waiting(worker), worker_waiting_from_others(worker));
    }
    assert!(heard >= 60);
}

fn worker_waiting_from_others(worker: &WorkerSocket) -> usize {
    let own = |bytes: &[u8]| worker.steering.named(bytes) == Some(worker.index);
    worker.own().unwrap().lock().waiting.iter().filter(|(_, bytes)| own(bytes)).count()
}

#[test]
fn the_box_of_a_worker_who_sleeps_is_bounded_and_wakes_him_once() {
    let mut workers = workers();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    workers[2].set_wake(move || {
        count.fetch_add(1, Relaxed);
    });
    let (from, datagram) = ("192.0.2.1:5".parse().unwrap(), naming(2, 50));
    for _ in 0..MAX_PARCELS + 7 {
        workers[0].misdirected(&datagram, from);
        workers[2].misdirected(&datagram, from);
    }
    assert_eq!((waiting(&workers[2]), workers[2].lost(), workers[0].lost()), (MAX_PARCELS, 7, 0));
    assert_eq!(woken.load(Relaxed), 1);
    let mut batch = RecvBatch::new(1_200);
    let mut heard = 0;
    while workers[2].recv_batch(&mut batch).is_ok() {
        assert!(batch.len() <= SLOTS / 2, "the socket has its share");
        while let Some(arrival) = batch.take_next() {
            assert_eq!((&*arrival.datagram, arrival.from), (&datagram[..], from));
            heard += 1;
        }
    }
    assert_eq!(heard, MAX_PARCELS);
    workers[1].misdirected(&datagram, from);
    assert_eq!(woken.load(Relaxed), 2);
}

#[test]
fn what_is_too_short_for_an_id_names_nobody() {
    let steering = Steering { workers: 4, route_bytes: 3, handshake_bytes: 1_200 };
    assert_eq!(steering.named(&[9; 3 + CID_BYTES]), None);
    assert_eq!(steering.named(&[9; 3 + CID_BYTES + 1]), Some(1));
    assert_eq!(steering.named(&[]), None);
    assert!(!steering.may_be_first(&[9; 1_202]));
    assert!(steering.may_be_first(&[9; 1_203]));
}
