//! Properties and tables over whole payloads: one encoding per value, both ways. Here: frames that own what they show, and
//! how proptest draws them.

mod one_encoding;
mod refused;
mod written;

use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::{
    MAX_NUMBER, Malformed, NoRoom, ack,
    codec::Writer,
    frame::{self, Frame, Frames},
    message::{Context, MAX_TOTAL, MIN_FRAGMENT, MessageFrame, Numbers, Part, fitting, head_len},
    parity::{MAX_PIECES, ParityFrame},
};

/// A frame that owns what it shows.
#[derive(Clone, Debug)]
enum Owned {
    Padding(usize),
    Ping,
    Ack(u64, Vec<(u64, u64)>),
    Close(u16, Vec<u8>),
    Confirm(Option<[u8; 8]>, Vec<u8>),
    Window(Option<u8>, u64),
    Skip(u8, u64, u64),
    Skipped(u8, u64),
    Have(u8, u64),
    Challenge([u8; 8]),
    Response([u8; 8]),
    NewCid(u64, u64, [u8; 8]),
    Redirect(Vec<u8>),
    Message(u8, Numbers, Option<u64>, Option<u32>, Part, Vec<u8>),
    Parity(u32, u8, Numbers, u64, Option<u32>, Part, Vec<u8>),
}

/// Newest first, from (gap - 1, len - 1) pairs below `largest`; stops at zero.
fn descend(largest: u64, pairs: &[(u64, u64)]) -> Vec<RangeInclusive<u64>> {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for &(gap, len) in pairs {
        let high = match ranges.last() {
            None => Some(largest),
            Some(last) => last.start().checked_sub(gap + 2),
        };
        let Some(high) = high else { break };
        ranges.push(high.saturating_sub(len)..=high);
    }
    ranges
}

impl Owned {
    fn encode(&self, context: &mut Context, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        if let Self::Ack(largest, pairs) = self {
            return ack::encode(writer, 17, descend(*largest, pairs).into_iter(), ack::MAX_RANGES);
        }
        frame::encode(&self.frame(), context, writer)
    }

    fn frame(&self) -> Frame<'_> {
        match self {
            Self::Padding(len) => Frame::Padding { len: *len },
            Self::Ping => Frame::Ping,
            Self::Ack(..) => unreachable!("an ACK is compared by its ranges"),
            Self::Close(code, reason) => Frame::Close { code: *code, reason },
            Self::Confirm(cid, ticket) => Frame::Confirm { cid: *cid, ticket },
            Self::Window(lane, limit) => Frame::Window { lane: *lane, limit: *limit },
            Self::Skip(lane, index, charge) => Frame::Skip { lane: *lane, index: *index, charge: *charge },
            Self::Skipped(lane, index) => Frame::Skipped { lane: *lane, index: *index },
            Self::Have(lane, index) => Frame::Have { lane: *lane, index: *index },
            Self::Challenge(bytes) => Frame::PathChallenge(*bytes),
            Self::Response(bytes) => Frame::PathResponse(*bytes),
            Self::NewCid(sequence, below, cid) => {
                Frame::NewCid { sequence: *sequence, retire_below: *below, cid: *cid }
            }
            Self::Redirect(ticket) => Frame::Redirect { ticket },
            Self::Message(lane, numbers, id, life, part, bytes) => Frame::Message(MessageFrame {
                lane: *lane,
                numbers: *numbers,
                id: *id,
                life: *life,
                part: *part,
                bytes,
            }),
            Self::Parity(step, lane, numbers, id, life, part, bytes) => Frame::Parity(ParityFrame {
                step: *step,
                message: MessageFrame {
                    lane: *lane,
                    numbers: *numbers,
                    id: Some(*id),
                    life: *life,
                    part: *part,
                    bytes,
                },
            }),
        }
    }

    fn assert_is(&self, frame: &Frame<'_>) {
        if let Self::Ack(largest, pairs) = self {
            let Frame::Ack(ack) = frame else { panic!("{frame:?} is no ACK") };
            assert_eq!((ack.largest, ack.delay_us), (*largest, 16));
            assert_eq!(ack.ranges().collect::<Vec<_>>(), descend(*largest, pairs));
        } else {
            assert_eq!(&self.frame(), frame);
        }
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..6_u64, 2 => 0..70_000_u64, 1 => (1_u64 << 60)..=(1 << 61), 1 => (MAX_NUMBER - 3)..=MAX_NUMBER]
}

fn lane() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0), 2 => 0..3_u8, 1 => any::<u8>()]
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let delivery = (number(), 0..4_u64, -4..4_i64).prop_map(|(index, below, distance)| Numbers::Delivery {
        index,
        base: index.saturating_sub(below),
        set: index.saturating_add_signed(distance).min(MAX_NUMBER),
    });
    let order = (number(), number()).prop_map(|(set, base)| Numbers::Order { set, base });
    prop_oneof![1 => Just(Numbers::None), 1 => order, 2 => delivery]
}

fn part_and_bytes() -> impl Strategy<Value = (Part, Vec<u8>)> {
    let bytes = |range| prop::collection::vec(any::<u8>(), range);
    let middle =
        (bytes(MIN_FRAGMENT..300), 0..MAX_TOTAL - 1_000, 1..700_u32).prop_map(|(bytes, offset, more)| {
            (Part::Fragment { offset, total: offset + u32::try_from(bytes.len()).unwrap() + more }, bytes)
        });
    let last = (bytes(1..200), 1..MAX_TOTAL - 1_000).prop_map(|(bytes, offset)| {
        (Part::Fragment { offset, total: offset + u32::try_from(bytes.len()).unwrap() }, bytes)
    });
    prop_oneof![6 => bytes(0..20).prop_map(|bytes| (Part::Whole, bytes)), 1 => middle, 1 => last]
}

fn message() -> impl Strategy<Value = Owned> {
    let life = prop::option::weighted(0.2, prop_oneof![0..300_u32, any::<u32>()]);
    (lane(), numbers(), prop::option::weighted(0.3, number()), life, part_and_bytes()).prop_map(
        |(lane, numbers, id, life, (part, bytes))| {
            let id = match (numbers, part) {
                (Numbers::Delivery { .. }, _) => None,
                (_, Part::Fragment { .. }) => id.or(Some(7)),
                (_, Part::Whole) => id,
            };
            Owned::Message(lane, numbers, id, life, part, bytes)
        },
    )
}

/// Of so many pieces that the parity's are 2 to 64, with the last piece from one byte to whole.
fn parity() -> impl Strategy<Value = Owned> {
    let numbers = numbers().prop_map(|numbers| match numbers {
        Numbers::Delivery { set, base, .. } => Numbers::Order { set, base },
        other => other,
    });
    let bytes = prop::collection::vec(any::<u8>(), MIN_FRAGMENT..300);
    let cut = (bytes, 1..40_u32, any::<u32>(), 2..=MAX_PIECES, any::<u32>(), any::<u32>()).prop_map(
        |(bytes, step, first, under, beyond, last)| {
            let size = u32::try_from(bytes.len()).unwrap();
            // `under` pieces stand under this parity, and so few follow that no further one does.
            let first = first % step;
            let pieces = first + (under - 1) * step + 1 + beyond % step;
            let total = (pieces - 1) * size + 1 + last % size;
            (step, Part::Fragment { offset: first * size, total }, bytes)
        },
    );
    (lane(), numbers, number(), prop::option::weighted(0.2, any::<u32>()), cut).prop_map(
        |(lane, numbers, id, life, (step, part, bytes))| {
            Owned::Parity(step, lane, numbers, id, life, part, bytes)
        },
    )
}

fn control() -> impl Strategy<Value = Owned> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..=max);
    let pairs = prop::collection::vec((0..300_u64, 0..300_u64), 1..=ack::MAX_RANGES);
    prop_oneof![
        Just(Owned::Ping),
        (number(), pairs).prop_map(|(largest, pairs)| Owned::Ack(largest, pairs)),
        (any::<u16>(), bytes(64)).prop_map(|(code, reason)| Owned::Close(code, reason)),
        (any::<Option<[u8; 8]>>(), bytes(200)).prop_map(|(cid, ticket)| Owned::Confirm(cid, ticket)),
        (any::<Option<u8>>(), number()).prop_map(|(lane, limit)| Owned::Window(lane, limit)),
        (lane(), number(), number()).prop_map(|(lane, index, charge)| Owned::Skip(lane, index, charge)),
        (lane(), number()).prop_map(|(lane, index)| Owned::Skipped(lane, index)),
        (lane(), number()).prop_map(|(lane, index)| Owned::Have(lane, index)),
        any::<[u8; 8]>().prop_map(Owned::Challenge),
        any::<[u8; 8]>().prop_map(Owned::Response),
        (number(), number(), any::<[u8; 8]>()).prop_map(|(a, b, cid)| Owned::NewCid(a.max(b), a.min(b), cid)),
        bytes(200).prop_map(|mut ticket| {
            ticket.push(1);
            Owned::Redirect(ticket)
        }),
    ]
}

fn frames() -> impl Strategy<Value = Vec<Owned>> {
    let some = prop::collection::vec(prop_oneof![6 => message(), 2 => control(), 1 => parity()], 0..30);
    (some, prop::option::of(1..50_usize)).prop_map(|(mut frames, padding)| {
        frames.extend(padding.map(Owned::Padding));
        frames
    })
}

fn encode_all(frames: &[Owned]) -> Vec<u8> {
    let mut buffer = vec![0xee; 40_000];
    let mut writer = Writer::new(&mut buffer);
    let mut context = Context::default();
    for frame in frames {
        frame.encode(&mut context, &mut writer).unwrap();
    }
    let len = writer.written();
    buffer.truncate(len);
    buffer
}

/// Encodes what was decoded; `None` if the payload was refused.
fn again(payload: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = vec![0xee; payload.len()];
    let mut writer = Writer::new(&mut buffer);
    let mut context = Context::default();
    for frame in Frames::new(payload) {
        frame::encode(&frame.ok()?, &mut context, &mut writer).expect("an accepted frame has an encoding");
    }
    let len = writer.written();
    buffer.truncate(len);
    Some(buffer)
}

/// Small bytes and frame types, so that a good part of the payloads is accepted.
fn likely_payload() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => 0..4_u8,
        4 => prop::sample::select(&[0x80_u8, 0x84, 0x88, 0xa0, 0xa4, 0xa8, 0xc0, 0xc4, 0xc8][..]),
        1 => 0x80..=0xdf_u8,
        1 => 0..0x10_u8,
        1 => any::<u8>()
    ];
    prop::collection::vec(byte, 0..24)
}
