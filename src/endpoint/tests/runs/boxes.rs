//! The boxes on both sides of a socket: which datagrams make a run, and what is made of one that was read.

use super::{inbox::Inbox, outbox::Outbox, *};

fn fill(outbox: &mut Outbox, lens: &[usize]) {
    for (len, byte) in lens.iter().zip(1..) {
        assert!(!outbox.is_full());
        outbox.room().unwrap()[..*len].fill(byte);
        outbox.push(*len, None);
    }
}

/// The lengths of the runs that leave, all of them taken.
fn runs(outbox: &mut Outbox) -> Vec<Vec<usize>> {
    let mut runs = Vec::new();
    while let Some(run) = outbox.next_run() {
        runs.push(run.bytes.chunks(run.size).map(<[u8]>::len).collect());
        let (count, len) = (run.count, run.bytes.len());
        assert_eq!(outbox.take(count), len);
    }
    runs
}

#[test]
fn a_run_has_datagrams_of_one_size_and_a_shorter_one_ends_it() {
    let mut outbox = Outbox::new(1_452, 64);
    fill(&mut outbox, &[1_200, 1_200, 1_300, 1_200, 800, 1_200, 1_200, 1_200]);
    assert_eq!(
        runs(&mut outbox),
        [&[1_200, 1_200][..], &[1_300, 1_200], &[800], &[1_200, 1_200, 1_200]].map(<[usize]>::to_vec)
    );
    assert!(outbox.next_one().is_none());
}

#[test]
fn what_gathers_is_bounded_and_has_room_for_one_until_two_do() {
    let mut outbox = Outbox::new(1_452, usize::MAX);
    assert_eq!(outbox.room().map(|room| room.len()), Some(1_452));
    fill(&mut outbox, &[100; 3]);
    assert!(outbox.held_bytes() <= 2 * 1_452);
    assert_eq!(runs(&mut outbox), [vec![100; 3]]);
    fill(&mut outbox, &[900; 64]);
    assert!(outbox.is_full(), "64 datagrams");
    assert_eq!(runs(&mut outbox), [vec![900; 64]]);
    fill(&mut outbox, &[1_452; 45]);
    assert!(outbox.is_full() && outbox.room().is_none(), "65,340 bytes");
    assert_eq!(runs(&mut outbox), [vec![1_452; 45]]);
    assert!(outbox.held_bytes() <= 65_507);
    let mut outbox = Outbox::new(9_000, 1);
    fill(&mut outbox, &[9_000]);
    assert!(outbox.is_full() && outbox.run() == 1);
    assert_eq!(runs(&mut outbox), [[9_000]]);
}

#[test]
fn datagrams_to_one_address_make_a_run_and_their_order_stays() {
    let mut outbox = Outbox::new(1_200, 64);
    let [one, two] = ["192.0.2.1:1", "192.0.2.2:2"].map(|to| to.parse().unwrap());
    for to in [None, None, Some(one), Some(one), Some(two), Some(one), None] {
        outbox.push(100, to);
    }
    let mut left = Vec::new();
    while let Some(run) = outbox.next_run() {
        let (count, to) = (run.count, run.to);
        left.push((count, to));
        outbox.take(count);
    }
    assert_eq!(left, [(2, None), (2, Some(one)), (1, Some(two)), (1, Some(one)), (1, None)]);
}

/// Gives what it is told, whatever that is.
struct Teller(VecDeque<(usize, usize)>);

impl UdpLike for Teller {
    fn send(&mut self, _: &[u8]) -> io::Result<usize> {
        unreachable!()
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert_eq!(buffer.len(), 1_453, "one byte more than the longest");
        Ok(10)
    }

    fn join_reads(&mut self) -> bool {
        true
    }

    fn recv_run(&mut self, _: &mut [u8]) -> io::Result<(usize, usize)> {
        self.0.pop_front().ok_or(io::ErrorKind::WouldBlock.into())
    }
}

#[test]
fn what_a_socket_says_of_a_run_is_taken_with_care() {
    let told = [(0, 0), (5, 0), (3_000, 1_200), (usize::MAX, 60_000), (0, 7), (2_000, 1_453)];
    let mut socket = Teller(told.into());
    let mut inbox = Inbox::new(1_452);
    for _ in 0..8 {
        assert!(!inbox.should_join());
        assert_eq!(inbox.read(&mut socket).unwrap(), 10);
    }
    assert!(inbox.should_join());
    inbox.join(&mut socket);
    let mut lens = Vec::new();
    while let Ok(first) = inbox.read(&mut socket) {
        let mut len = Some(first);
        while let Some(each) = len {
            lens.push((each, inbox.datagram(each).is_some()));
            len = inbox.take_next();
        }
    }
    let good = |len| (len, true);
    let bad = |len| (len, false);
    let run = [good(1_200), good(1_200), good(600)];
    let cut = [bad(60_000), bad(5_535)];
    assert_eq!(lens, [&[bad(0), good(5)][..], &run, &cut, &[bad(0), bad(1_453), good(547)]].concat());
}
