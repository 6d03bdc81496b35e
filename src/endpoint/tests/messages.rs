//! Writing, sending, yielding: what the caller sees.

use super::*;

#[test]
fn writing_is_not_disturbed_by_receiving_and_maintenance() {
    let mut pair = Pair::connected();
    let mut expected = Vec::new();
    for n in 0..200_u8 {
        let bytes = vec![n; 1 + usize::from(n) * 3];
        pair.peers[1].send_payload(Guarantee::Delivery, &[b'<', n]).unwrap();
        pair.peers[1].flush().unwrap();
        for part in bytes.chunks(100) {
            pair.peers[0].write_all(part).unwrap();
            assert!(pair.peers[0].recv().unwrap().is_none_or(|message| message[0] == b'<'));
            pair.peers[0].maintain().unwrap();
        }
        pair.peers[0].send_written(Guarantee::Delivery).unwrap();
        expected.push(bytes);
        pair.peers[0].write_all(b"abandoned").unwrap();
        pair.peers[0].maintain().unwrap();
        pair.peers[0].clear_written();
    }
    let mut heard = pair.run(Duration::from_secs(5)).swap_remove_second();
    heard.sort();
    expected.sort();
    assert_eq!(heard, expected);
}

trait SwapRemoveSecond {
    fn swap_remove_second(self) -> Vec<Vec<u8>>;
}

#[test]
fn an_oversize_write_is_a_typed_error_and_leaves_no_residue() {
    let mut pair =
        Pair::connected_with(Config { max_message_bytes: 1_000, max_unreliable_bytes: 500, ..config() });
    pair.peers[0].write_all(&[1; 900]).unwrap();
    let error = pair.peers[0].write_all(&[2; 101]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<SendError>());
    assert_eq!(inner, Some(&SendError::TooLarge { len: 1_001, max: 1_000 }));
    pair.peers[0].write_all(&[3; 100]).unwrap();
    pair.peers[0].send_written(Guarantee::Delivery).unwrap();
    let heard = pair.run(Duration::from_millis(500));
    assert_eq!(heard[1], [[vec![1; 900], vec![3; 100]].concat()]);
}

#[test]
fn maintenance_with_nothing_due_sends_nothing() {
    let mut pair = Pair::connected();
    pair.run(Duration::from_millis(500));
    pair.script(0).tried.clear();
    let deadline = pair.peers[0].maintain().unwrap().unwrap();
    assert!(deadline > *pair.now.lock().unwrap());
    for _ in 0..1_000_000 {
        assert_eq!(pair.peers[0].maintain(), Ok(Some(deadline)));
    }
    assert!(pair.script(0).tried.is_empty());
}

#[test]
fn the_last_messages_are_yielded_before_the_reason() {
    let mut pair = Pair::connected();
    pair.run(Duration::from_millis(100));
    pair.peers[1].send_payload(Guarantee::Delivery, b"last words").unwrap();
    pair.peers[1].flush().unwrap();
    pair.peers[1].close(9, b"");
    assert_eq!(&pair.peers[0].recv().unwrap().unwrap()[..], b"last words");
    for _ in 0..3 {
        assert_eq!(pair.peers[0].recv().unwrap_err(), CloseReason::ClosedByPeer { code: 9 });
        assert_eq!(pair.peers[0].maintain().unwrap_err(), CloseReason::ClosedByPeer { code: 9 });
    }
    let closed = SendError::Closed(CloseReason::ClosedByPeer { code: 9 });
    assert_eq!(pair.peers[0].send_payload(Guarantee::None, b"x"), Err(closed));
    assert_eq!(pair.peers[0].open_set(LaneId(0)), Err(closed));
    assert_eq!(pair.peers[0].write_all(b"x").unwrap_err().kind(), io::ErrorKind::NotConnected);
    let events: Vec<_> = std::iter::from_fn(|| pair.peers[0].poll_event()).collect();
    assert!(matches!(events[..], [Event::Connected { .. }, Event::Closed { .. }]), "{events:?}");
    pair.peers[1].connect().unwrap();
    pair.peers[0].connect().unwrap();
    pair.run(Duration::from_secs(2));
    assert!(pair.peers.iter().all(Peer::is_connected), "both may begin anew");
}

#[test]
fn what_was_received_before_a_timeout_is_still_yielded() {
    let mut pair = Pair::connected();
    for bytes in [b"one", b"two"] {
        pair.peers[1].send_payload(Guarantee::Delivery, bytes).unwrap();
    }
    pair.peers[1].flush().unwrap();
    assert_eq!(&pair.peers[0].recv().unwrap().unwrap()[..], b"one");
    pair.advance(Duration::from_secs(60));
    assert_eq!(pair.peers[0].maintain(), Ok(None), "ended, but not yet for the application");
    assert_eq!(&pair.peers[0].recv().unwrap().unwrap()[..], b"two");
    assert_eq!(pair.peers[0].recv().unwrap_err(), CloseReason::TimedOut);
}

#[test]
fn a_set_ends_with_its_closure_however_that_ends() {
    let mut pair = Pair::connected();
    let peer = &mut pair.peers[0];
    let id = peer.as_set(|set| {
        set.write_all(b"first").unwrap();
        set.send_written(Guarantee::Delivery)?;
        set.send_payload(Guarantee::Delivery, b"second")
    });
    assert!(id.is_ok());
    let failed: Result<(), SendError> = peer.as_set(|_| Err(SendError::NoSetOpen));
    assert_eq!(failed, Err(SendError::NoSetOpen));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _: Result<(), SendError> = peer.as_set(|_| panic!("on purpose"));
    }));
    assert!(panicked.is_err());
    peer.open_set(LaneId(0)).unwrap();
    assert_eq!(peer.open_set(LaneId(0)), Err(SendError::SetOpen));
    assert!(peer.as_set(|set| set.send_payload(Guarantee::None, b"")).is_err());
    peer.maintain().unwrap();
    peer.close_set(LaneId(0)).unwrap();
    assert_eq!(peer.close_set(LaneId(0)), Err(SendError::NoSetOpen));
    let mut heard = pair.run(Duration::from_millis(300)).swap_remove_second();
    heard.sort();
    assert_eq!(heard, [b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn a_full_datagram_leaves_at_once_and_a_partly_filled_one_at_the_flush() {
    let mut pair = Pair::connected();
    pair.run(Duration::from_millis(300));
    pair.script(0).sent.clear();
    pair.peers[0].send_payload(Guarantee::Delivery, &[0; 100]).unwrap();
    assert_eq!(pair.script(0).sent.len(), 0);
    for _ in 0..12 {
        pair.peers[0].send_payload(Guarantee::Delivery, &[0; 100]).unwrap();
    }
    assert!(!pair.script(0).sent.is_empty());
    pair.peers[0].flush().unwrap();
    let before = pair.script(0).sent.len();
    pair.peers[0].flush().unwrap();
    assert_eq!(pair.script(0).sent.len(), before);
}

#[test]
fn stats_count_what_happened() {
    let mut pair = Pair::connected();
    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery, Guarantee::Delivery] {
        pair.peers[0].send_payload(guarantee, b"12345").unwrap();
    }
    pair.run(Duration::from_millis(300));
    let (sent, got) = (pair.peers[0].stats(), pair.peers[1].stats());
    assert_eq!((sent.messages_sent.none, sent.messages_sent.order, sent.messages_sent.delivery), (1, 1, 2));
    assert_eq!(got.messages_yielded, sent.messages_sent);
    assert_eq!((sent.message_bytes_sent, got.message_bytes_yielded), (20, 20));
    assert_eq!((got.datagrams_received, got.bytes_received), (sent.datagrams_sent, sent.bytes_sent));
    assert!(!sent.sealed && sent.datagrams_sent > 0 && sent.queued_messages == 0);
}

impl SwapRemoveSecond for [Vec<Vec<u8>>; 2] {
    fn swap_remove_second(self) -> Vec<Vec<u8>> {
        let [_, second] = self;
        second
    }
}
