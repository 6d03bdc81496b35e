//! A peer that is dead, or has the keys and keeps to no promise: what it can cost.

use super::*;

#[test]
fn a_dead_peer_costs_bounded_memory_and_the_sender_is_told() {
    let config = Config { send_queue_bytes: 2 << 20, ..Config::default() };
    let mut pair = Pair::new(1, CLEAN, &config);
    pair.blocked = true;
    let mut taken: Vec<MessageId> = Vec::new();
    let full = loop {
        match pair.ends[0].send(0, Guarantee::Delivery, &[7; 1_000]) {
            Ok(id) => taken.push(id),
            Err(error) => break error,
        }
        pair.flush(0);
    };
    assert!(matches!(full, SendError::Full { queued_bytes, .. } if queued_bytes <= 2 << 20));
    pair.run(Duration::from_secs(5));
    assert!(pair.ends[0].queued_bytes() <= 2 << 20);
    assert_eq!(pair.ends[0].end_session(), taken);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_a_violation() {
    use crate::{
        error::Violation,
        wire::{ack, codec::Writer},
    };
    let mut pair = Pair::new(1, CLEAN, &Config::default());
    pair.ends[0].send(0, Guarantee::Delivery, b"x").unwrap();
    pair.flush(0);
    let mut payload = [0; 64];
    let mut writer = Writer::new(&mut payload);
    ack::encode(&mut writer, 0, std::iter::once(0..=9), 1).unwrap();
    let len = writer.written();
    let verdict = pair.ends[0].receive(pair.now, 0, &payload[..len], 0);
    assert_eq!(verdict, Err(Violation::ImpossibleAck));
    assert_eq!(pair.ends[0].queued_messages(), 1, "nothing was let go");
    // The same for a number that was left out on purpose.
    pair.ends[0].skip(pair.now, 1);
    let mut writer = Writer::new(&mut payload);
    ack::encode(&mut writer, 0, std::iter::once(0..=1), 1).unwrap();
    let len = writer.written();
    assert_eq!(pair.ends[0].receive(pair.now, 1, &payload[..len], 0), Err(Violation::ImpossibleAck));
}

#[test]
fn many_challenges_in_one_packet_get_one_answer() {
    use crate::wire::frame::{Frame, Frames};
    let mut pair = Pair::new(13, CLEAN, &Config::default());
    pair.run(MS * 50);
    let challenges = [&[0x09][..], &[7; 8]].concat().repeat(100);
    let received = pair.ends[0].receive(pair.now, 1_000, &challenges, 0).unwrap();
    assert_eq!((received.challenge, received.probing), (Some([7; 8]), true));
    pair.ends[0].answer_challenge([7; 8]);
    let mut room = [0; 1_180];
    let len = pair.ends[0].transmit(pair.now, 1_000, &mut room);
    let answers = Frames::new(&room[..len]).filter(|frame| matches!(frame, Ok(Frame::PathResponse(_))));
    assert_eq!(answers.count(), 1);
    let says_where = Frames::new(&room[..len]).flatten().any(|frame| !frame.is_probing());
    assert!(says_where, "an answer on the path in use must tell that the peer is there");
}

#[test]
fn what_was_queued_for_a_larger_peer_is_refused_by_name() {
    let mut end = Connection::new(&std::sync::Arc::default());
    let fits = end.send(0, Guarantee::Delivery, &[1; 500]).unwrap();
    let long = end.send(0, Guarantee::Delivery, &[2; 1_001]).unwrap();
    let loose = end.send(0, Guarantee::None, &[3; 1_001]).unwrap();
    let negotiated = Negotiated {
        idle_timeout: Duration::from_secs(30),
        max_datagram: 1_200,
        max_fragments: u16::MAX,
        max_message: 1_000,
        overhead: 20,
    };
    end.start(origin(), &negotiated, 0);
    assert_eq!(end.take_refused(), Some((vec![long, loose], 1_000)));
    assert_eq!(end.take_refused(), None);
    assert_eq!(end.end_session(), [fits]);
    assert!(end.send(0, Guarantee::Delivery, &[2; 1_001]).is_ok(), "the next peer may take more");
}

#[test]
fn a_peer_that_never_acknowledges_does_not_fill_our_memory() {
    let config = Config::default();
    let mut pair = Pair::new(1, CLEAN, &config);
    let (now, mut number, mut ours, mut most) = (pair.now, 0, 0, (0, 0));
    let end = &mut pair.ends[0];
    for step in 0..200_000_u32 {
        let now = now + MS * (step / 10);
        end.handle_timeout(now);
        hear(end, now, &mut number, &[Frame::PathChallenge([7; 8])]);
        end.flush();
        while end.transmit(now, ours, &mut [0; 1_180]) > 0 {
            ours += 1;
        }
        most = most.max(end.remembered());
    }
    assert!(ours > 100_000, "every challenge was answered: {ours}");
    assert!(most.0 <= 4_096 + config.flight_bytes / 16, "{most:?} of {ours} packets");
    assert!(most.1 <= most.0 * 2, "{most:?}");
}

/// Numbers at which arithmetic breaks, and some near what is in use.
fn edge(dice: &mut Dice, near: u64) -> u64 {
    let edges = [0, 1, 63, 64, 127, 128, 1_023, 65_535, 65_536, 1 << 32, 1 << 61, MAX_NUMBER - 1, MAX_NUMBER];
    let pick = usize::try_from(dice.next() % 40).unwrap();
    edges.get(pick).copied().unwrap_or(near.saturating_add(dice.next() % 8).saturating_sub(4)).min(MAX_NUMBER)
}

fn any_message<'a>(dice: &mut Dice, near: &mut u64, bytes: &'a [u8]) -> Frame<'a> {
    let index = edge(dice, *near);
    *near = if dice.chance(300) { near.saturating_add(1) } else { *near };
    let base = if dice.chance(500) { index } else { edge(dice, *near).min(index) };
    let set = edge(dice, *near);
    let numbers = match dice.next() % 3 {
        0 => Numbers::None,
        1 => Numbers::Order { set, base },
        _ => Numbers::Delivery { set, base, index },
    };
    let reliable = matches!(numbers, Numbers::Delivery { .. });
    let total = [2, 129, 300, 5_000, 65_536, 1 << 20, 16 << 20][usize::try_from(dice.next() % 7).unwrap()];
    let cut = dice.chance(400);
    let part = if cut {
        let last = total - 1;
        let offset = [0, 128, 256, last, last / 2][usize::try_from(dice.next() % 5).unwrap()];
        Part::Fragment { offset: offset.min(last), total }
    } else {
        Part::Whole
    };
    let left = match part {
        Part::Fragment { offset, total } => (total - offset) as usize,
        Part::Whole => usize::try_from(dice.next() % 200).unwrap(),
    };
    let lane = u8::try_from(if dice.chance(800) { dice.next() % 2 } else { dice.next() % 256 }).unwrap();
    Frame::Message(MessageFrame {
        lane,
        numbers,
        id: (!reliable && (cut || dice.chance(300))).then(|| edge(dice, index)),
        life: dice.chance(100).then(|| u32::try_from(dice.next()).unwrap_or(u32::MAX)),
        part,
        bytes: &bytes[..left.min(if dice.chance(500) { 128 } else { 200 })],
    })
}

/// Everything that is well formed, whether it makes sense or not, from a peer with the keys.
#[test]
fn a_peer_may_say_anything_and_neither_memory_nor_arithmetic_gives_way() {
    let bytes = [5; 256];
    let mut taken = 0;
    for seed in 0..20 {
        let config = Config { receive_window_bytes: 1 << 21, ..Config::default() };
        let mut pair = Pair::new(seed, CLEAN, &config);
        let (mut now, mut ours, mut number, mut near) = (pair.now, 0, 0, 0);
        let dice = &mut Dice(seed);
        let end = &mut pair.ends[0];
        for _ in 0..10_000 {
            now += MS * u32::try_from(dice.next() % 20).unwrap();
            let mut payload = [0; 1_180];
            let mut writer = Writer::new(&mut payload);
            let mut context = Context::default();
            let mut acked = false;
            for _ in 0..1 + dice.next() % 12 {
                let (lane, index) = (u8::try_from(dice.next() % 3).unwrap(), edge(dice, near));
                let frame = match dice.next() % 12 {
                    0 if !acked => {
                        acked = true;
                        let largest =
                            if dice.chance(950) { dice.next() % (ours + 1) } else { edge(dice, ours) };
                        let low = largest.saturating_sub(dice.next() % 50);
                        let rest =
                            low.checked_sub(2 + dice.next() % 9).map(|high| high.saturating_sub(3)..=high);
                        let ranges = [Some(low..=largest), rest].into_iter().flatten();
                        let _ = ack::encode(&mut writer, edge(dice, 9), ranges, 64);
                        continue;
                    }
                    1 => Frame::Window { lane: None, limit: edge(dice, 1 << 20) },
                    2 => Frame::Skip { lane, index, charge: edge(dice, 1 << 20) },
                    3 => Frame::Have { lane, index },
                    4 => Frame::Skipped { lane, index },
                    5 => Frame::PathChallenge([1; 8]),
                    6 => Frame::Confirm { cid: None, ticket: &[] },
                    _ => any_message(dice, &mut near, &bytes),
                };
                let _ = frame::encode(&frame, &mut context, &mut writer);
            }
            let written = writer.written();
            taken += u32::from(end.receive(now, number, &payload[..written], 0).is_ok());
            number = if dice.chance(990) {
                number + 1 + dice.next() % 3
            } else {
                edge(dice, number).max(number + 1)
            };
            while let Some(ready) = end.pop() {
                if let Place::Stored(handle) = ready.place {
                    end.release(handle);
                }
            }
            let guarantee = if dice.chance(500) { Guarantee::Delivery } else { Guarantee::Order };
            let _ = end.send(lane_of(dice), guarantee, &bytes[..usize::try_from(dice.next() % 256).unwrap()]);
            end.handle_timeout(now);
            end.flush();
            while end.transmit(now, ours, &mut [0; 1_180]) > 0 {
                ours += 1;
            }
            assert!(
                end.held_bytes() <= config.receive_window_bytes + config.unreliable_memory_bytes,
                "{seed}"
            );
            assert!(end.remembered().0 <= 8_192, "{seed}");
            if number > MAX_NUMBER - 10 {
                break;
            }
        }
    }
    assert!(taken > 5_000, "most of it is no violation: {taken}");
}

fn lane_of(dice: &mut Dice) -> u8 {
    u8::try_from(dice.next() % 3).unwrap()
}
