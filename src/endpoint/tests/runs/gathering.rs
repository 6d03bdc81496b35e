//! What leaves and arrives together, and what does not wait for it.

use super::*;

#[test]
fn bulk_leaves_and_arrives_in_runs_and_a_lone_message_alone() {
    let mut carts = Carts::connected();
    for _ in 0..20 {
        carts.ends[0].send_payload(Guarantee::Delivery, b"ping").unwrap();
        carts.ends[0].flush().unwrap();
        assert_eq!(carts.run(Duration::from_millis(100)), [b"ping"]);
    }
    // Nor by who does not look whether more waits.
    for turn in 0..40 {
        carts.ends[turn % 2].send_payload(Guarantee::Delivery, b"pong").unwrap();
        carts.ends[turn % 2].flush().unwrap();
        assert_eq!(
            carts.ends[1 - turn % 2].recv().unwrap().map(|message| message.to_vec()),
            Some(b"pong".to_vec())
        );
    }
    assert!(carts.logs.iter().all(|log| log.lock().unwrap().tried.is_empty()), "nobody pays for runs");
    assert!(carts.logs.iter().all(|log| log.lock().unwrap().asked_to_join == 0));
    carts.send_bulk();
    assert_bulk(&carts.run(Duration::from_secs(5)));
    let (out, back) = (carts.log(0), carts.log(1));
    let carried: usize = out.tried.iter().map(|(count, _)| count).sum();
    assert!(carried > 120 && out.tried.len() <= carried / 4, "{carried} in {} runs", out.tried.len());
    assert!(back.asked_to_join == 1 && back.read.iter().any(|count| *count > 8), "{:?}", back.read);
    drop((out, back));
    for end in &carts.ends {
        assert_eq!((end.stats().drops.total(), end.stats().socket_errors.total()), (0, 0));
    }
    assert_eq!(carts.ends[0].stats().datagrams_sent, carts.ends[1].stats().datagrams_received);
    assert_eq!(carts.ends[0].stats().bytes_sent, carts.ends[1].stats().bytes_received);
}

#[test]
fn full_datagrams_wait_for_each_other_but_for_no_other_call() {
    let calls: [fn(&mut SealedEndpoint<Cart>); 4] = [
        |end| assert!(end.recv().unwrap().is_none()),
        |end| assert!(end.maintain().unwrap().is_some()),
        |end| end.flush().unwrap(),
        |end| end.close(0, b""),
    ];
    for call in calls {
        let mut carts = Carts::connected();
        let before = carts.ends[0].stats().datagrams_sent;
        for _ in 0..4 {
            carts.ends[0].send_payload(Guarantee::Order, &[7; 1_150]).unwrap();
        }
        assert_eq!(carts.ends[0].stats().datagrams_sent, before, "held");
        call(&mut carts.ends[0]);
        assert!(carts.ends[0].stats().datagrams_sent >= before + 3);
    }
}

#[test]
fn full_datagrams_that_nobody_lets_leave_for_seconds_are_neither_late_nor_lost() {
    for pause in [16, 100, 500, 3_000].map(Duration::from_millis) {
        let mut carts = Carts::connected();
        carts.ends[0].send_payload(Guarantee::Delivery, b"ping").unwrap();
        carts.ends[0].flush().unwrap();
        carts.run(Duration::from_secs(1));
        let before = carts.ends[0].stats();
        for _ in 0..8 {
            carts.ends[0].send_payload(Guarantee::Order, &[7; 1_150]).unwrap();
        }
        assert_eq!(
            carts.ends[0].stats().packets.sent,
            before.packets.sent,
            "nothing is sealed before it leaves"
        );
        *carts.now.lock().unwrap() += pause;
        assert_eq!(carts.run(Duration::from_secs(2)).len(), 8);
        let stats = carts.ends[0].stats();
        assert_eq!((stats.packets.lost, stats.resends, stats.late_acks), (0, 0, 0), "{pause:?}");
        assert!(stats.rtt.unwrap().smoothed < Duration::from_millis(16), "{pause:?}: {:?}", stats.rtt);
    }
}

#[test]
fn nothing_is_refused_because_full_datagrams_wait_for_each_other() {
    let mut carts = Carts::connected();
    let lane = crate::LaneOptions { queue_bytes: Some(3_000), ..crate::LaneOptions::default() };
    carts.ends[0].set_lane(LaneId(0), lane).unwrap();
    for n in 0..8 {
        assert!(carts.ends[0].send_payload(Guarantee::Order, &[n; 1_150]).is_ok(), "{n}");
    }
    assert_eq!(carts.run(Duration::from_secs(1)).len(), 8);
    assert_eq!(carts.ends[0].lane_stats(LaneId(0)).dropped, 0);
}

#[test]
fn who_closes_sends_the_full_datagrams_that_wait_for_each_other_first() {
    let mut carts = Carts::connected();
    for _ in 0..4 {
        carts.ends[0].send_payload(Guarantee::Order, &[7; 1_150]).unwrap();
    }
    carts.ends[0].close(7, b"");
    let mut heard = 0;
    let reason = loop {
        match carts.ends[1].recv() {
            Ok(message) => heard += usize::from(message.is_some_and(|message| message[..] == [7; 1_150])),
            Err(reason) => break reason,
        }
    };
    assert_eq!((heard, reason), (3, CloseReason::ClosedByPeer { code: 7 }));
}

#[test]
fn what_waits_when_the_network_changes_is_seen_on_the_new_one_only() {
    let mut carts = Carts::connected();
    for _ in 0..4 {
        carts.ends[0].send_payload(Guarantee::Order, &[7; 1_150]).unwrap();
    }
    let log = Arc::<Mutex<Log>>::default();
    let cart = Cart { inner: memory_pair().0, log: Arc::clone(&log), over: None };
    let old = carts.ends[0].replace_socket(cart).unwrap();
    assert!(carts.log(0).tried.is_empty() && carts.log(0).sent_alone == 0);
    let sent = log.lock().unwrap().tried.clone();
    assert!(sent.iter().map(|(count, _)| count).sum::<usize>() >= 3);
    carts.ends[0].replace_socket(old).unwrap();
    carts.send_bulk();
    assert_eq!(carts.run(Duration::from_secs(5)).len(), 201, "what left by a network without a peer is lost");
}

#[test]
fn nothing_that_was_read_is_left_over_when_recv_has_nothing_more() {
    let mut carts = Carts::connected();
    carts.send_bulk();
    *carts.now.lock().unwrap() += Duration::from_millis(50);
    let mut heard = 0;
    while carts.ends[1].recv().unwrap().is_some() {
        heard += 1;
        if carts.ends[1].incoming.has_more() {
            let now = *carts.now.lock().unwrap();
            assert_eq!(carts.ends[1].maintain(), Ok(Some(now)), "who stops reading is called again");
        }
    }
    assert!(heard > 8 && !carts.ends[1].incoming.has_more());
}

#[test]
fn what_is_not_genuine_joins_no_reads() {
    let mut carts = Carts::connected();
    for n in (0..=255_u8).cycle().take(500) {
        carts.ends[0].socket_mut().inner.send(&[n; 600]).unwrap();
    }
    assert_eq!(carts.run(Duration::from_secs(1)).len(), 0);
    assert_eq!((carts.ends[1].stats().drops.total(), carts.log(1).asked_to_join), (500, 0));
    carts.send_bulk();
    assert_bulk(&carts.run(Duration::from_secs(5)));
    assert_eq!(carts.log(1).asked_to_join, 1);
}
