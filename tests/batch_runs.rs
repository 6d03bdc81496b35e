//! Several datagrams of a batch to one address leave together: which do, what a socket that refuses costs, and what the
//! system makes of it.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::SocketAddr,
};

use sealgram::{AddressedUdp, SendBatch};

const MAX: usize = 1_452;

fn at(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

/// A datagram that no other resembles.
fn datagram(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|place| (number * 31 + place * 7).to_le_bytes()[0]).collect()
}

fn put(batch: &mut SendBatch, bytes: &[u8], to: SocketAddr) {
    batch.room().unwrap()[..bytes.len()].copy_from_slice(bytes);
    assert!(batch.push(bytes.len(), to));
}

/// A socket that carries runs, and does what it is told with them.
#[derive(Default)]
struct Carrier {
    /// What comes of the calls in which there are runs; when no more is said, all are taken.
    with_runs: VecDeque<io::Result<usize>>,
    /// What comes of the calls in which there are none.
    without: VecDeque<io::Result<usize>>,
    refuses: bool,
    /// How many datagrams each message had that was offered, call by call.
    offered: Vec<Vec<usize>>,
    sent: Vec<(Vec<u8>, SocketAddr)>,
}

impl AddressedUdp for Carrier {
    fn send_to(&mut self, _: &[u8], _: SocketAddr) -> io::Result<usize> {
        unreachable!("a batch is sent as one")
    }

    fn recv_from(&mut self, _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn largest_run(&self) -> usize {
        usize::MAX
    }

    fn send_batch(&mut self, batch: &SendBatch) -> io::Result<usize> {
        let counts: Vec<_> = batch.runs().map(|run| run.count).collect();
        let any = counts.iter().any(|count| *count > 1);
        self.offered.push(counts);
        if any && self.refuses {
            return Err(ErrorKind::Unsupported.into());
        }
        let told = if any { &mut self.with_runs } else { &mut self.without };
        let most = told.pop_front().unwrap_or(Ok(64))?;
        let mut taken = 0;
        for run in batch.runs().take(most) {
            let mut count = 0;
            for datagram in run.datagrams.chunks(run.size.max(1)) {
                self.sent.push((datagram.to_vec(), run.to));
                count += 1;
            }
            assert_eq!(count.max(1), run.count);
            taken += run.count;
        }
        Ok(taken)
    }
}

/// A batch of datagrams with these lengths and ports.
fn batch_of(datagrams: &[(usize, u16)]) -> (SendBatch, Vec<(Vec<u8>, SocketAddr)>) {
    let mut batch = SendBatch::new(65_535);
    let all: Vec<_> = datagrams
        .iter()
        .enumerate()
        .map(|(number, (len, port))| (datagram(number, *len), at(*port)))
        .collect();
    for (bytes, to) in &all {
        put(&mut batch, bytes, *to);
    }
    (batch, all)
}

/// Eight datagrams: a run of three, one alone, a run of four.
const EIGHT: [(usize, u16); 8] =
    [(900, 1), (900, 1), (900, 1), (900, 2), (1_200, 3), (1_200, 3), (1_200, 3), (50, 3)];

#[test]
fn a_run_is_of_one_size_and_address_a_shorter_one_ends_it_and_nothing_moves() {
    let mixed =
        [(900, 1), (900, 1), (300, 1), (300, 1), (301, 1), (301, 2), (0, 2), (0, 2), (7, 2), (7, 3), (7, 2)];
    let (mut batch, all) = batch_of(&mixed);
    let mut socket = Carrier::default();
    assert!(batch.runs().all(|run| run.count == 1), "nobody has said yet that it can");
    assert!(batch.flush(&mut socket, |error| panic!("{error}")));
    assert_eq!(socket.offered, [[3, 1, 1, 1, 1, 1, 1, 1, 1]]);
    assert_eq!(socket.sent, all[..6].iter().chain(&all[8..]).cloned().collect::<Vec<_>>());
}

#[test]
fn a_run_has_64_datagrams_and_65507_bytes_at_most() {
    for (len, count, expected) in [
        (100, 64, vec![64]),
        (1_023, 64, vec![64]),
        (1_024, 64, vec![63, 1]),
        (1_452, 64, vec![45, 19]),
        (32_753, 4, vec![2, 2]),
        (32_754, 4, vec![1, 1, 1, 1]),
        (65_507, 2, vec![1, 1]),
        (65_535, 2, vec![1, 1]),
    ] {
        let (mut batch, all) = batch_of(&vec![(len, 1); count]);
        let mut socket = Carrier::default();
        assert!(batch.flush(&mut socket, |error| panic!("{error}")));
        assert_eq!(socket.offered, [expected], "{count} of {len} bytes");
        assert!(socket.sent == all);
    }
}

#[test]
fn many_players_with_one_datagram_each_leave_as_they_did() {
    let each: Vec<_> = (1..=64).map(|port| (900, port)).collect();
    let (mut batch, all) = batch_of(&each);
    let mut socket = Carrier::default();
    assert!(batch.flush(&mut socket, |error| panic!("{error}")));
    assert_eq!(socket.offered, [[1; 64]]);
    assert!(socket.sent == all);
}

#[test]
fn a_system_that_refuses_runs_is_asked_once_and_nothing_is_lost() {
    let mut socket = Carrier { refuses: true, ..Carrier::default() };
    let (mut batch, mut all) = batch_of(&EIGHT);
    for _ in 0..3 {
        assert!(batch.flush(&mut socket, |error| panic!("{error}")));
        assert_eq!(socket.sent, all);
        for (number, (len, port)) in EIGHT.into_iter().enumerate() {
            put(&mut batch, &datagram(number, len), at(port));
        }
        all.extend_from_within(..8);
    }
    let asked = socket.offered.iter().filter(|counts| counts.iter().any(|count| *count > 1)).count();
    assert_eq!((asked, socket.offered.len()), (1, 4));
}

#[test]
fn runs_are_refused_for_good_only_if_one_by_one_goes() {
    let refused = || io::Error::from(ErrorKind::Unsupported);
    for error in [ErrorKind::Other, ErrorKind::PermissionDenied, ErrorKind::Unsupported] {
        let mut socket = Carrier {
            with_runs: [Err(refused()), Ok(64)].into(),
            without: [Err(error.into())].into(),
            ..Carrier::default()
        };
        let (mut batch, all) = batch_of(&EIGHT);
        let mut failures = Vec::new();
        assert!(batch.flush(&mut socket, |error| failures.push(error.kind())));
        assert_eq!(failures, [error], "one datagram");
        assert_eq!(socket.sent, all[1..]);
        assert_eq!(socket.offered, [&[3, 1, 4][..], &[1; 8], &[2, 1, 4]].map(<[usize]>::to_vec));
    }
    // A socket that is full in between has said nothing about runs.
    let mut socket = Carrier {
        with_runs: [Err(refused())].into(),
        without: [Err(ErrorKind::WouldBlock.into())].into(),
        ..Carrier::default()
    };
    let (mut batch, all) = batch_of(&EIGHT);
    assert!(!batch.flush(&mut socket, |error| panic!("{error}")));
    assert!(batch.flush(&mut socket, |error| panic!("{error}")));
    assert_eq!(socket.sent, all);
    assert_eq!(socket.offered, [&[3, 1, 4][..], &[1; 8], &[3, 1, 4]].map(<[usize]>::to_vec));
}

#[test]
fn a_socket_that_blocks_between_runs_keeps_the_rest_and_a_failure_costs_one_datagram() {
    let mut socket = Carrier {
        with_runs: [Ok(1), Err(ErrorKind::WouldBlock.into()), Ok(0), Ok(1), Err(ErrorKind::Other.into())]
            .into(),
        ..Carrier::default()
    };
    let (mut batch, all) = batch_of(&EIGHT);
    for left in [5, 5] {
        assert!(!batch.flush(&mut socket, |error| panic!("{error}")));
        assert_eq!(batch.len(), left);
    }
    let mut failures = 0;
    assert!(batch.flush(&mut socket, |_| failures += 1));
    assert_eq!(failures, 1);
    let expected: Vec<_> = all[..4].iter().chain(&all[5..]).cloned().collect();
    assert_eq!(socket.sent, expected);
    assert_eq!(
        socket.offered,
        [&[3, 1, 4][..], &[1, 4], &[1, 4], &[1, 4], &[4], &[3]].map(<[usize]>::to_vec)
    );
}

/// What the system itself does. Who listens has asked for runs, so it shows what left together.
#[cfg(target_os = "linux")]
mod system {
    use std::net::UdpSocket;

    use sealgram::{ServerSocket, UdpLike, bind_workers};

    use super::*;

    const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    /// Somebody who gets datagrams, and can tell how they left.
    fn listener(address: &str) -> Option<(UdpSocket, SocketAddr)> {
        // A machine may be without one of the families.
        let mut socket = UdpSocket::bind(address).ok()?;
        UdpLike::prepare(&mut socket).unwrap();
        assert!(UdpLike::join_reads(&mut socket));
        let at = socket.local_addr().unwrap();
        Some((socket, at))
    }

    /// What arrived: the datagrams, and how many each message had.
    fn heard(socket: &mut UdpSocket) -> (Vec<Vec<u8>>, Vec<usize>) {
        let (mut buffer, mut datagrams, mut counts) = (vec![0; 65_535], Vec::new(), Vec::new());
        while let Ok((len, size)) = UdpLike::recv_run(socket, &mut buffer) {
            let before = datagrams.len();
            datagrams.extend(buffer[..len].chunks(size.max(1)).map(<[u8]>::to_vec));
            counts.push(datagrams.len() - before);
        }
        (datagrams, counts)
    }

    /// Two listeners get, through one batch, runs of several sizes and single ones, all whole and in order.
    fn exchange(sender: &mut impl AddressedUdp, address: &str) {
        let Some(mut ends) = listener(address).zip(listener(address)).map(|(one, two)| [one, two]) else {
            return;
        };
        sender.prepare().unwrap();
        let mut batch = SendBatch::new(MAX);
        // Who, how long, how many: what one call cannot carry together, too.
        let plan = [
            (0, 1_400, 1),
            (1, 600, 2),
            (0, 1_000, 4),
            (0, 300, 1),
            (1, 1_000, 3),
            (1, 1_200, 5),
            (0, 70, 1),
            (1, 20, 2),
            (0, 900, 1),
            (1, 5, 1),
            (0, 1_452, 20),
        ];
        let (mut sent, mut number) = ([Vec::new(), Vec::new()], 0);
        for (end, len, count) in plan {
            for _ in 0..count {
                let bytes = datagram(number, len);
                put(&mut batch, &bytes, ends[end].1);
                sent[end].push(bytes);
                number += 1;
            }
        }
        assert!(batch.flush(sender, |error| panic!("{error}")));
        let [first, second] = ends.each_mut().map(|(socket, _)| heard(socket));
        assert!(first.0 == sent[0] && second.0 == sent[1], "{address}");
        assert_eq!(
            (first.1, second.1),
            (vec![1, 5, 1, 1, 20], vec![2, 3, 5, 2, 1]),
            "{address}: how they left"
        );
    }

    #[test]
    fn datagrams_to_one_address_leave_together_on_every_kind_of_socket() {
        for address in LOOPBACKS {
            let parsed = address.parse().unwrap();
            exchange(&mut UdpSocket::bind(address).unwrap(), address);
            exchange(&mut mio::net::UdpSocket::bind(parsed).unwrap(), address);
            exchange(&mut Box::new(ServerSocket::bind(parsed).unwrap()), address);
            let both = "[::]:0".parse().unwrap();
            exchange(&mut ServerSocket::bind(both).unwrap(), address);
            for mut worker in bind_workers(both, 2, 0, &sealgram::Config::default()).unwrap() {
                exchange(&mut worker, address);
            }
        }
    }

    #[test]
    fn single_runs_leave_and_arrive_with_their_addresses() {
        for address in LOOPBACKS {
            let Some((mut reader, to)) = listener(address) else { continue };
            let mut senders = [(); 2].map(|()| ServerSocket::bind(address.parse().unwrap()).unwrap());
            let own = [0, 1].map(|index: usize| senders[index].local_addr().unwrap());
            let datagrams = datagram(5, 10 * 1_000 + 1);
            for sender in &mut senders {
                assert_eq!(sender.send_run_to(&datagrams, 1_000, to).unwrap(), 11);
                sender.send_to(b"alone", to).unwrap();
            }
            let mut buffer = vec![0; 65_535];
            for from in own {
                let run = AddressedUdp::recv_run_from(&mut reader, &mut buffer).unwrap();
                assert_eq!(run, (10_001, 1_000, from));
                assert_eq!(buffer[..10_001], datagrams);
                assert_eq!(AddressedUdp::recv_run_from(&mut reader, &mut buffer).unwrap(), (5, 5, from));
            }
            let blocked = AddressedUdp::recv_run_from(&mut reader, &mut buffer).unwrap_err();
            assert_eq!(blocked.kind(), ErrorKind::WouldBlock);
            // More than leave together.
            for (len, size) in [(65, 1), (65_508, 9_000), (10, 0)] {
                assert!(senders[0].send_run_to(&vec![0; len], size, to).is_err());
            }
        }
    }

    mod options {
        use nix::{libc, setsockopt_impl, sockopt_impl, sys::socket::setsockopt};

        sockopt_impl!(
            /// Sends without checksums.
            NoCheck, SetOnly, libc::SOL_SOCKET, libc::SO_NO_CHECK, bool
        );

        /// The kernel refuses runs of a socket whose datagrams have no checksums, as it does with a device that computes
        /// none.
        pub(super) fn refuse_runs(socket: &impl std::os::fd::AsFd) {
            setsockopt(socket, NoCheck, &true).unwrap();
        }
    }

    #[test]
    fn where_the_kernel_refuses_runs_the_datagrams_leave_one_by_one() {
        let mut sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        options::refuse_runs(&sender);
        let (mut reader, to) = listener("127.0.0.1:0").unwrap();
        let mut batch = SendBatch::new(MAX);
        for round in 0..3 {
            for number in 0..10 {
                put(&mut batch, &datagram(number, 1_000), to);
            }
            if round > 0 {
                assert!(batch.runs().all(|run| run.count == 1), "who is refused is not asked again");
            }
            assert!(batch.flush(&mut sender, |error| panic!("{error}")));
            let (datagrams, counts) = heard(&mut reader);
            assert_eq!(counts, [1; 10]);
            assert!(datagrams.into_iter().eq((0..10).map(|number| datagram(number, 1_000))));
        }
        let refused = AddressedUdp::send_run_to(&mut sender, &[0; 3_000], 1_000, to).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn what_the_system_refuses_of_a_run_costs_only_itself_and_runs_go_on() {
        let mut sender = ServerSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (mut reader, to) = listener("127.0.0.1:0").unwrap();
        let mut batch = SendBatch::new(65_535);
        // Of port 0 there is nobody, and no datagram of UDP is so long.
        let nobody = SocketAddr::new(to.ip(), 0);
        for (len, to) in [(500, to), (500, to), (65_535, to), (500, to), (500, to)] {
            put(&mut batch, &datagram(len, len), to);
        }
        for _ in 0..3 {
            put(&mut batch, &datagram(500, 500), nobody);
        }
        for _ in 0..4 {
            put(&mut batch, &datagram(500, 500), to);
        }
        let mut failures = 0;
        assert!(batch.flush(&mut sender, |_| failures += 1));
        assert_eq!(failures, 1 + 3);
        let (datagrams, counts) = heard(&mut reader);
        assert!(datagrams.into_iter().eq(vec![datagram(500, 500); 8]));
        assert_eq!(counts, [2, 2, 4]);
    }

    #[test]
    fn runs_in_a_batch_allocate_nothing() {
        let mut sender = ServerSocket::bind("[::]:0".parse().unwrap()).unwrap();
        let (mut reader, to) = listener("127.0.0.1:0").unwrap();
        let (mut batch, mut buffer) = (SendBatch::new(MAX), vec![0; 65_535]);
        let mut round = || {
            for _ in 0..40 {
                batch.room().unwrap().fill(7);
                batch.push(1_000, to);
            }
            assert!(batch.flush(&mut sender, |error| panic!("{error}")));
            assert_eq!(AddressedUdp::recv_run_from(&mut reader, &mut buffer).unwrap().0, 40_000);
        };
        round();
        let counted = allocation_counter::measure(|| (0..50).for_each(|_| round()));
        assert_eq!(counted.count_total, 0);
    }
}
