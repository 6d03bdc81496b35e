//! What went wrong in the ancestors does not go wrong here: one story each, over whole endpoints in a simulated
//! network, most of them sealed and plain. Part one is the older crate's list, part two the transport that grew out of
//! the design note, part three the losses that were fatal in one of them.
//!
//! Failures that an endpoint cannot be led into from outside have their tests at their place: the end of the number
//! space in `wire/tests/` and `window.rs`, memory of authenticated but hostile peers in `delivery/recv/model.rs`, a
//! packet number or a range of absurd size in `fuzzing/` and `connection/tests.rs`. That the README's program compiles
//! (it did not) is a documentation test of the library.

mod common;
#[path = "common/contract.rs"]
mod contract;

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use common::{End, Pair, here, keys, plain_end, sealed_end, there};
use contract::{identify, payload};
use sealgram::sim::{Link, Rng, Verdict};
use sealgram::{
    CloseReason, Config, Credentials, Event, Guarantee, LaneId, MessageId, Plain, Rate, Sealed, SendError,
    Session,
};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

/// A line with a delay and nothing wrong with it.
fn line(delay: Duration) -> Link {
    let mut link = Link::default();
    link.delay = delay;
    link
}

/// What is sent in vain leaves at once.
fn unpaced() -> Config {
    let mut config = Config::default();
    config.rate = Rate::Off;
    config
}

fn small() -> Config {
    let mut config = Config::default();
    config.max_datagram_bytes = 1_200;
    config
}

fn lossy(loss: f64, delay: Duration) -> Link {
    let mut link = line(delay);
    link.loss = loss;
    link
}

/// A story that a sealed and a plain pair both live through, each connected at its beginning.
macro_rules! stories {
    ($($name:ident($link:expr $(, $config:expr)?) |$pair:ident| $body:block)*) => { $(
        #[test]
        fn $name() {
            fn story<S: Session>(mut $pair: Pair<S>) {
                $pair.connect();
                $body
            }
            let config = [$($config,)? Config::default()];
            story(Pair::sealed(1, $link, &config[0]));
            story(Pair::plain(1, $link, &config[0]));
        }
    )* };
}

/// What a restart is, for either kind of endpoint.
trait Restarts: Session + Sized {
    fn restarted(pair: &Pair<Self>) -> End<Self>;
}

impl Restarts for Sealed {
    fn restarted(pair: &Pair<Self>) -> End<Self> {
        let keys = keys(pair.seed);
        let credentials = Credentials::paired(&keys[0], keys[1].public_key()).unwrap();
        sealed_end(&pair.net, here(), there(), credentials, &Config::default())
    }
}

impl Restarts for Plain {
    fn restarted(pair: &Pair<Self>) -> End<Self> {
        plain_end(&pair.net, here(), there(), &Config::default())
    }
}

fn say<S: Session>(end: &mut End<S>, guarantee: Guarantee, bytes: &[u8]) -> MessageId {
    let id = end.endpoint.send_payload(guarantee, bytes).unwrap();
    end.endpoint.flush().unwrap();
    id
}

/// Says something that the network loses.
fn say_in_vain<S: Session>(pair: &mut Pair<S>, guarantee: Guarantee, bytes: &[u8]) {
    pair.net.block(here(), there());
    say(&mut pair.a, guarantee, bytes);
    pair.net.unblock(here(), there());
}

fn heard<S: Session>(end: &End<S>) -> Vec<&[u8]> {
    end.heard.iter().map(|(_, bytes)| bytes.as_slice()).collect()
}

fn sent_datagrams<S: Session>(pair: &Pair<S>) -> u64 {
    pair.a.endpoint.stats().datagrams_sent + pair.b.endpoint.stats().datagrams_sent
}

// ---- part one ----

stories! {
    // 1: the acknowledgement of one member freed another, which was lost.
    an_acknowledgement_of_one_member_does_not_free_another(line(MS(20))) |pair| {
        pair.a.endpoint.open_set(LaneId(0)).unwrap();
        say_in_vain(&mut pair, Guarantee::Delivery, b"A");
        say(&mut pair.a, Guarantee::Delivery, b"B");
        say(&mut pair.a, Guarantee::Delivery, b"C");
        pair.a.endpoint.close_set(LaneId(0)).unwrap();
        say(&mut pair.a, Guarantee::Delivery, b"Z");
        assert!(pair.run_until(SECS(2), |_, b| b.heard.len() == 4), "{:?}", heard(&pair.b));
        assert_eq!(heard(&pair.b), [b"B", b"C", b"A", b"Z"]);
    }

    // 2: the heartbeat of an end that had heard nothing acknowledged the first message.
    an_idle_end_does_not_acknowledge_what_it_never_got(line(MS(20))) |pair| {
        // Idle for three keep-alives, in both directions, then the very first message is lost.
        pair.run(SECS(31));
        say_in_vain(&mut pair, Guarantee::Delivery, b"first");
        for _ in 0..20 {
            assert_eq!(pair.a.endpoint.queued_messages(), 1, "released before it arrived");
            pair.run(MS(5));
        }
        assert!(pair.run_until(SECS(2), |a, b| b.heard.len() == 1 && a.endpoint.queued_messages() == 0));
    }

    // 3: two live sets more than 64 ids apart were outside of the window for ever.
    sets_over_sixty_four_and_gaps_of_a_thousand_hold_nothing_up(line(MS(20)), unpaced()) |pair| {
        pair.a.endpoint.open_set(LaneId(0)).unwrap();
        say_in_vain(&mut pair, Guarantee::Delivery, &payload(0, 20));
        for id in 1..65 {
            say(&mut pair.a, Guarantee::Delivery, &payload(id, 20));
        }
        pair.a.endpoint.close_set(LaneId(0)).unwrap();
        for id in 65..1_065 {
            say_in_vain(&mut pair, Guarantee::Order, &payload(id, 20));
        }
        say(&mut pair.a, Guarantee::Order, &payload(1_065, 20));
        say(&mut pair.a, Guarantee::Delivery, &payload(1_066, 20));
        assert!(pair.run_until(SECS(3), |_, b| b.heard.len() == 67), "{} heard", pair.b.heard.len());
        let ids: Vec<_> = heard(&pair.b).into_iter().map(|bytes| identify(bytes).unwrap()).collect();
        assert_eq!(ids[65..], [1_065, 1_066]);
    }

    // 4 to 6: acknowledgements, received datagrams and old messages overwrote what was lent or being written.
    bytes_that_are_lent_or_half_written_stay_as_they_are(lossy(0.05, MS(5))) |pair| {
        let mut next = 0;
        let mut heard = [0; 2];
        let mut written: [Option<(Guarantee, u64, usize)>; 2] = [None; 2];
        for round in 0..400_usize {
            for (side, end) in [&mut pair.a, &mut pair.b].into_iter().enumerate() {
                // A burst of at least eight whole messages around one that is written in pieces.
                for piece in 0..10 {
                    let (guarantee, id, at) =
                        written[side].unwrap_or(([Guarantee::Delivery, Guarantee::None][round % 2], next, 0));
                    next += u64::from(written[side].is_none());
                    let whole = payload(id, 8 + usize::try_from(id * 37 % 900).unwrap());
                    let upto = (at + 1 + (piece * 97 + round) % 400).min(whole.len());
                    end.endpoint.write_all(&whole[at..upto]).unwrap();
                    written[side] = Some((guarantee, id, upto));
                    if upto == whole.len() {
                        end.endpoint.send_written(guarantee).unwrap();
                        written[side] = None;
                    }
                    // In the middle of it, hear one message and keep the clock.
                    if let Some(message) = end.endpoint.recv().unwrap() {
                        assert!(identify(&message).is_some(), "round {round}: {message:?} is spoiled");
                        heard[side] += 1;
                    }
                    if piece % 3 == 0 {
                        end.endpoint.maintain().unwrap();
                    }
                }
            }
            pair.net.advance(MS(2));
        }
        assert!(heard.iter().all(|&count| count > 500), "{heard:?}");
    }

    // 8: on a one-way flow everything beyond some id was sent again at every call.
    nothing_is_sent_twice_when_nothing_is_lost(line(MS(50))) |pair| {
        let before = pair.a.endpoint.stats().datagrams_sent;
        for id in 0..1_000 {
            pair.a.endpoint.send_payload(Guarantee::Delivery, &payload(id, 20)).unwrap();
        }
        for _ in 0..10 {
            pair.a.endpoint.maintain().unwrap();
        }
        let burst = pair.a.endpoint.stats().datagrams_sent - before;
        assert!(burst <= 20, "{burst} datagrams for 1,000 messages of 20 bytes");
        assert!(pair.run_until(SECS(5), |a, _| a.endpoint.queued_messages() == 0));
        for id in 1_000..3_000 {
            pair.a.endpoint.send_payload(Guarantee::Delivery, &payload(id, 20)).unwrap();
            pair.a.endpoint.maintain().unwrap();
            if id % 4 == 0 {
                pair.run(MS(1));
            }
        }
        assert!(pair.run_until(SECS(5), |a, b| a.endpoint.queued_messages() == 0 && b.heard.len() == 3_000));
        let stats = pair.a.endpoint.stats();
        assert_eq!(stats.resends, 0);
        assert!(stats.datagrams_sent - before <= 2_100, "{}", stats.datagrams_sent - before);
    }

    // 9: random datagrams were taken for acknowledgements.
    random_datagrams_release_nothing(line(MS(20))) |pair| {
        pair.net.block(here(), there());
        for id in 0..200 {
            say(&mut pair.a, Guarantee::Delivery, &payload(id, 20));
        }
        let mut dice = Rng::seed(9);
        for round in 0..4_000_usize {
            let mut noise = vec![0; [4, 8, 16, 64, 1_200][round % 5]];
            rand_core::TryRng::try_fill_bytes(&mut dice, &mut noise).unwrap();
            pair.net.inject(there(), here(), &noise);
            pair.net.inject(here(), there(), &noise);
            pair.a.step();
            pair.b.step();
        }
        assert_eq!((pair.a.endpoint.queued_messages(), pair.b.heard.len()), (200, 0));
        assert!(pair.a.endpoint.stats().drops.total() >= 4_000);
        pair.net.unblock(here(), there());
        assert!(pair.run_until(SECS(5), |a, b| b.heard.len() == 200 && a.endpoint.queued_messages() == 0));
    }

    // 11, the receiver's side: forged datagrams were kept, all of them.
    a_flood_of_fifty_thousand_datagrams_costs_no_memory(line(MS(20))) |pair| {
        say(&mut pair.a, Guarantee::Delivery, b"before");
        pair.run(SECS(1));
        let mut datagram = vec![0; 1_000];
        let mut most = 0;
        for round in 0..50_u64 {
            for number in 0..1_000 {
                datagram[..8].copy_from_slice(&(round << 32 | number).to_le_bytes());
                pair.net.inject(here(), there(), &datagram);
            }
            let b = &mut pair.b.endpoint;
            let info = allocation_counter::measure(|| {
                while let Ok(Some(_)) = b.recv() {}
                b.maintain().unwrap();
            });
            // The first round fills the simulated network's own store of buffers.
            most = most.max(if round == 0 { 0 } else { info.count_total });
        }
        assert_eq!(most, 0, "allocations in a thousand strange datagrams");
        assert!(pair.b.endpoint.stats().drops.total() >= 50_000);
        say(&mut pair.a, Guarantee::Delivery, b"after");
        assert!(pair.run_until(SECS(2), |_, b| b.heard.len() == 2));
    }

    // 13: a message of one size spoiled the buffer for the next.
    a_message_of_any_size_leaves_no_trace_on_the_next(line(MS(5))) |pair| {
        let near = |of: usize| of - 2..of + 3;
        let sizes: Vec<usize> =
            [0..3, near(1_100), near(1_200), near(2_048), near(4_096), near(65_534)].into_iter().flatten().collect();
        for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
            for len in sizes.iter().copied().chain(1_120..1_190) {
                let bytes: Vec<u8> = (0..len).map(|at| u8::try_from((at * 7 + len) % 251).unwrap()).collect();
                pair.b.heard.clear();
                pair.a.endpoint.write_all(&bytes).unwrap();
                pair.a.endpoint.send_written(guarantee).unwrap();
                say(&mut pair.a, guarantee, b"ok");
                assert!(pair.run_until(SECS(2), |_, b| b.heard.len() == 2), "{guarantee:?} of {len}");
                // A short `None` may overtake a long one.
                assert!(pair.b.heard.contains(&(guarantee, bytes)), "{guarantee:?} of {len}");
                assert!(pair.b.heard.contains(&(guarantee, b"ok".to_vec())), "after {guarantee:?} of {len}");
            }
        }
        for (guarantee, max) in [(Guarantee::Order, 65_536), (Guarantee::Delivery, 1 << 20)] {
            let long = vec![0; max + 1];
            let refused = pair.a.endpoint.send_payload(guarantee, &long);
            assert_eq!(refused, Err(SendError::TooLarge { len: max + 1, max }));
        }
        pair.b.heard.clear();
        say(&mut pair.a, Guarantee::Delivery, b"ok");
        assert!(pair.run_until(SECS(1), |_, b| heard(b) == [b"ok"]));
    }

    // 14: a datagram that was cut had its payload read as its header.
    an_overlong_datagram_is_dropped_whole(line(MS(5)), small()) |pair| {
        pair.net.record(true);
        say(&mut pair.a, Guarantee::Delivery, b"honest");
        let honest = pair.net.captured().remove(0).bytes;
        pair.run(SECS(1));
        let drops = pair.b.endpoint.stats().drops.length;
        for len in [1_201, 1_202, 2_048, 65_507] {
            // Wherever it is cut, an honest datagram stands at the cut.
            for at in [0, 1_200 - honest.len(), 1_201 - honest.len()] {
                let mut long = vec![0; len];
                long[at..at + honest.len()].copy_from_slice(&honest);
                pair.net.inject(here(), there(), &long);
            }
        }
        // As a payload an honest datagram is bytes like any other.
        say(&mut pair.a, Guarantee::Delivery, &honest);
        pair.run(SECS(1));
        assert_eq!(pair.b.endpoint.stats().drops.length, drops + 12);
        assert_eq!(heard(&pair.b), [b"honest".as_slice(), &honest]);
    }

    // 15: members of a set that had all arrived were sent again for ever.
    a_set_that_arrived_is_not_sent_again(line(MS(20))) |pair| {
        pair.a.endpoint.as_set(|set| {
            for member in [b"1", b"2", b"3"] {
                set.send_payload(Guarantee::Delivery, member)?;
            }
            Ok::<_, SendError>(())
        }).unwrap();
        pair.run(SECS(2));
        assert_eq!((pair.b.heard.len(), pair.a.endpoint.queued_messages()), (3, 0));
        let before = sent_datagrams(&pair);
        pair.run(SECS(60));
        assert!(sent_datagrams(&pair) - before <= 30, "{} datagrams in an idle minute", sent_datagrams(&pair) - before);
        assert_eq!(pair.a.endpoint.stats().resends, 0);
    }

    // 16: a refused datagram came back as an error that lost a message.
    a_refused_datagram_loses_no_message(line(MS(20))) |pair| {
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset, ErrorKind::HostUnreachable] {
            pair.net.fail_sends(here(), 2, kind);
            pair.net.fail_receives(here(), 2, kind);
            pair.b.heard.clear();
            for id in 0..5 {
                say(&mut pair.a, Guarantee::Delivery, &payload(id, 20));
            }
            assert!(pair.run_until(SECS(3), |_, b| b.heard.len() == 5), "{kind}");
        }
        assert!(pair.a.endpoint.stats().socket_errors.total() >= 12);
    }

    // 17: counters wrapped. The ends of the number space have unit tests; here every 16-bit counter would turn over.
    seventy_thousand_messages_keep_their_order(line(MS(1))) |pair| {
        let mut next = 0_u32;
        while pair.b.heard.len() < 70_000 {
            while next < 70_000 && pair.a.endpoint.send_payload(Guarantee::Delivery, &next.to_le_bytes()).is_ok() {
                next += 1;
            }
            pair.run(MS(5));
        }
        let wrong = heard(&pair.b).iter().zip(0_u32..).position(|(bytes, id)| **bytes != id.to_le_bytes());
        assert_eq!((wrong, pair.b.heard.len()), (None, 70_000));
    }

    // 18: no handshake, no farewell, no keep-alive, no statistics.
    a_session_begins_is_counted_and_ends_for_both(line(MS(20))) |pair| {
        assert!(matches!(pair.a.events[..], [Event::Connected { .. }]));
        assert!(matches!(pair.b.events[..], [Event::Connected { .. }]));
        say(&mut pair.a, Guarantee::Delivery, b"x");
        pair.run(SECS(100));
        assert!(pair.a.endpoint.is_connected() && pair.b.endpoint.is_connected(), "kept alive");
        let stats = pair.b.endpoint.stats();
        assert_eq!((stats.messages_yielded.delivery, stats.message_bytes_yielded), (1, 1));
        pair.b.endpoint.close(3, b"");
        pair.run(SECS(1));
        assert_eq!(pair.a.closed, Some(CloseReason::ClosedByPeer { code: 3 }));
        assert_eq!(pair.b.closed, Some(CloseReason::ClosedHere));
    }
}

/// 7: one late `Delivery` and five `Order`s came out in any order.
#[test]
fn what_waits_for_a_late_delivery_comes_out_in_order() {
    fn trial<S: Session>(mut pair: Pair<S>) {
        pair.connect();
        say_in_vain(&mut pair, Guarantee::Delivery, &[0]);
        for number in 1..6 {
            say(&mut pair.a, Guarantee::Order, &[number]);
        }
        assert!(pair.run_until(SECS(2), |_, b| !b.heard.is_empty()));
        pair.run(SECS(1));
        let numbers: Vec<_> = heard(&pair.b).into_iter().map(|bytes| bytes[0]).collect();
        assert!(numbers.is_sorted() && numbers[0] == 0 && numbers.last() == Some(&5), "{numbers:?}");
    }
    for seed in 0..100 {
        let mut link = line(MS(10));
        (link.reorder, link.reorder_delay) = (0.4, MS(8));
        trial(Pair::sealed(seed, link.clone(), &Config::default()));
        trial(Pair::plain(seed, link, &Config::default()));
    }
}

/// 10: a forged message was taken, and the true ones after it were late for ever.
#[test]
fn a_forged_message_is_not_heard_and_the_true_ones_are() {
    // The forger speaks the protocol to perfection: plain, and sealed to the same peer under keys of its own.
    let mut forgeries = Vec::new();
    let mut plain = Pair::plain(3, line(MS(1)), &Config::default());
    plain.connect();
    plain.net.record(true);
    for id in 0..64 {
        say(&mut plain.a, Guarantee::Delivery, &payload(id, 20));
    }
    forgeries.extend(plain.net.captured().into_iter().map(|datagram| datagram.bytes));
    let mut sealed = Pair::sealed(4, line(MS(1)), &Config::default());
    sealed.net.record(true);
    sealed.connect();
    for id in 0..64 {
        say(&mut sealed.a, Guarantee::Delivery, &payload(id, 20));
    }
    forgeries.extend(sealed.net.captured().into_iter().map(|datagram| datagram.bytes));

    let mut pair = Pair::sealed(5, line(MS(20)), &Config::default());
    pair.connect();
    for forged in &forgeries {
        pair.net.inject(here(), there(), forged);
        // From another address the socket does not even pass it on.
        pair.net.inject(([10, 6, 6, 6], 666).into(), there(), forged);
        pair.b.step();
    }
    assert!(pair.b.heard.is_empty() && pair.b.events.len() == 1);
    for id in 100..110 {
        say(&mut pair.a, Guarantee::Delivery, &payload(id, 20));
    }
    pair.run(SECS(1));
    let ids: Vec<_> = heard(&pair.b).into_iter().map(identify).collect();
    assert_eq!(ids, (100..110).map(Some).collect::<Vec<_>>());
}

/// 11, the sender's side: a dead peer took 200,000 messages and 221 MB, and nobody was told.
#[test]
fn a_dead_peer_costs_the_configured_memory_and_the_sender_is_told() {
    fn story<S: Session>(mut pair: Pair<S>) {
        pair.connect();
        pair.run(SECS(1));
        pair.net.block(here(), there());
        pair.net.block(there(), here());
        let (mut taken, mut refused) = (Vec::new(), 0_u32);
        let bytes = vec![7; 1_024];
        let a = &mut pair.a.endpoint;
        let info = allocation_counter::measure(|| {
            taken.reserve(10_000);
            for number in 0..200_000_u32 {
                match a.send_payload(Guarantee::Delivery, &bytes) {
                    Ok(id) => taken.push(id),
                    Err(SendError::Full { queued_bytes, queued_messages }) => {
                        assert!(queued_bytes <= 4 << 20 && queued_messages == taken.len());
                        refused += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
                if number % 1_000 == 0 {
                    a.maintain().unwrap();
                }
            }
        });
        // Twice the limit: a queue of this size may have just been doubled.
        assert!(info.bytes_max < 2 * (4 << 20) + (1 << 20), "{} bytes", info.bytes_max);
        assert_eq!((taken.len(), refused as usize), (3_855, 200_000 - 3_855));
        let began = pair.net.now();
        assert!(pair.run_until(SECS(100), |a, _| a.closed.is_some()));
        let took = pair.net.now() - began;
        assert!(took <= SECS(30), "{took:?}");
        assert_eq!(pair.a.closed, Some(CloseReason::TimedOut));
        let Some(Event::Closed { reason, undelivered }) = pair.a.events.last() else { panic!("no event") };
        assert_eq!((*reason, undelivered), (CloseReason::TimedOut, &taken));
        assert_eq!(pair.a.endpoint.queued_bytes(), 0);
        let late = pair.a.endpoint.send_payload(Guarantee::Delivery, b"late");
        assert_eq!(late, Err(SendError::Closed(CloseReason::TimedOut)));
    }
    story(Pair::sealed(11, line(MS(20)), &Config::default()));
    story(Pair::plain(11, line(MS(20)), &Config::default()));
}

/// 12, and the ids of part two's transport: a restarted peer's first messages were old, and so were its datagrams new.
fn restart<S: Restarts>(mut pair: Pair<S>) {
    pair.net.record(true);
    pair.connect();
    for id in 0..10 {
        say(&mut pair.a, Guarantee::Delivery, &payload(id, 20));
        say(&mut pair.b, Guarantee::Delivery, &payload(id, 20));
        pair.run(MS(30));
    }
    pair.run(SECS(1));
    let old = pair.net.captured();
    // The survivor has messages that will never be acknowledged.
    pair.net.block(there(), here());
    let owed: Vec<_> = (10..13).map(|id| say(&mut pair.b, Guarantee::Delivery, &payload(id, 20))).collect();
    pair.b.endpoint.send_payload(Guarantee::None, b"not listed").unwrap();
    pair.run(MS(50));
    pair.net.unblock(there(), here());
    pair.a = S::restarted(&pair);
    pair.b.heard.clear();
    pair.a.endpoint.connect().unwrap();
    for id in 20..28 {
        say(&mut pair.a, Guarantee::Delivery, &payload(id, 20));
    }
    let began = pair.net.now();
    assert!(pair.run_until(SECS(5), |_, b| b.heard.len() == 8));
    assert!(
        pair.net.now() - began < MS(500),
        "back at once, not after a timeout: {:?}",
        pair.net.now() - began
    );
    let ids = |end: &End<S>| heard(end).into_iter().map(|bytes| identify(bytes).unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(&pair.b), (20..28).collect::<Vec<_>>(), "from its first message on");
    let Some(Event::PeerReconnected { undelivered, .. }) = pair.b.events.last() else {
        panic!("{:?}", pair.b.events)
    };
    assert_eq!(*undelivered, owed);
    // What the old session said means nothing to the new one.
    pair.run(SECS(1));
    let (events, hash) = ([pair.a.events.len(), pair.b.events.len()], pair.b.endpoint.handshake_hash());
    let queued = say(&mut pair.b, Guarantee::Delivery, b"new");
    for datagram in &old {
        pair.net.inject(datagram.from, datagram.to, &datagram.bytes);
        pair.a.step();
        pair.b.step();
    }
    pair.run(SECS(8));
    assert_eq!([pair.a.events.len(), pair.b.events.len()], events, "{queued:?}");
    assert_eq!(pair.b.endpoint.handshake_hash(), hash);
    assert_eq!((heard(&pair.a), pair.b.heard.len()), (vec![b"new".as_slice()], 8));
}

#[test]
fn a_restarted_sealed_peer_is_heard_from_its_first_message() {
    restart(Pair::sealed(12, line(MS(20)), &Config::default()));
}

#[test]
fn a_restarted_plain_peer_is_heard_from_its_first_message() {
    restart(Pair::plain(12, line(MS(20)), &Config::default()));
}

// ---- part two ----

/// A second session of the same two keys, at which the first one's datagrams are thrown in any order.
#[test]
fn a_recorded_session_resets_nothing() {
    let mut pair = Pair::sealed(21, line(MS(20)), &Config::default());
    pair.net.record(true);
    pair.connect();
    say(&mut pair.a, Guarantee::Delivery, b"old");
    pair.run(SECS(1));
    pair.a.endpoint.close(0, b"");
    pair.run(SECS(1));
    let mut old = pair.net.captured();
    old.reverse();
    for end in [&mut pair.a, &mut pair.b] {
        end.heard.clear();
        end.events.clear();
    }
    pair.connect();
    let hash = pair.a.endpoint.handshake_hash();
    for datagram in old {
        pair.net.inject(datagram.from, datagram.to, &datagram.bytes);
        // Both ways round: a reflection is no better than a replay.
        pair.net.inject(datagram.to, datagram.from, &datagram.bytes);
        pair.run(MS(10));
    }
    say(&mut pair.a, Guarantee::Delivery, b"new");
    pair.run(SECS(10));
    assert_eq!(heard(&pair.b), [b"new"]);
    assert_eq!((pair.a.events.len(), pair.b.events.len()), (1, 1));
    assert_eq!((pair.a.endpoint.handshake_hash(), pair.b.endpoint.handshake_hash()), (hash, hash));
}

stories! {
    // Fire-and-forget packets could be replayed freely.
    a_datagram_that_comes_a_hundred_times_is_heard_once(line(MS(20))) |pair| {
        let net = pair.net.clone();
        pair.net.tap(move |datagram| {
            for _ in 0..100 {
                net.inject(datagram.from, datagram.to, &datagram.bytes);
            }
            Verdict::Pass
        });
        for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
            for number in 0..20 {
                say(&mut pair.a, guarantee, &[guarantee as u8, number]);
                pair.run(MS(5));
            }
        }
        pair.run(SECS(1));
        assert_eq!(pair.b.heard.len(), 60);
        assert!(pair.b.endpoint.stats().drops.duplicate >= 6_000);
    }

    // A burst of losses cut the window once for each loss, and resends went past it.
    the_flight_stays_within_its_limit_resends_included(lossy(0.3, MS(30))) |pair| {
        for id in 0..300 {
            pair.a.endpoint.send_payload(Guarantee::Delivery, &payload(id, 2_000)).unwrap();
        }
        let done = pair.run_until(SECS(60), |a, _| {
            let flight = a.endpoint.stats().flight_bytes;
            // Two probes may leave beyond it.
            assert!(flight <= (64 << 10) + 2 * 1_200, "{flight} bytes on their way");
            a.endpoint.queued_messages() == 0
        });
        assert!(done && pair.b.heard.len() == 300 && pair.a.endpoint.stats().resends > 50);
    }

    // ---- part three ----

    // A lost last packet was never missed.
    a_lost_last_message_arrives_without_new_data(line(MS(20))) |pair| {
        for id in 0..10 {
            say(&mut pair.a, Guarantee::Delivery, &payload(id, 20));
        }
        say_in_vain(&mut pair, Guarantee::Delivery, &payload(10, 20));
        let began = pair.net.now();
        assert!(pair.run_until(SECS(2), |_, b| b.heard.len() == 11));
        assert!(pair.net.now() - began < MS(400), "{:?}", pair.net.now() - began);
    }

    // A lost only packet made no stream at all.
    a_lost_only_message_arrives(line(MS(20))) |pair| {
        say_in_vain(&mut pair, Guarantee::Delivery, b"only");
        assert!(pair.run_until(SECS(2), |_, b| heard(b) == [b"only"]));
    }

    // One end fell silent and nobody noticed.
    silence_is_noticed_within_the_idle_timeout_by_both(line(MS(20))) |pair| {
        pair.net.block(here(), there());
        pair.net.block(there(), here());
        let began = pair.net.now();
        let closed = |a: &mut End<S>, b: &mut End<S>| a.closed.is_some() && b.closed.is_some();
        assert!(pair.run_until(SECS(60), closed));
        assert!(pair.net.now() - began <= SECS(31), "{:?}", pair.net.now() - began);
        assert_eq!((pair.a.closed, pair.b.closed), (Some(CloseReason::TimedOut), Some(CloseReason::TimedOut)));
    }

    // Three seconds of darkness, and everything is as before.
    a_blackout_of_three_seconds_loses_no_delivery_and_no_session(line(MS(20))) |pair| {
        let hash = pair.a.endpoint.handshake_hash();
        for tick in 0..600_u64 {
            match tick {
                100 => pair.net.block(here(), there()),
                110 => pair.net.block(there(), here()),
                290 => {
                    pair.net.unblock(here(), there());
                    pair.net.unblock(there(), here());
                }
                _ => {}
            }
            say(&mut pair.a, Guarantee::Delivery, &payload(tick, 40));
            say(&mut pair.b, Guarantee::Delivery, &payload(tick, 40));
            pair.run(Duration::from_micros(16_667));
        }
        assert!(pair.run_until(SECS(3), |a, b| a.heard.len() == 600 && b.heard.len() == 600));
        assert_eq!((pair.a.events.len(), pair.b.events.len()), (1, 1));
        assert_eq!(pair.a.endpoint.handshake_hash(), hash);
    }
}

/// Every first datagram of a session lost in turn, and every pair of them.
#[test]
fn whichever_first_datagrams_are_lost_the_session_begins_and_the_first_message_arrives() {
    fn story<S: Session>(mut pair: Pair<S>, lost: [usize; 2]) {
        let mut number = 0;
        pair.net.tap(move |_| {
            number += 1;
            if lost.contains(&(number - 1)) { Verdict::Drop } else { Verdict::Pass }
        });
        pair.a.endpoint.connect().unwrap();
        say(&mut pair.a, Guarantee::Delivery, b"first");
        let began: Instant = pair.net.now();
        assert!(pair.run_until(SECS(20), |_, b| heard(b) == [b"first"]), "{lost:?}");
        assert!(pair.net.now() - began < SECS(3), "{lost:?}: {:?}", pair.net.now() - began);
        pair.run(SECS(10));
        assert_eq!((pair.a.events.len(), pair.b.events.len(), pair.b.heard.len()), (1, 1, 1), "{lost:?}");
    }
    for first in 0..8 {
        for second in first..8 {
            story(Pair::sealed(31, line(MS(20)), &Config::default()), [first, second]);
            story(Pair::plain(31, line(MS(20)), &Config::default()), [first, second]);
        }
    }
}
