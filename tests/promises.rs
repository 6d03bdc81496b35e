//! Every feature that was promised, with the tests that hold it. Most of the rows are tested where the feature lives;
//! what this file adds are the checks over whole endpoints.
//!
//! | row | feature | held by |
//! |---|---|---|
//! | 1 | guarantee `None` | `none_arrives_at_most_once_and_never_waits` |
//! | 2 | guarantee `Order` | `order_only_moves_forward_and_a_kind_line_loses_none` |
//! | 3 | guarantee `Delivery` | `ten_thousand_deliveries_arrive_in_order_over_a_bad_line` |
//! | 4 | a guarantee per message | `any_interleaving_of_calls_keeps_contents_and_contract`; connection: `two_ends_keep_the_contract_whatever_the_network_does` |
//! | 5 | one order for `Order` and `Delivery` | `order_and_delivery_wait_for_an_earlier_delivery_and_for_nothing_else` |
//! | 6 | sets | `a_set_is_heard_on_arrival_and_the_next_one_waits_for_exactly_the_missing_member` |
//! | 7 | sets of mixed guarantees | `in_a_mixed_set_only_the_delivery_is_waited_for` |
//! | 8 | large sets, long gaps | `ten_thousand_members_flow_in_one_set`; ancestors: `sets_over_sixty_four_and_gaps_of_a_thousand_hold_nothing_up` |
//! | 9 | writing piece by piece | `a_serializer_writes_straight_into_the_endpoint`; ancestors: `bytes_that_are_lent_or_half_written_stay_as_they_are` |
//! | 10 | finish, abandon, one-shot | `finishing_abandoning_and_one_shot_do_what_they_say` |
//! | 11 | `NewSetUnsent` | `half_written_bytes_meet_a_new_set_as_configured` |
//! | 12 | receiving in place | steady_state: `a_sealed_session_allocates_nothing_per_message`, `a_plain_session_..` |
//! | 13 | bounded buffers, any calls | `any_interleaving_of_calls_keeps_contents_and_contract` |
//! | 14 | bounded secondary storage | `what_waits_behind_a_hole_is_bounded_and_intact`; recv: `an_application_that_never_asks_costs_bounded_memory` |
//! | 15 | `UdpLike` | real_sockets (std, mio), steady_state (memory), networks (simulated) |
//! | 16 | connected sockets, both families | real_sockets: `both_families_carry_a_session` |
//! | 17 | `recv` and failing sockets | endpoint: `transient_socket_errors_are_counted_and_end_nothing`, `empty_and_overlong_datagrams_hide_nothing`; ancestors: `a_refused_datagram_loses_no_message` |
//! | 18 | `maintain` | `a_million_calls_with_nothing_due_send_nothing` |
//! | 19 | no thread of its own, replay | `the_library_starts_no_thread_and_has_no_unsafe_code`; networks: a seed repeats a run byte for byte |
//! | 20 | checked configuration | `every_field_out_of_range_is_named` |
//! | 21 | keep-alive, idle timeout | `an_idle_session_sends_a_packet_a_period_and_a_killed_peer_times_out` |
//! | 22 | resends by RTT | `a_loss_is_repaired_within_three_round_trips`; ancestors: `nothing_is_sent_twice_when_nothing_is_lost` |
//! | 23 | flight limit | ancestors: `the_flight_stays_within_its_limit_resends_included`, `a_dead_peer_costs_..` |
//! | 24 | acknowledgements of packets | `nothing_is_released_before_it_arrived` |
//! | 25 | sealed headers | hostile: `no_forged_datagram_of_a_.._session_changes_anything`; wire_looks_random |
//! | 26 | nonces | sealed: `no_pair_of_key_and_nonce_seals_twice` |
//! | 27 | encryption by type | `a_plain_and_a_sealed_end_both_time_out_with_the_right_hint`; hostile: `a_sealed_endpoint_accepts_no_plain_datagram_..` |
//! | 28 | many small messages in few datagrams | `a_thousand_small_messages_leave_in_twenty_datagrams` |
//! | 29 | many peers on one port | belongs to the server, which is not there yet |

mod common;
#[path = "common/contract.rs"]
mod contract;

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use common::{End, Pair, here, keys, plain_end, sealed_end, there};
use contract::{Promise, Sent, Yielded, assert_kept, identify, payload};
use sealgram::sim::{Jitter, Link, Net, Verdict};
use sealgram::{
    CloseReason, Config, Credentials, Endpoint, Event, Guarantee, Hint, Invite, LaneId, NewSetUnsent,
    Padding, Psk, Rate, SealedEndpoint, SecretKey, SendError, Session, StartError, Trust, memory_pair,
};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

fn link(change: impl FnOnce(&mut Link)) -> Link {
    let mut link = Link::default();
    link.delay = MS(20);
    change(&mut link);
    link
}

/// Loses one in twenty, repeats one in ten, and turns the order round.
fn rough() -> Link {
    link(|link| {
        (link.loss, link.duplicate, link.reorder, link.reorder_delay) = (0.05, 0.1, 0.1, MS(15));
    })
}

/// A promise that a sealed and a plain pair both keep, each connected at its beginning.
macro_rules! promises {
    ($($name:ident($link:expr, $config:expr) |$pair:ident| $body:block)*) => { $(
        #[test]
        fn $name() {
            fn story<S: Session>(mut $pair: Pair<S>) {
                $pair.connect();
                $body
            }
            story(Pair::sealed(2, $link, &$config));
            story(Pair::plain(2, $link, &$config));
        }
    )* };
}

fn say<S: Session>(end: &mut End<S>, guarantee: Guarantee, bytes: &[u8]) {
    end.endpoint.send_payload(guarantee, bytes).unwrap();
    end.endpoint.flush().unwrap();
}

/// Says something that the network loses now; it comes when it is sent again.
fn say_late<S: Session>(pair: &mut Pair<S>, guarantee: Guarantee, bytes: &[u8]) {
    pair.net.block(here(), there());
    say(&mut pair.a, guarantee, bytes);
    pair.net.unblock(here(), there());
}

/// Says something that takes 200 ms longer than the rest.
fn say_slowly<S: Session>(pair: &mut Pair<S>, guarantee: Guarantee, bytes: &[u8]) {
    pair.net.tap(|_| Verdict::Delay(MS(200)));
    say(&mut pair.a, guarantee, bytes);
    pair.net.tap(|_| Verdict::Pass);
}

fn heard<S: Session>(end: &End<S>) -> Vec<&[u8]> {
    end.heard.iter().map(|(_, bytes)| bytes.as_slice()).collect()
}

/// Sends 10,000 messages of one guarantee at 2,000 a second and gives the numbers that came, in order.
fn ten_thousand<S: Session>(pair: &mut Pair<S>, guarantee: Guarantee) -> Vec<u64> {
    for id in 0..10_000 {
        // The payload is unlike any other, so that one taken for another shows.
        pair.a.endpoint.send_payload(guarantee, &payload(id, 24)).unwrap();
        if id % 20 == 19 {
            pair.a.endpoint.flush().unwrap();
            pair.run(MS(10));
        }
    }
    pair.run_until(SECS(60), |a, _| a.endpoint.queued_messages() == 0);
    pair.run(SECS(3));
    heard(&pair.b).into_iter().map(|bytes| identify(bytes).unwrap()).collect()
}

promises! {
    none_arrives_at_most_once_and_never_waits(rough(), Config::default()) |pair| {
        let numbers = ten_thousand(&mut pair, Guarantee::None);
        let once: BTreeSet<_> = numbers.iter().collect();
        assert_eq!(once.len(), numbers.len(), "something came twice");
        assert!((9_000..10_000).contains(&numbers.len()), "{}", numbers.len());
        assert_eq!(pair.a.endpoint.stats().resends, 0);
    }

    order_only_moves_forward_and_a_kind_line_loses_none(rough(), Config::default()) |pair| {
        let numbers = ten_thousand(&mut pair, Guarantee::Order);
        assert!(numbers.windows(2).all(|two| two[0] < two[1]));
        assert!(numbers.len() > 4_000 && pair.b.endpoint.stats().stale_messages > 0, "{}", numbers.len());
        let mut kind = Pair::sealed(2, link(|_| {}), &Config::default());
        kind.connect();
        assert!(ten_thousand(&mut kind, Guarantee::Order).into_iter().eq(0..10_000));
    }

    ten_thousand_deliveries_arrive_in_order_over_a_bad_line(
        link(|link| {
            (link.loss, link.duplicate, link.overtake) = (0.2, 0.1, true);
            link.jitter = Jitter::Uniform(MS(10));
        }), Config::default()
    ) |pair| {
        assert!(ten_thousand(&mut pair, Guarantee::Delivery).into_iter().eq(0..10_000));
        assert!(pair.net.elapsed() < SECS(60), "{:?}", pair.net.elapsed());
    }

    order_and_delivery_wait_for_an_earlier_delivery_and_for_nothing_else(link(|_| {}), Config::default()) |pair| {
        say_late(&mut pair, Guarantee::Delivery, b"D1");
        say(&mut pair.a, Guarantee::Order, b"O2");
        say(&mut pair.a, Guarantee::Delivery, b"D3");
        say(&mut pair.a, Guarantee::None, b"N4");
        pair.run(MS(25));
        assert_eq!(heard(&pair.b), [b"N4"]);
        pair.run(SECS(1));
        assert_eq!(heard(&pair.b), [b"N4", b"D1", b"O2", b"D3"]);
        pair.b.heard.clear();
        say_slowly(&mut pair, Guarantee::Order, b"O1");
        say_late(&mut pair, Guarantee::None, b"N0");
        say(&mut pair.a, Guarantee::Delivery, b"D2");
        pair.run(MS(25));
        assert_eq!(heard(&pair.b), [b"D2"], "waits for no Order");
        pair.run(SECS(1));
        assert_eq!(heard(&pair.b), [b"D2"], "the Order comes too late, the None never");
        assert_eq!(pair.b.endpoint.stats().stale_messages, 1);
    }

    a_set_is_heard_on_arrival_and_the_next_one_waits_for_exactly_the_missing_member(
        link(|link| (link.overtake, link.jitter) = (true, Jitter::Uniform(MS(1)))), Config::default()
    ) |pair| {
        for missing in [0, 100, 199] {
            pair.b.heard.clear();
            pair.a.endpoint.open_set(LaneId(0)).unwrap();
            for id in 0..200 {
                if id == missing {
                    say_late(&mut pair, Guarantee::Delivery, &payload(id, 20));
                } else {
                    say(&mut pair.a, Guarantee::Delivery, &payload(id, 20));
                }
            }
            pair.a.endpoint.close_set(LaneId(0)).unwrap();
            say(&mut pair.a, Guarantee::Delivery, &payload(200, 20));
            say(&mut pair.a, Guarantee::Delivery, &payload(201, 20));
            pair.run(MS(30));
            assert_eq!(pair.b.heard.len(), 199, "the others do not wait for {missing}, the next set does");
            pair.run(SECS(1));
            let ids: Vec<_> = heard(&pair.b).into_iter().map(|bytes| identify(bytes).unwrap()).collect();
            assert_eq!(ids[199..], [missing, 200, 201]);
            assert!(!ids[..199].is_sorted(), "on arrival, and the line turned the order round");
        }
    }

    in_a_mixed_set_only_the_delivery_is_waited_for(link(|_| {}), Config::default()) |pair| {
        for (lost, want) in [(b"O", &[b"D", b"N", b"Z"][..]), (b"D", &[b"N", b"O", b"D", b"Z"])] {
            pair.b.heard.clear();
            pair.a.endpoint.open_set(LaneId(0)).unwrap();
            for (guarantee, name) in
                [(Guarantee::Delivery, b"D"), (Guarantee::None, b"N"), (Guarantee::Order, b"O")]
            {
                if name == lost {
                    say_late(&mut pair, guarantee, name);
                } else {
                    say(&mut pair.a, guarantee, name);
                }
            }
            pair.a.endpoint.close_set(LaneId(0)).unwrap();
            say(&mut pair.a, Guarantee::Delivery, b"Z");
            pair.run(SECS(1));
            assert_eq!(heard(&pair.b), want, "without {lost:?}");
        }
    }

    ten_thousand_members_flow_in_one_set(link(|link| link.loss = 0.1), Config::default()) |pair| {
        pair.a.endpoint.open_set(LaneId(0)).unwrap();
        for id in 0..10_000 {
            pair.a.endpoint.send_payload(Guarantee::Delivery, &payload(id, 30)).unwrap();
            if id % 100 == 0 {
                pair.run(MS(5));
            }
        }
        assert!(pair.b.heard.len() > 3_000, "it flows while it is open: {}", pair.b.heard.len());
        pair.a.endpoint.close_set(LaneId(0)).unwrap();
        say(&mut pair.a, Guarantee::Delivery, b"the next one");
        assert!(pair.run_until(SECS(20), |_, b| b.heard.len() == 10_001));
        let ids: BTreeSet<_> = pair.b.heard[..10_000].iter().map(|(_, bytes)| identify(bytes).unwrap()).collect();
        assert_eq!(ids.len(), 10_000);
        assert_eq!(pair.b.heard[10_000].1, b"the next one");
    }

    a_serializer_writes_straight_into_the_endpoint(link(|_| {}), Config::default()) |pair| {
        let value = serde_json::json!({ "tick": 7, "names": vec!["someone"; 500], "at": [1.5, 2.5] });
        serde_json::to_writer(&mut pair.a.endpoint, &value).unwrap();
        pair.a.endpoint.send_written(Guarantee::Delivery).unwrap();
        pair.run(SECS(1));
        assert_eq!(serde_json::from_slice::<serde_json::Value>(heard(&pair.b)[0]).unwrap(), value);
    }

    finishing_abandoning_and_one_shot_do_what_they_say(
        link(|_| {}), config(|config| config.max_unreliable_bytes = 100)
    ) |pair| {
        let a = &mut pair.a.endpoint;
        a.write_all(b"abandoned").unwrap();
        assert_eq!(a.send_payload(Guarantee::Delivery, b"in the way"), Err(SendError::Unsent { len: 9 }));
        a.clear_written();
        a.write_all(b"one ").unwrap();
        a.write_all(b"two").unwrap();
        a.send_written(Guarantee::Delivery).unwrap();
        a.send_written(Guarantee::Delivery).unwrap();
        a.send_payload(Guarantee::Delivery, b"three").unwrap();
        // Too long for `Order`: refused, kept, and good for a `Delivery`.
        a.write_all(&[7; 101]).unwrap();
        assert_eq!(a.send_written(Guarantee::Order), Err(SendError::TooLarge { len: 101, max: 100 }));
        a.send_written(Guarantee::Delivery).unwrap();
        assert!(a.send_payload(Guarantee::None, &[7; 101]).is_err());
        a.send_payload(Guarantee::Delivery, b"four").unwrap();
        pair.run(SECS(1));
        assert_eq!(heard(&pair.b), [&b"one two"[..], b"", b"three", &[7; 101], b"four"]);
    }

    what_waits_behind_a_hole_is_bounded_and_intact(
        link(|_| {}),
        config(|config| {
            (config.max_message_bytes, config.max_unreliable_bytes) = (16 << 10, 16 << 10);
            config.receive_window_bytes = 64 << 10;
            // All of it leaves while the first one is late.
            config.rate = Rate::Off;
        })
    ) |pair| {
        // Much more than the window is queued behind a first message that is lost and comes again after 60 ms.
        say_late(&mut pair, Guarantee::Delivery, &payload(0, 1_000));
        for id in 1..200 {
            pair.a.endpoint.send_payload(Guarantee::Delivery, &payload(id, 1_500)).unwrap();
        }
        let (mut next, mut held, mut most) = (0, 0, 0);
        for _ in 0..2_000 {
            pair.a.step();
            pair.net.advance(MS(1));
            let b = &mut pair.b.endpoint;
            let mut good = true;
            let info = allocation_counter::measure(|| {
                while let Ok(Some(message)) = b.recv() {
                    good &= identify(&message) == Some(next);
                    next += 1;
                }
                b.maintain().unwrap();
            });
            assert!(good, "spoiled or out of order near {next}");
            held += info.bytes_current;
            if next == 0 {
                most = most.max(held);
            }
        }
        assert_eq!(next, 200);
        assert!((32 << 10..160 << 10).contains(&most), "{most} bytes for a window of 64 KiB");
    }

    a_million_calls_with_nothing_due_send_nothing(link(|_| {}), Config::default()) |pair| {
        pair.run(SECS(1));
        let before = pair.a.endpoint.stats().datagrams_sent;
        for _ in 0..1_000_000 {
            pair.a.endpoint.maintain().unwrap();
        }
        assert_eq!(pair.a.endpoint.stats().datagrams_sent, before);
    }

    an_idle_session_sends_a_packet_a_period_and_a_killed_peer_times_out(
        link(|_| {}), config(|config| (config.idle_timeout, config.keep_alive) = (SECS(9), Some(SECS(3))))
    ) |pair| {
        pair.run(SECS(3));
        let sent = |pair: &Pair<S>| pair.a.endpoint.stats().datagrams_sent + pair.b.endpoint.stats().datagrams_sent;
        let before = sent(&pair);
        pair.run(SECS(300));
        let packets = sent(&pair) - before;
        // A hundred periods; each end may take one, each is answered.
        assert!((150..=420).contains(&packets), "{packets} in a hundred periods");
        assert!(pair.a.endpoint.is_connected() && pair.b.endpoint.is_connected());
        // Killed: it sends nothing any more, and what comes is refused by nobody.
        pair.net.block(there(), here());
        let began = pair.net.now();
        assert!(pair.run_until(SECS(60), |a, _| a.closed.is_some()));
        assert_eq!(pair.a.closed, Some(CloseReason::TimedOut));
        let took = pair.net.now() - began;
        assert!((SECS(5)..=SECS(10)).contains(&took), "{took:?}");
    }

    a_loss_is_repaired_within_three_round_trips(link(|link| link.delay = MS(25)), Config::default()) |pair| {
        for id in 0..40 {
            say(&mut pair.a, Guarantee::Delivery, &payload(id, 40));
            pair.run(MS(10));
        }
        pair.run(SECS(1));
        pair.b.heard.clear();
        let mut repairs = Vec::new();
        for round in 0..60_u64 {
            // Traffic at 60 Hz, one message in eight lost.
            let began = pair.net.now();
            if round % 2 == 0 {
                say_late(&mut pair, Guarantee::Delivery, &payload(round, 40));
                for other in 0..7 {
                    pair.run(MS(16));
                    say(&mut pair.a, Guarantee::None, &[other]);
                }
            } else {
                // Nothing follows: the tail.
                say_late(&mut pair, Guarantee::Delivery, &payload(round, 40));
            }
            let here = |b: &End<S>| b.heard_as(Guarantee::Delivery).len() as u64 == round + 1;
            assert!(pair.run_until(SECS(3), |_, b| here(b)), "round {round}");
            repairs.push(pair.net.now() - began);
            pair.run(MS(300));
        }
        repairs.sort_unstable();
        assert!(repairs[30] < MS(150), "median {:?}, worst {:?}", repairs[30], repairs[59]);
    }

    nothing_is_released_before_it_arrived(
        link(|link| (link.loss, link.reorder, link.reorder_delay) = (0.25, 0.1, MS(30))), Config::default()
    ) |pair| {
        // Members of one set are heard on arrival, so what was heard is what arrived.
        pair.a.endpoint.open_set(LaneId(0)).unwrap();
        for id in 0..2_000_usize {
            let len = if id % 50 == 0 { 3_000 } else { 20 };
            pair.a.endpoint.send_payload(Guarantee::Delivery, &payload(id as u64, len)).unwrap();
        }
        let done = pair.run_until(SECS(60), |a, b| {
            let released = 2_000 - a.endpoint.queued_messages();
            assert!(released <= b.heard.len(), "{released} released, {} arrived", b.heard.len());
            released == 2_000
        });
        assert!(done);
    }

    // It counts datagrams of one flush, which a rate would spread over several.
    a_thousand_small_messages_leave_in_twenty_datagrams(link(|_| {}), config(|config| config.rate = Rate::Off)) |pair| {
        let before = pair.a.endpoint.stats().datagrams_sent;
        for id in 0..1_000 {
            pair.a.endpoint.send_payload(Guarantee::Delivery, &payload(id, 20)).unwrap();
        }
        pair.a.endpoint.flush().unwrap();
        let took = pair.a.endpoint.stats().datagrams_sent - before;
        assert!(took <= 20, "{took} datagrams");
        // Nothing waits for a timer: one flight later they are all there.
        pair.run(MS(20));
        pair.b.step();
        assert_eq!(pair.b.heard.len(), 1_000);
    }
}

/// Half-written bytes when a set begins: refused, thrown away, or taken along.
#[test]
fn half_written_bytes_meet_a_new_set_as_configured() {
    for (policy, want) in [
        (NewSetUnsent::Error, None),
        (NewSetUnsent::Clear, Some(&b"rest"[..])),
        (NewSetUnsent::IntoSet, Some(b"half rest")),
    ] {
        let mut pair = Pair::sealed(3, link(|_| {}), &config(|config| config.new_set_unsent = policy));
        pair.connect();
        pair.a.endpoint.write_all(b"half ").unwrap();
        let filled = pair.a.endpoint.as_set(|set| {
            set.write_all(b"rest").unwrap();
            set.send_written(Guarantee::Delivery)
        });
        if want.is_none() {
            assert_eq!(filled, Err(SendError::Unsent { len: 5 }));
            pair.a.endpoint.send_written(Guarantee::Delivery).unwrap();
        }
        pair.run(SECS(1));
        assert_eq!(heard(&pair.b), [want.unwrap_or(b"half ")], "{policy:?}");
    }
}

// ---- configuration and mismatches ----

type Change = fn(&mut Config);

const BAD: &[(&str, Change)] = &[
    ("app_id", |c| c.app_id = vec![0; 33]),
    ("max_datagram_bytes", |c| c.max_datagram_bytes = 511),
    ("max_datagram_bytes", |c| c.max_datagram_bytes = 65_508),
    ("max_datagram_bytes", |c| c.max_datagram_bytes = 0),
    ("handshake_bytes", |c| c.handshake_bytes = 511),
    ("handshake_bytes", |c| c.handshake_bytes = 1_453),
    ("max_message_bytes", |c| c.max_message_bytes = 0),
    ("max_message_bytes", |c| c.max_message_bytes = (16 << 20) + 1),
    ("max_unreliable_bytes", |c| c.max_unreliable_bytes = 0),
    ("max_unreliable_bytes", |c| c.max_unreliable_bytes = (1 << 20) + 1),
    ("max_fragments", |c| c.max_fragments = 0),
    ("send_queue_bytes", |c| c.send_queue_bytes = (1 << 20) + 63),
    ("send_queue_bytes", |c| c.send_queue_bytes = usize::MAX),
    ("send_queue_messages", |c| c.send_queue_messages = 0),
    ("send_queue_messages", |c| c.send_queue_messages = 1_000_001),
    ("receive_window_bytes", |c| c.receive_window_bytes = (1 << 20) + 63),
    ("receive_window_bytes", |c| c.receive_window_bytes = usize::MAX),
    ("unreliable_memory_bytes", |c| c.unreliable_memory_bytes = (1 << 16) + 63),
    ("unreliable_memory_bytes", |c| c.unreliable_memory_bytes = usize::MAX),
    ("flight_bytes", |c| c.flight_bytes = 4_095),
    ("flight_bytes", |c| c.flight_bytes = (1 << 30) + 1),
    ("idle_timeout", |c| c.idle_timeout = MS(999)),
    ("idle_timeout", |c| c.idle_timeout = Duration::MAX),
    ("keep_alive", |c| c.keep_alive = Some(MS(99))),
    ("keep_alive", |c| c.keep_alive = Some(SECS(30))),
    ("initial_rtt", |c| c.initial_rtt = Duration::ZERO),
    ("initial_rtt", |c| c.initial_rtt = SECS(11)),
    ("max_pto", |c| c.max_pto = MS(49)),
    ("max_pto", |c| c.max_pto = Duration::MAX),
    ("ack_delay", |c| c.ack_delay = MS(26)),
    ("attempt_timeout", |c| c.attempt_timeout = MS(999)),
    ("attempt_timeout", |c| c.attempt_timeout = SECS(61)),
    ("connect_timeout", |c| c.connect_timeout = SECS(11)),
    ("connect_timeout", |c| c.connect_timeout = SECS(601)),
    ("ratchet_packets", |c| c.ratchet_packets = 15),
    ("ratchet_packets", |c| c.ratchet_packets = (1 << 28) + 1),
    ("ratchet_interval", |c| c.ratchet_interval = MS(999)),
    ("ratchet_interval", |c| c.ratchet_interval = Duration::MAX),
    ("aead_failure_limit", |c| c.aead_failure_limit = 0),
    ("aead_failure_limit", |c| c.aead_failure_limit = (1 << 36) + 1),
    ("half_open", |c| c.half_open = 0),
    ("half_open", |c| c.half_open = 17),
    ("handshake_dh_per_second", |c| c.handshake_dh_per_second = 3),
    ("handshake_dh_per_second", |c| c.handshake_dh_per_second = 100_001),
    ("padding", |c| c.padding = Padding::Bucket(0)),
    ("padding", |c| c.padding = Padding::Bucket(1_025)),
    ("padding", |c| c.padding = Padding::ToSize(0)),
    ("padding", |c| c.padding = Padding::ToSize(1_453)),
    ("rate", |c| c.rate = Rate::Fixed(999)),
];

#[test]
fn every_field_out_of_range_is_named() {
    let keys = keys(1);
    for (number, (name, change)) in BAD.iter().enumerate() {
        let bad = config(change);
        let plain = Endpoint::plain(memory_pair().0, bad.clone()).unwrap_err();
        let sealed =
            SealedEndpoint::paired(memory_pair().0, &keys[0], keys[1].public_key(), bad).unwrap_err();
        for error in [plain, sealed] {
            let StartError::Config(inner) = &error else { panic!("case {number}, {name}: {error:?}") };
            assert_eq!(inner.field, *name, "case {number}");
            assert!(error.to_string().contains(name) && !(inner.min..=inner.max).contains(&inner.given));
        }
    }
    // Every field of `Config` but the one that has no wrong values is in the table.
    let shown = format!("{:#?}", Config::default());
    let fields = shown.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    for field in fields.filter_map(|line| line.trim().split_once(':')).map(|(name, _)| name) {
        assert!(
            field == "new_set_unsent" || BAD.iter().any(|(name, _)| *name == field),
            "{field} is missing"
        );
    }
}

#[test]
fn the_edges_of_every_range_are_good() {
    let good: &[Change] = &[
        |c| c.app_id = vec![0; 32],
        |c| (c.max_datagram_bytes, c.handshake_bytes) = (512, 512),
        |c| (c.max_datagram_bytes, c.handshake_bytes) = (65_507, 65_507),
        |c| (c.max_message_bytes, c.max_unreliable_bytes, c.max_fragments) = (1, 1, 1),
        |c| c.flight_bytes = 4_096,
        |c| (c.idle_timeout, c.keep_alive) = (SECS(1), Some(MS(100))),
        |c| (c.initial_rtt, c.max_pto, c.ack_delay) = (MS(1), MS(50), Duration::ZERO),
        |c| (c.ratchet_packets, c.ratchet_interval) = (16, SECS(1)),
        |c| (c.half_open, c.handshake_dh_per_second) = (1, 4),
        |c| c.padding = Padding::Bucket(1_024),
        |c| c.padding = Padding::ToSize(1_200),
        |c| (c.send_queue_bytes, c.send_queue_messages) = ((1 << 20) + 64, 1),
        |c| (c.receive_window_bytes, c.unreliable_memory_bytes) = ((1 << 20) + 64, (1 << 16) + 64),
    ];
    for (number, change) in good.iter().enumerate() {
        let config = config(change);
        config.check().unwrap();
        let mut pair = Pair::sealed(number as u64, link(|link| link.loss = 0.05), &config);
        pair.connect();
        for _ in 0..20 {
            say(&mut pair.a, Guarantee::Delivery, b"x");
            assert!(pair.run_until(SECS(10), |a, _| a.endpoint.queued_messages() == 0), "case {number}");
        }
        assert_eq!(pair.b.heard.len(), 20, "case {number}");
    }
}

#[test]
fn a_plain_and_a_sealed_end_both_time_out_with_the_right_hint() {
    for dials in [[true, false], [false, true], [true, true]] {
        let net = Net::seed(4);
        net.set_default(link(|_| {}));
        let keys = keys(4);
        let credentials = Credentials::paired(&keys[0], keys[1].public_key()).unwrap();
        let mut sealed = sealed_end(&net, here(), there(), credentials, &Config::default());
        let mut plain = plain_end(&net, there(), here(), &Config::default());
        for end in [&mut sealed.endpoint as &mut dyn Connects, &mut plain.endpoint] {
            end.dial(dials[usize::from(end.is_plain())]);
        }
        while net.elapsed() < SECS(61) {
            sealed.step();
            plain.step();
            net.advance(MS(50));
        }
        // Who only waited has heard from nobody that it could have a session with, and goes on waiting.
        let expected = |dialled: bool, hint| dialled.then_some(CloseReason::HandshakeTimeout(hint));
        // A hint can come only from a peer that says something.
        let sealed_hint = dials[1].then_some(Hint::PeerSeemsPlain);
        let plain_hint = dials[0].then_some(Hint::PeerSeemsSealed);
        assert_eq!(sealed.closed, expected(dials[0], sealed_hint), "{dials:?}");
        assert_eq!(plain.closed, expected(dials[1], plain_hint), "{dials:?}");
        assert!(!sealed.endpoint.is_connected() && !plain.endpoint.is_connected());
        assert!(sealed.heard.is_empty() && plain.heard.is_empty());
        if !dials[1] {
            assert_eq!(plain.endpoint.stats().datagrams_sent, 0, "a plain end answers no stranger");
        }
        if !dials[0] {
            assert_eq!(sealed.endpoint.stats().datagrams_sent, 0, "a sealed end answers no stranger");
        }
    }
}

/// The little that the two kinds of endpoint need to share above.
trait Connects {
    fn dial(&mut self, really: bool);
    fn is_plain(&self) -> bool;
}

impl<S: Session> Connects for Endpoint<sealgram::sim::Connected, S> {
    fn dial(&mut self, really: bool) {
        if really {
            self.connect().unwrap();
        }
    }

    fn is_plain(&self) -> bool {
        !self.stats().sealed
    }
}

/// Whatever differs, it is a timeout like any other, and who was dialled has not said a byte.
#[test]
fn whatever_differs_the_dial_times_out_and_nobody_answered() {
    let [own, peer] = keys(5);
    let [other, _] = keys(6);
    let psk = |byte| Psk::from_bytes([byte; 32]);
    let paired = |own: &SecretKey, peer: &SecretKey| Credentials::paired(own, peer.public_key()).unwrap();
    let with_psk = |byte| Credentials::paired_psk(&peer, own.public_key(), &psk(byte)).unwrap();
    let invite = |byte| Credentials::invite(&Invite::from_bytes([byte; 32]));
    let app = |config: &mut Config| config.app_id = b"another".to_vec();
    let same = |_: &mut Config| {};
    type Change<'a> = &'a dyn Fn(&mut Config);
    let cases: [(&str, Credentials, Credentials, Change<'_>, bool); 7] = [
        ("key of the peer", paired(&own, &other), paired(&peer, &own), &same, false),
        ("own key", paired(&other, &peer), paired(&peer, &own), &same, false),
        ("invite", invite(1), invite(2), &same, false),
        ("profile", paired(&own, &peer), invite(1), &same, false),
        ("profile with psk", paired(&own, &peer), with_psk(1), &same, false),
        ("app id", paired(&own, &peer), paired(&peer, &own), &app, false),
        // The psk comes in with the second message: the answer is given, and fails to read.
        ("psk", Credentials::paired_psk(&own, peer.public_key(), &psk(2)).unwrap(), with_psk(1), &same, true),
    ];
    for (name, dials, answers, change, answered) in cases {
        let net = Net::seed(5);
        net.set_default(link(|_| {}));
        let mut a = sealed_end(&net, here(), there(), dials, &Config::default());
        let mut b = sealed_end(&net, there(), here(), answers, &config(change));
        a.endpoint.send_payload(Guarantee::Delivery, b"secret").unwrap();
        a.endpoint.connect().unwrap();
        while net.elapsed() < SECS(35) {
            a.step();
            b.step();
            net.advance(MS(50));
        }
        assert_eq!(a.closed, Some(CloseReason::HandshakeTimeout(None)), "{name}");
        assert!(
            matches!(&a.events[..], [Event::Closed { undelivered, .. }] if undelivered.len() == 1),
            "{name}"
        );
        assert!(b.events.is_empty() && b.heard.is_empty() && b.closed.is_none(), "{name}");
        assert_eq!(b.endpoint.stats().datagrams_sent > 0, answered, "{name}");
    }
    // An end that trusts nobody answers nobody.
    let nobody = Credentials::server_auth(&peer, Trust::Only(vec![]));
    let client = Credentials::client_auth(&own, peer.public_key()).unwrap();
    let mut pair = Pair::with_credentials(7, link(|_| {}), &Config::default(), [client, nobody]);
    pair.a.endpoint.connect().unwrap();
    pair.run(SECS(31));
    assert_eq!(pair.a.closed, Some(CloseReason::HandshakeTimeout(None)));
    assert_eq!(pair.b.endpoint.stats().datagrams_sent, 0);
}

#[test]
fn the_library_starts_no_thread_and_has_no_unsafe_code() {
    fn look(path: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                look(&entry, found);
            } else {
                let text = std::fs::read_to_string(&entry).unwrap();
                let bad = ["thread::spawn", "thread::Builder", "unsafe {", "unsafe fn", "unsafe impl"];
                found.extend(
                    bad.iter().filter(|bad| text.contains(**bad)).map(|bad| format!("{bad} in {entry:?}")),
                );
            }
        }
    }
    let mut found = Vec::new();
    look(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    // The simulated network's own test hands its handles to other threads.
    found.retain(|line| !line.ends_with("sim/tests.rs\""));
    assert_eq!(found, Vec::<String>::new());
}

// ---- any calls in any order ----

/// One end of a random game: what it wrote, and which set its next message belongs to.
#[derive(Default)]
struct Player {
    log: Vec<Sent>,
    written: Vec<u8>,
    set: u64,
    open: bool,
}

const PROMISES: [(Promise, Guarantee); 3] = [
    (Promise::None, Guarantee::None),
    (Promise::Order, Guarantee::Order),
    (Promise::Delivery, Guarantee::Delivery),
];

fn small(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

impl Player {
    fn sent(&mut self, promise: Promise, id: u64) {
        self.log.push(Sent { promise, lane: 0, set: self.set, id });
        if !self.open && promise != Promise::None {
            self.set += 1;
        }
    }

    /// One call of the endpoint, chosen by the dice; nothing it does may touch the half-written bytes.
    fn call<S: Session>(&mut self, end: &mut End<S>, dice: &mut dyn FnMut(u64) -> u64, next: &mut u64) {
        let (promise, guarantee) = PROMISES[small(dice(3))];
        let len = 8 + small(if dice(20) == 0 { dice(5_000) } else { dice(150) });
        match dice(12) {
            0..3 if self.written.is_empty() => {
                *next += 1;
                if end.endpoint.send_payload(guarantee, &payload(*next, len)).is_ok() {
                    self.sent(promise, *next);
                }
            }
            0..5 => {
                // The pieces of a payload that is as long as it turns out to be.
                let piece = 1 + small(dice(200));
                if self.written.is_empty() {
                    *next += 1;
                    self.written = payload(*next, len);
                    end.endpoint.write_all(&self.written.clone()[..piece.min(len)]).unwrap();
                    let rest = self.written[piece.min(len)..].to_vec();
                    end.endpoint.recv_into(&mut end.heard);
                    end.endpoint.write_all(&rest).unwrap();
                }
            }
            5 if !self.written.is_empty() => {
                if end.endpoint.send_written(guarantee).is_ok() {
                    let id = identify(&std::mem::take(&mut self.written)).unwrap();
                    self.sent(promise, id);
                }
            }
            6 => {
                end.endpoint.clear_written();
                self.written.clear();
            }
            7 => end.endpoint.recv_into(&mut end.heard),
            8 => drop(end.endpoint.maintain().unwrap()),
            9 => end.endpoint.flush().unwrap(),
            10 if self.open => {
                end.endpoint.close_set(LaneId(0)).unwrap();
                (self.open, self.set) = (false, self.set + 1);
            }
            10 => {
                let opened = end.endpoint.open_set(LaneId(0));
                self.open = self.written.is_empty();
                assert_eq!(opened.is_ok(), self.open, "half-written bytes stand in a new set's way");
            }
            _ => {
                end.step();
            }
        }
    }
}

/// Receives one message as an application would that has other things to do.
trait RecvInto {
    fn recv_into(&mut self, heard: &mut Vec<(Guarantee, Vec<u8>)>);
}

impl<S: Session> RecvInto for Endpoint<sealgram::sim::Connected, S> {
    fn recv_into(&mut self, heard: &mut Vec<(Guarantee, Vec<u8>)>) {
        if let Some(message) = self.recv().unwrap() {
            heard.push((message.guarantee(), message.to_vec()));
        }
    }
}

fn interleave<S: Session>(mut pair: Pair<S>, calls: usize) {
    let seed = pair.seed;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut dice = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    pair.connect();
    let mut players = [Player::default(), Player::default()];
    let mut next = 0;
    for _ in 0..calls {
        players[0].call(&mut pair.a, &mut dice, &mut next);
        players[1].call(&mut pair.b, &mut dice, &mut next);
        if dice(4) == 0 {
            pair.net.advance(Duration::from_micros(dice(20_000)));
        }
    }
    for (player, end) in players.iter_mut().zip([&mut pair.a, &mut pair.b]) {
        end.endpoint.clear_written();
        if player.open {
            end.endpoint.close_set(LaneId(0)).unwrap();
        }
    }
    let empty = |end: &End<S>| end.endpoint.queued_messages() == 0;
    assert!(pair.run_until(SECS(60), |a, b| empty(a) && empty(b)), "seed {seed}");
    pair.run(SECS(3));
    for (player, end) in players.iter().zip([&pair.b, &pair.a]) {
        let yielded: Vec<_> = end
            .heard
            .iter()
            .map(|(guarantee, bytes)| {
                let id = identify(bytes).unwrap_or_else(|| panic!("seed {seed}: a message was spoiled"));
                let (promise, _) = PROMISES.iter().find(|(_, other)| other == guarantee).unwrap();
                Yielded { promise: *promise, lane: 0, id }
            })
            .collect();
        let dry = contract::End::Dry { skipped: Vec::new() };
        assert_kept(&player.log, &yielded, &dry, &format!("seed {seed}"));
    }
}

#[test]
fn any_interleaving_of_calls_keeps_contents_and_contract() {
    for seed in 0..60 {
        let link = link(|link| {
            link.loss = (seed % 4) as f64 * 0.08;
            link.duplicate = (seed % 3) as f64 * 0.05;
            (link.reorder, link.reorder_delay) = ((seed % 5) as f64 * 0.05, MS(10));
        });
        let config = config(|config| {
            config.unreliable_memory_bytes = 8 << 20;
            if seed % 2 == 0 {
                (config.max_message_bytes, config.max_unreliable_bytes) = (8 << 10, 8 << 10);
                (config.receive_window_bytes, config.send_queue_bytes) = (16 << 10, 64 << 10);
            }
        });
        interleave(Pair::sealed(seed, link.clone(), &config), 500);
        interleave(Pair::plain(seed, link, &config), 500);
    }
}
