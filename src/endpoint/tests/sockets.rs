//! Sockets that fail, lie or never end.

use super::{
    leaving::MAX_SENDS,
    receiving::{MAX_FAILURES, MAX_READS, RETRY},
    *,
};

#[test]
fn a_socket_that_cannot_be_prepared_is_an_error() {
    struct Broken;
    impl UdpLike for Broken {
        fn send(&mut self, _: &[u8]) -> io::Result<usize> {
            unreachable!()
        }
        fn recv(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!()
        }
        fn prepare(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
    assert!(matches!(Endpoint::plain(Broken, config()), Err(StartError::Socket(_))));
}

/// Answers every other call with what a router said of the datagram before.
#[cfg(target_os = "linux")]
struct Reporting(MemorySocket, bool);

#[cfg(target_os = "linux")]
impl UdpLike for Reporting {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 { Err(io::Error::from_raw_os_error(90)) } else { self.0.send(datagram) }
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_router_says_of_an_earlier_datagram_costs_no_later_one() {
    let (one, two) = memory_pair();
    let mut one = Endpoint::plain(Reporting(one, false), config()).unwrap();
    let mut two = Endpoint::plain(two, config()).unwrap();
    one.connect().unwrap();
    let (mut queued, mut heard) = (0, 0);
    while heard < 20 {
        while one.recv().unwrap().is_some() {}
        if queued < 20 && one.is_connected() {
            one.send_payload(Guarantee::None, &[queued]).unwrap();
            queued += 1;
            one.flush().unwrap();
        }
        two.maintain().unwrap();
        while let Some(message) = two.recv().unwrap() {
            assert_eq!(*message, [heard]);
            heard += 1;
        }
    }
    let stats = one.stats();
    assert_eq!(stats.socket_errors.too_large, stats.datagrams_sent);
}

#[test]
fn transient_socket_errors_are_counted_and_end_nothing() {
    use io::ErrorKind as Kind;
    let mut pair = Pair::connected();
    let errors = [Kind::ConnectionRefused, Kind::NetworkDown, Kind::PermissionDenied, Kind::Other];
    pair.script(0).send.extend(errors);
    pair.script(0).recv.extend(errors.map(io::Error::from));
    if cfg!(target_os = "linux") {
        pair.script(0).recv.push_back(io::Error::from_raw_os_error(90));
    }
    for n in 0..8_u8 {
        pair.peers[0].send_payload(Guarantee::Delivery, &[n]).unwrap();
        pair.peers[0].flush().unwrap();
    }
    let heard = pair.run(Duration::from_secs(5));
    let mut all = heard[1].clone();
    all.sort();
    assert_eq!(
        all,
        (0..8).map(|n| vec![n]).collect::<Vec<_>>(),
        "no message is lost with a refused datagram"
    );
    let counted = pair.peers[0].stats().socket_errors;
    assert_eq!((counted.refused, counted.unreachable, counted.permission, counted.other), (2, 2, 2, 2));
    assert_eq!(counted.too_large, u64::from(cfg!(target_os = "linux")));
    assert!(pair.peers.iter().all(Peer::is_connected));
}

#[test]
fn a_socket_that_only_fails_ends_in_the_idle_timeout() {
    let mut pair = Pair::connected();
    let mut closed = None;
    for _ in 0..40 {
        pair.script(0).recv.push_back(io::ErrorKind::ConnectionRefused.into());
        pair.script(0).send.push_back(io::ErrorKind::ConnectionRefused);
        pair.advance(Duration::from_secs(1));
        let _ = pair.peers[0].recv();
        closed = pair.peers[0].maintain().err();
    }
    assert_eq!(closed, Some(CloseReason::TimedOut));
    assert!(pair.peers[0].stats().socket_errors.refused >= 30);
}

#[test]
fn a_socket_that_fails_for_ever_does_not_hold_the_caller() {
    let mut pair = Pair::connected();
    pair.script(0).recv.extend((0..500).map(|_| io::Error::from(io::ErrorKind::ConnectionRefused)));
    assert!(pair.peers[0].recv().unwrap().is_none());
    assert!(pair.script(0).reads <= 32);
}

#[test]
fn would_block_keeps_the_very_same_datagram() {
    let mut pair = Pair::connected();
    pair.script(0).send.extend([io::ErrorKind::WouldBlock; 3]);
    pair.peers[0].send_payload(Guarantee::None, b"only once").unwrap();
    for _ in 0..3 {
        pair.peers[0].flush().unwrap();
        let retry = pair.peers[0].maintain();
        // While it is blocked it wants to be called soon, but not without pause.
        if pair.script(0).sent.is_empty() {
            let now = *pair.now.lock().unwrap();
            assert!(retry.unwrap().is_some_and(|at| at > now && at <= now + Duration::from_millis(10)));
        }
    }
    {
        let script = pair.script(0);
        assert_eq!(script.sent.len(), 1);
        assert!(script.tried.len() == 4 && script.tried.iter().all(|tried| *tried == script.sent[0]));
    }
    assert_eq!(pair.peers[0].stats().socket_errors.send_blocked, 3);
    let heard = pair.run(Duration::from_millis(50));
    assert_eq!(heard[1], [b"only once"], "guarantee None, so nothing was sent again");
}

#[test]
fn empty_and_overlong_datagrams_hide_nothing() {
    let mut pair = Pair::connected();
    pair.peers[1].send_payload(Guarantee::Delivery, b"behind them").unwrap();
    pair.peers[1].flush().unwrap();
    pair.script(0).inject.extend([(Vec::new(), 1), (vec![7; 1_453], 1), (vec![7; 5_000], 1)]);
    assert_eq!(&pair.peers[0].recv().unwrap().unwrap()[..], b"behind them");
    assert_eq!(pair.peers[0].stats().drops.length, 3);
}

#[test]
fn a_flood_does_not_hold_the_caller() {
    let mut pair = Pair::connected();
    pair.script(0).inject.push_back((vec![0x55; 1_200], 1_000_000));
    assert!(pair.peers[0].recv().unwrap().is_none());
    assert!(pair.script(0).reads <= MAX_SENDS);
    assert!(pair.peers[0].stats().drops.unopened >= 1_000);
}

#[test]
fn acknowledgements_leave_although_the_socket_is_never_empty() {
    // The sender reads nothing, so its window would never open again.
    let mut pair = Pair::connected_with(Config { rate: crate::config::Rate::Off, ..config() });
    let mut heard = 0;
    for n in 0..200_u16 {
        pair.peers[1].send_payload(Guarantee::Delivery, &n.to_le_bytes()).unwrap();
        pair.peers[1].flush().unwrap();
        // One message a call, and always another one behind it.
        if n > 0 {
            heard += usize::from(pair.peers[0].recv().unwrap().is_some());
            pair.advance(Duration::from_millis(3));
        }
    }
    assert!(heard >= 190);
    assert!(!pair.script(0).sent.is_empty());
}

#[test]
fn who_is_woken_once_is_told_that_there_is_more_to_read() {
    let mut pair = Pair::connected();
    let wants = |pair: &mut Pair| pair.peers[0].maintain().unwrap().map(|at| at - *pair.now.lock().unwrap());
    // More than one call reads, none of it of use.
    pair.script(0).inject.push_back((vec![1; 100], MAX_READS + 100));
    assert!(pair.peers[0].recv().unwrap().is_none());
    assert_eq!(wants(&mut pair), Some(Duration::ZERO), "the socket is not empty");
    assert!(pair.peers[0].recv().unwrap().is_none());
    assert!(wants(&mut pair).is_none_or(|wait| wait > RETRY), "now it is");
    // Nor is it known to be after failures; but nobody is to ask for ever.
    pair.script(0).recv.extend((0..MAX_FAILURES).map(|_| io::Error::from(io::ErrorKind::NetworkDown)));
    assert!(pair.peers[0].recv().unwrap().is_none());
    assert_eq!(wants(&mut pair), Some(RETRY));
    assert!(pair.peers[0].recv().unwrap().is_none());
    assert!(wants(&mut pair).is_none_or(|wait| wait > RETRY));
}
