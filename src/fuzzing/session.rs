//! One session behind its cipher: payloads that a malicious peer sealed, and fragments that never become a message.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{PacketPair, script::Script, start};
use crate::{
    config::Config,
    connection::{Connection, Negotiated},
    delivery::{
        Guarantee,
        recv::{Place, RecvLimits, RecvQueue},
    },
    wire::{
        codec::Writer,
        message::{Context, MessageFrame, Numbers, Part, encode as encode_message},
    },
};

/// Takes `data` for a script of packets that a malicious peer seals with the real keys: behind the cipher nothing may
/// panic and nothing may grow beyond its bound.
///
/// Each step is `op u8`: below 0xe0 a packet whose payload are the next bytes (count: `op`, times 4 from 0x80 on), 0xe0
/// and up time, messages of our own and acknowledged packets.
///
/// # Panics
/// When memory passes its bound.
pub fn sealed_frames(data: &[u8]) {
    let mut now = start();
    let config = Config { receive_window_bytes: 64 << 10, unreliable_memory_bytes: 16 << 10, ..small() };
    let (mut evil, mut honest) = PacketPair::two(now);
    let mut connection = Connection::new(&Arc::new(config.clone()));
    connection.start(now, &negotiated(&config), 0);
    let (mut rest, mut violations) = (data, 0);
    let mut outgoing = [0; 1_200];
    while let Some((&op, after)) = rest.split_first() {
        rest = after;
        match op {
            0..0xe0 => {
                let len = if op < 0x80 { usize::from(op) } else { usize::from(op - 0x7f) * 4 };
                let (payload, after) = rest.split_at(len.min(rest.len()));
                rest = after;
                violations += u32::from(!deliver(&mut evil, &mut honest, &mut connection, now, payload));
            }
            0xe0..0xf0 => {
                now += Duration::from_millis(1 << (op - 0xe0));
                connection.handle_timeout(now);
            }
            0xf0..0xf8 => {
                let guarantee = [Guarantee::None, Guarantee::Order, Guarantee::Delivery]
                    .get(usize::from(op % 3))
                    .copied()
                    .unwrap_or(Guarantee::Delivery);
                // A full queue is an answer, not a fault.
                let bytes = data.get(..usize::from(op) * 8).unwrap_or(data);
                let (Ok(_) | Err(_)) = connection.send(0, guarantee, bytes);
            }
            _ => {
                connection.flush();
                for _ in 0..4 {
                    let number = honest.channel.seal.next_number();
                    let (_, room) = outgoing.split_at_mut(4);
                    let len = connection.transmit(now, number, room.get_mut(..1_180).unwrap_or_default());
                    if len == 0 {
                        break;
                    }
                    assert!(honest.seal(outgoing.get_mut(..len + 20).unwrap_or_default()));
                }
            }
        }
        assert!(
            connection.held_bytes() <= (64 << 10) + (16 << 10) + 4_096,
            "{} bytes held",
            connection.held_bytes()
        );
        if violations >= 8 {
            break;
        }
    }
}

/// Seals a payload as the peer, opens it here and lets the connection have it. False for a violation.
fn deliver(
    evil: &mut PacketPair,
    honest: &mut PacketPair,
    connection: &mut Connection,
    now: Instant,
    payload: &[u8],
) -> bool {
    let mut packet = [&[0; 4], payload, &[0; 16]].concat();
    if payload.is_empty() || !evil.seal(&mut packet) {
        return true;
    }
    let opened = honest.channel.open.open(now, Duration::from_secs(1), &[], &mut packet);
    let Ok(opened) = opened else { unreachable!("what the peer sealed opens") };
    let (number, payload) = (opened.number, opened.payload.to_vec());
    let taken = connection.receive(now, number, &payload, 4).is_ok();
    while let Some(ready) = connection.pop() {
        match ready.place {
            Place::Datagram { start, len } => assert!(start + len <= payload.len() + 4),
            Place::Stored(handle) => {
                assert!(connection.stored(handle).len() <= 1 << 20);
                connection.release(handle);
            }
        }
    }
    taken
}

pub(super) fn small() -> Config {
    Config {
        max_message_bytes: 32 << 10,
        max_unreliable_bytes: 8 << 10,
        send_queue_bytes: 256 << 10,
        send_queue_messages: 1_024,
        ..Config::default()
    }
}

pub(super) fn negotiated(config: &Config) -> Negotiated {
    Negotiated {
        idle_timeout: config.idle_timeout,
        max_datagram: config.max_datagram_bytes,
        max_fragments: config.max_fragments,
        max_message: config.max_message_bytes,
        overhead: 20,
    }
}

/// Takes `data` for a script of fragments and whole messages, with any numbers, offsets and totals, of skips, and of time,
/// and hands them to the receiving half by itself.
///
/// Each byte of a message follows from its name and its place, whatever the script cuts out of it: so a message that is
/// yielded with bytes which nobody sent is seen.
///
/// # Panics
/// When memory passes its bound, or what is yielded is not what was sent.
pub fn reassembly(data: &[u8]) {
    let (mut script, mut now) = (Script::new(data), start());
    let limits = RecvLimits {
        window_bytes: 4_096 + 64 * usize::from(script.byte()),
        unreliable_bytes: 2_048 + 16 * usize::from(script.byte()),
        max_message: 4_032,
        max_unreliable: 1_984,
        max_fragments: 24,
    };
    let mut queue = RecvQueue::new(limits);
    let mut buffer = [0; 2_048];
    while let Some(op) = script.next() {
        match op {
            0..0xd0 => {
                insert(&mut queue, now, op, &mut script, &mut buffer);
                yield_all(&mut queue, &buffer, if op & 32 == 0 { usize::MAX } else { 0 });
            }
            0xd0..0xe0 => {
                let (lane, index) = (op & 3, u64::from(script.byte()));
                let (Ok(_) | Err(_)) = queue.skip(now, lane, index, script.u16().into());
                yield_all(&mut queue, &buffer, 1);
            }
            0xe0..0xf0 => {
                now += Duration::from_millis(1 << (op & 15));
                queue.expire(now);
            }
            0xf0..0xf8 => yield_all(&mut queue, &buffer, (op & 7).into()),
            _ => queue.shrink(),
        }
        let (delivery, unreliable) = (queue.delivery_used(), queue.unreliable_used());
        assert!(delivery <= limits.window_bytes, "{delivery} bytes of Delivery held");
        assert!(unreliable <= limits.unreliable_bytes, "{unreliable} bytes of None and Order held");
    }
    // What is here leaves in the end, and takes its charge along.
    yield_all(&mut queue, &buffer, usize::MAX);
    now += Duration::from_secs(600);
    queue.expire(now);
    assert!(queue.deadline().is_none_or(|at| at > now), "a timer that does not run out");
    if queue.is_idle() {
        assert_eq!((queue.delivery_used(), queue.unreliable_used()), (0, 0), "nothing is here");
    }
}

/// The n-th byte of a message with this name.
fn byte_of(name: u64, at: usize) -> u8 {
    let [byte, ..] = (name.wrapping_mul(0x9e37_79b9).wrapping_add(at as u64 * 0x85eb)).to_le_bytes();
    byte | 1
}

/// One message frame of the script. Messages are named by guarantee, lane and number; the name stands in none of them.
fn insert(queue: &mut RecvQueue, now: Instant, op: u8, script: &mut Script<'_>, buffer: &mut [u8]) {
    let (lane, number) = (op & 3, u64::from(script.byte()));
    let (below, len) = (u64::from(script.byte()), script.u16());
    let whole = op & 4 != 0;
    let (numbers, id) = match op >> 3 & 3 {
        0 => (Numbers::None, (!whole || below & 1 != 0).then_some(number)),
        1 => (Numbers::Order { set: number, base: below.min(number) }, (!whole).then_some(number)),
        _ => (Numbers::Delivery { set: number, base: number.saturating_sub(below), index: number }, None),
    };
    let life = (op & 64 != 0).then(|| u32::from(len) / 16);
    // Offsets and totals are near what fits, most often: a fragment is 128 bytes or more, but for the last.
    let total = u32::from(script.byte()) * if op & 128 == 0 { 16 } else { 130 };
    let offset = if whole { 0 } else { u32::from(script.byte()) * 64 };
    let len = if whole { usize::from(len % 2_000) } else { usize::from(len % 512) };
    let name = name(lane, &numbers, id);
    let Some(room) = buffer.get_mut(..len) else { return };
    for (at, byte) in room.iter_mut().enumerate() {
        *byte = byte_of(name, offset as usize + at);
    }
    let part = if whole { Part::Whole } else { Part::Fragment { offset, total } };
    let frame = MessageFrame { lane, numbers, id, life, part, bytes: room };
    // What has no encoding never comes.
    if encode_message(&frame, &mut Context::default(), &mut Writer::new(&mut [0; 2_100])).is_ok() {
        let (Ok(()) | Err(_)) = queue.insert(now, &frame, 0);
    }
}

/// A message of the script: the same numbers are the same message.
fn name(lane: u8, numbers: &Numbers, id: Option<u64>) -> u64 {
    u64::from(lane)
        + 4 * match numbers {
            Numbers::None => 4 * id.unwrap_or(1 << 20),
            Numbers::Order { set, .. } => 4 * set + 1,
            Numbers::Delivery { index, .. } => 4 * index + 2,
        }
}

/// Yields as many messages as that, and all whose bytes are in the buffer: that is used again.
fn yield_all(queue: &mut RecvQueue, buffer: &[u8], most: usize) {
    let mut yielded = 0;
    while yielded < most || queue.has_in_place() {
        let Some(ready) = queue.pop() else { break };
        yielded += 1;
        let bytes = match ready.place {
            Place::Datagram { start, len } => buffer.get(start..start + len).unwrap_or_default(),
            Place::Stored(handle) => queue.bytes(handle),
        };
        // The name is not in the message: it is one of the few that the script can say.
        let known = |name: u64| bytes.iter().enumerate().all(|(at, byte)| *byte == byte_of(name, at));
        let kind = match ready.guarantee {
            Guarantee::None => 0,
            Guarantee::Order => 1,
            Guarantee::Delivery => 2,
        };
        let named = |number: u64| known(u64::from(ready.lane) + 4 * (4 * number + kind));
        assert!((0..256).chain([1 << 20]).any(named), "bytes that nobody sent: {ready:?}");
        if let Place::Stored(handle) = ready.place {
            queue.release(handle);
        }
    }
}
