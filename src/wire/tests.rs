//! Properties and tables over whole payloads: one encoding per value, both ways.

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn what_is_written_is_read_back(frames in frames()) {
        let payload = encode_all(&frames);
        let decoded: Vec<_> = Frames::new(&payload).map(|frame| frame.unwrap()).collect();
        prop_assert_eq!(decoded.len(), frames.len());
        for (sent, read) in frames.iter().zip(&decoded) {
            sent.assert_is(read);
        }
        let says_something = frames.iter().any(|frame| !matches!(frame, Owned::Padding(_)));
        let acks = frames.iter().filter(|frame| matches!(frame, Owned::Ack { .. })).count();
        prop_assert_eq!(frame::check(&payload).is_ok(), says_something && acks <= 1);
        if let Ok(checked) = frame::Checked::new(&payload) {
            let mut plain = Frames::new(&payload);
            for (frame, left) in checked {
                prop_assert_eq!(Some(Ok(frame)), plain.next());
                prop_assert_eq!(left, plain.remaining());
            }
            prop_assert!(plain.next().is_none());
        }
        prop_assert_eq!(again(&payload), Some(payload));
    }

    #[test]
    fn a_changed_payload_is_refused_or_the_one_encoding(
        frames in frames(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4)
    ) {
        let mut payload = encode_all(&frames);
        for (at, value, how) in changes {
            let at = at.index(payload.len() + 1);
            match how {
                0 => payload.insert(at, value),
                1 if at < payload.len() => { payload.remove(at); }
                2 => payload.truncate(at),
                _ => if let Some(byte) = payload.get_mut(at) { *byte ^= 1 << (value % 8) },
            }
        }
        if let Some(again) = again(&payload) {
            prop_assert_eq!(again, payload);
        }
    }

    #[test]
    fn the_head_is_as_long_as_announced(before in prop::collection::vec(message(), 0..3), message in message(), room in 0..400_usize) {
        let mut buffer = [0; 4_000];
        let mut writer = Writer::new(&mut buffer);
        let mut context = Context::default();
        for frame in &before {
            frame.encode(&mut context, &mut writer).unwrap();
        }
        let start = writer.written();
        let Frame::Message(frame) = message.frame() else { unreachable!() };
        let head = head_len(&frame, &context);
        let fit = fitting(&frame, &context, room);
        let with = |len: usize| {
            let frame = MessageFrame { bytes: &frame.bytes[..len], ..frame };
            head_len(&frame, &context) + len
        };
        prop_assert!(fit == 0 || with(fit) <= room);
        prop_assert!(fit == frame.bytes.len() || with(fit + 1) > room);
        message.encode(&mut context, &mut writer).unwrap();
        prop_assert_eq!(writer.written() - start, head + frame.bytes.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn an_accepted_payload_is_the_one_encoding(payload in likely_payload()) {
        crate::fuzzing::frames(&payload);
        if let Some(again) = again(&payload) {
            prop_assert_eq!(again, payload);
        }
    }
}

#[test]
fn a_frame_that_does_not_fit_leaves_no_trace() {
    let message = |numbers| {
        Frame::Message(MessageFrame {
            lane: 3,
            numbers,
            id: None,
            life: Some(300),
            part: Part::Whole,
            bytes: b"four",
        })
    };
    let frames = [
        Frame::Close { code: 7, reason: b"because" },
        Frame::Confirm { cid: Some([1; 8]), ticket: b"ticket" },
        Frame::Skip { lane: 1, index: 500, charge: 90 },
        Frame::NewCid { sequence: 300, retire_below: 200, cid: [2; 8] },
        message(Numbers::Order { set: 400, base: 300 }),
        message(Numbers::Delivery { set: 400, base: 300, index: 310 }),
    ];
    for frame in frames {
        let mut full = [0; 64];
        let mut writer = Writer::new(&mut full);
        frame::encode(&frame, &mut Context::default(), &mut writer).unwrap();
        let len = writer.written();
        for room in 0..len {
            let mut buffer = [0; 64];
            let mut writer = Writer::new(&mut buffer[..room]);
            let mut context = Context::default();
            assert_eq!(frame::encode(&frame, &mut context, &mut writer), Err(NoRoom));
            assert_eq!(writer.written(), 0);
            let mut writer = Writer::new(&mut buffer);
            frame::encode(&frame, &mut context, &mut writer).unwrap();
            assert_eq!(buffer, full, "the context was changed by a failed write with room {room}");
        }
    }
}

#[test]
fn a_value_out_of_range_is_not_written() {
    let message = |numbers, id, part, bytes| {
        Frame::Message(MessageFrame { lane: 0, numbers, id, life: None, part, bytes })
    };
    let long = [0; 1_025];
    let delivery = Numbers::Delivery { set: 0, base: 0, index: 0 };
    let order = Numbers::Order { set: 0, base: 0 };
    let cut = |offset, total| Part::Fragment { offset, total };
    let frames = [
        Frame::Padding { len: 0 },
        Frame::Close { code: 0, reason: &long[..65] },
        Frame::Close { code: 0, reason: &long[..256] },
        Frame::Confirm { cid: None, ticket: &long },
        Frame::Redirect { ticket: &long },
        Frame::Redirect { ticket: &[] },
        Frame::Window { lane: None, limit: MAX_NUMBER + 1 },
        Frame::NewCid { sequence: 1, retire_below: 2, cid: [0; 8] },
        message(Numbers::Order { set: MAX_NUMBER + 1, base: 0 }, None, Part::Whole, &[]),
        message(Numbers::Delivery { set: 0, base: 1, index: 0 }, None, Part::Whole, &[]),
        message(Numbers::Delivery { set: MAX_NUMBER, base: 0, index: 0 }, None, Part::Whole, &[]),
        message(delivery, Some(1), Part::Whole, &[]),
        message(order, None, cut(0, 2_000), &long),
        message(Numbers::None, None, cut(0, 2_000), &long),
        message(delivery, None, cut(0, 1_025), &long),
        message(delivery, None, cut(0, 1_024), &long),
        message(delivery, None, cut(0, 1_000), &long[..127]),
        message(delivery, None, cut(10, 1_000), &[]),
        message(delivery, None, cut(0, MAX_TOTAL + 1), &long),
    ];
    for frame in frames {
        let mut buffer = [0; 4_000];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(frame::encode(&frame, &mut Context::default(), &mut writer), Err(NoRoom), "{frame:?}");
        assert_eq!(writer.written(), 0, "{frame:?}");
    }
}

/// Payloads that are malformed, each for the reason given.
const MALFORMED: &[(&str, &[u8])] = &[
    ("nothing", &[]),
    ("only padding", &[0, 0]),
    ("something after padding", &[1, 0, 1]),
    ("parity of nothing", &[0x0d]),
    ("parity without a message", &[0x0d, 1, 0x01]),
    ("parity of a whole message", &[0x0d, 1, 0xa1, 1, 0, 0, 7, 1, 9]),
    ("reserved: key mix", &[0x30]),
    ("reserved: key mix", &[0x33]),
    ("unknown", &[0x7f]),
    ("unknown guarantee", &[0xe0, 0]),
    ("unknown", &[0xff]),
    ("varint in a longer form", &[5, 0x80, 0, 1]),
    ("varint above 2^62 - 1", &[5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x40]),
    ("varint that does not end", &[5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
    ("varint cut", &[5, 0, 0x80]),
    ("ack without ranges", &[2, 5, 0]),
    ("ack delay too long", &[2, 5, 0x80, 0x80, 0x80, 0x08, 0, 0]),
    ("ack with 65 ranges", &[2, 5, 0, 64, 0]),
    ("ack below zero", &[2, 5, 0, 0, 6]),
    ("ack gap below zero", &[2, 5, 0, 1, 5, 0, 0]),
    ("ack gap to minus one", &[2, 5, 0, 1, 4, 0, 0]),
    ("ack second range below zero", &[2, 5, 0, 1, 0, 0, 4]),
    ("ack range missing", &[2, 5, 0, 1, 0]),
    (
        "close reason too long",
        &[
            3, 0, 0, 65, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0,
        ],
    ),
    ("close reason cut", &[3, 0, 0, 2, 1]),
    ("cid of another length", &[4, 7, 1, 2, 3, 4, 5, 6, 7, 0]),
    ("ticket cut", &[4, 0, 2, 1]),
    ("window scope above the last lane", &[5, 0x81, 0x02, 1]),
    ("cid retires one above itself", &[0x0b, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8]),
    ("redirect to nothing", &[0x0c, 0]),
    ("challenge cut", &[9, 1, 2, 3, 4, 5, 6, 7]),
    ("none with a form", &[0x84, 0]),
    ("none with a form", &[0x88, 0]),
    ("form 11", &[0xa0, 0, 0, 0, 0xac, 0]),
    ("none, form 11", &[0x8c, 0]),
    ("implied without a message before", &[0xa8, 0]),
    ("implied without a message before", &[0xc4, 0]),
    ("implied after none only", &[0x80, 0, 0xa8, 0]),
    ("implied on another lane", &[0xa0, 0, 0, 0, 0xaa, 1, 0]),
    ("lane that is implied", &[0x82, 0, 0]),
    ("lane that is implied by none", &[0x82, 1, 0, 0x82, 1, 0]),
    ("no extras", &[0x81, 0, 0]),
    ("unknown extras", &[0x81, 4, 0, 0]),
    ("delivery with an id", &[0xc1, 1, 0, 0, 0, 1, 0]),
    ("life above 32 bits", &[0x81, 2, 0x80, 0x80, 0x80, 0x80, 0x10, 0]),
    ("base above index", &[0xc0, 1, 2, 0, 0]),
    ("set below zero", &[0xc0, 1, 0, 3, 0]),
    ("explicit where same would do", &[0xa0, 5, 3, 0, 0xa0, 5, 3, 0]),
    ("explicit where next would do", &[0xa0, 5, 3, 0, 0xa0, 6, 3, 0]),
    ("explicit where same would do", &[0xc0, 5, 1, 0, 0, 0xc0, 6, 2, 1, 0]),
    ("explicit where next would do", &[0xc0, 5, 1, 0, 0, 0xc0, 6, 0, 0, 0]),
    ("a second acknowledgement", &[2, 9, 0, 0, 0, 2, 5, 0, 0, 0]),
    ("length above the rest", &[0x80, 2, 1]),
    ("length above the address space", &[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]),
    ("order fragment without an id", &[0xb0, 0, 0, 1, 2, 1, 9]),
    ("none fragment without an id", &[0x90, 1, 2, 1, 9]),
    ("fragment of nothing", &[0xd0, 0, 0, 0, 0, 0, 0]),
    ("empty fragment", &[0xd0, 0, 0, 0, 1, 1, 0]),
    ("fragment that is all", &[0xd0, 0, 0, 0, 0, 1, 1, 9]),
    ("fragment beyond the total", &[0xd0, 0, 0, 0, 1, 2, 2, 9, 9]),
    ("short fragment in the middle", &[0xd0, 0, 0, 0, 1, 3, 1, 9]),
    ("total above the limit", &[0xd0, 0, 0, 0, 0x80, 0x80, 0x80, 0x08, 0x81, 0x80, 0x80, 0x08, 1, 9]),
];

#[test]
fn every_rule_of_the_registry_refuses_what_breaks_it() {
    for (why, payload) in MALFORMED {
        assert_eq!(frame::check(payload), Err(Malformed), "{why}: {payload:x?}");
    }
    let last = Frames::new(&[1, 0x0d, 1]).collect::<Vec<_>>();
    assert_eq!(last, [Ok(Frame::Ping), Err(Malformed)], "an iterator ends at the first error");
}

/// A parity of pieces of 128 bytes, with what is given changed.
fn parity_frame(step: u32, part: Part, bytes: &[u8]) -> ParityFrame<'_> {
    let numbers = Numbers::Order { set: 1, base: 0 };
    ParityFrame { step, message: MessageFrame { lane: 0, numbers, id: Some(3), life: None, part, bytes } }
}

/// Written without the encoder's own check.
fn raw_parity(frame: &ParityFrame<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 1_000];
    let mut writer = Writer::new(&mut buffer);
    writer.u8(0x0d).unwrap();
    writer.varint(frame.step.into()).unwrap();
    frame::encode(&Frame::Message(frame.message), &mut Context::default(), &mut writer).unwrap();
    let len = writer.written();
    buffer.truncate(len);
    buffer
}

#[test]
fn a_parity_stands_for_two_to_sixty_four_pieces_of_its_own_length() {
    let bytes = [7; 200];
    let at = |offset, total| Part::Fragment { offset, total };
    let good = [
        (1, at(0, 257), 128),
        (1, at(0, 129), 128),
        (2, at(128, 385), 128),
        (3, at(256, 641), 128),
        (1, at(0, 64 * 128), 128),
        (5, at(512, 5 * 64 * 128), 128),
        (1, at(0, 201), 200),
    ];
    let bad = [
        ("a step of nothing", (0, at(0, 257), 128)),
        ("no piece begins there", (2, at(100, 600), 128)),
        ("an earlier piece is meant too", (1, at(128, 512), 128)),
        ("one piece only", (2, at(0, 256), 128)),
        ("one piece only", (2, at(128, 384), 128)),
        ("65 pieces", (1, at(0, 64 * 128 + 1), 128)),
        ("a step beyond all", (u32::MAX, at(0, 257), 128)),
    ];
    for (step, part, len) in good {
        let frame = parity_frame(step, part, &bytes[..len]);
        let raw = raw_parity(&frame);
        assert_eq!(Frames::new(&raw).next(), Some(Ok(Frame::Parity(frame))), "{step} {part:?}");
        assert_eq!(again(&raw), Some(raw), "{step} {part:?}");
    }
    for (why, (step, part, len)) in bad {
        let frame = parity_frame(step, part, &bytes[..len]);
        assert_eq!(frame::check(&raw_parity(&frame)), Err(Malformed), "{why}");
        let mut buffer = [0; 1_000];
        let mut writer = Writer::new(&mut buffer);
        let written = frame::encode(&Frame::Parity(frame), &mut Context::default(), &mut writer);
        assert_eq!((written, writer.written()), (Err(NoRoom), 0), "{why}");
    }
    let mut delivery = parity_frame(1, at(0, 257), &bytes[..128]);
    delivery.message.numbers = Numbers::Delivery { set: 1, base: 0, index: 0 };
    delivery.message.id = None;
    assert_eq!(frame::check(&raw_parity(&delivery)), Err(Malformed), "a Delivery is sent again");
}

#[test]
fn the_numbers_at_the_end_of_the_space_do_not_wrap() {
    let mut buffer = [0; 100];
    let mut writer = Writer::new(&mut buffer);
    let last = Numbers::Delivery { set: MAX_NUMBER, base: MAX_NUMBER, index: MAX_NUMBER };
    let frame = Frame::Message(MessageFrame {
        lane: 0,
        numbers: last,
        id: None,
        life: None,
        part: Part::Whole,
        bytes: &[],
    });
    frame::encode(&frame, &mut Context::default(), &mut writer).unwrap();
    let len = writer.written();
    for kind in [0xa4, 0xc4, 0xc8] {
        buffer[len] = kind;
        assert_eq!(frame::check(&buffer[..len + 2]), Err(Malformed), "{kind:x}");
    }
    buffer[len] = 0xa8;
    assert_eq!(frame::check(&buffer[..len + 2]), Ok(()));
}

#[test]
fn small_messages_cost_two_bytes() {
    let mut buffer = [0; 100];
    let mut writer = Writer::new(&mut buffer);
    let mut context = Context::default();
    let numbers = [
        (Numbers::Order { set: 70, base: 20 }, 4),
        (Numbers::Order { set: 70, base: 20 }, 2),
        (Numbers::Order { set: 71, base: 20 }, 2),
        (Numbers::None, 2),
        (Numbers::Delivery { set: 72, base: 20, index: 20 }, 2),
        (Numbers::Delivery { set: 72, base: 20, index: 21 }, 2),
        (Numbers::Order { set: 72, base: 20 }, 2),
        (Numbers::Delivery { set: 72, base: 20, index: 22 }, 2),
        (Numbers::Delivery { set: 73, base: 23, index: 23 }, 2),
        (Numbers::Order { set: 74, base: 24 }, 2),
    ];
    for (numbers, cost) in numbers {
        let start = writer.written();
        let frame = Frame::Message(MessageFrame {
            lane: 0,
            numbers,
            id: None,
            life: None,
            part: Part::Whole,
            bytes: b"x",
        });
        frame::encode(&frame, &mut context, &mut writer).unwrap();
        assert_eq!(writer.written() - start, cost + 1, "{numbers:?}");
    }
}

#[test]
fn an_ack_takes_what_fits_and_refuses_ranges_out_of_order() {
    let ranges = [900..=1_000, 500..=600, 0..=3];
    let encode = |room: usize, max: usize, ranges: &[RangeInclusive<u64>]| {
        let mut buffer = vec![0; room];
        let mut writer = Writer::new(&mut buffer);
        let done = ack::encode(&mut writer, 9, ranges.iter().cloned(), max);
        let len = writer.written();
        assert!(done.is_ok() || len == 0);
        done.ok()?;
        let frame = Frames::new(&buffer[..len]).next().unwrap().unwrap();
        let Frame::Ack(ack) = frame else { panic!("{frame:?}") };
        assert_eq!(ack.delay_us, 8);
        Some(ack.ranges().collect::<Vec<_>>())
    };
    assert_eq!(encode(100, 64, &ranges), Some(ranges.to_vec()));
    assert_eq!(encode(100, 2, &ranges), Some(ranges[..2].to_vec()));
    let mut most = 0;
    for room in 0..20 {
        let got = encode(room, 64, &ranges).map_or(0, |got| {
            assert_eq!(got, ranges[..got.len()]);
            got.len()
        });
        assert!(got >= most);
        most = got;
    }
    assert_eq!(most, 3);
    assert_eq!(encode(100, 64, &[]), None);
    assert_eq!(encode(100, 64, &[5..=6, 4..=4]), None, "adjacent ranges are one");
    assert_eq!(encode(100, 64, &[5..=6, 8..=9]), None);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    let empty = [9..=8];
    assert_eq!(encode(100, 64, &empty), None);
    assert_eq!(encode(100, 64, &[0..=MAX_NUMBER + 1]), None);
    let many: Vec<_> = (0..100).rev().map(|n| 10 * n..=10 * n + 3).collect();
    assert_eq!(encode(1_000, usize::MAX, &many).map(|ranges| ranges.len()), Some(ack::MAX_RANGES));
}

/// PROTOCOL.md, "Messages" and "ACK", the examples.
#[test]
fn the_examples_of_the_specification_hold() {
    let order = |set, base| Numbers::Order { set, base };
    let delivery = |set, base, index| Numbers::Delivery { set, base, index };
    let whole = |lane, numbers, id, text: &str| {
        Owned::Message(lane, numbers, id, None, Part::Whole, text.as_bytes().to_vec())
    };
    let last = Part::Fragment { offset: 1_000, total: 1_002 };
    let steps = [
        (Owned::Ping, "01"),
        (whole(0, order(70, 20), None, "x"), "a046140178"),
        (whole(0, order(71, 20), None, "y"), "a40179"),
        (whole(0, delivery(72, 20, 20), None, "z"), "c4017a"),
        (whole(0, delivery(72, 20, 21), None, "{"), "c8017b"),
        (whole(5, Numbers::None, Some(9), "|"), "83050109017c"),
        (whole(5, delivery(0, 0, 0), None, "}"), "c0000000017d"),
        (Owned::Message(0, delivery(73, 22, 22), None, None, last, vec![1, 2]), "d200160066e807ea07020102"),
        (Owned::Padding(3), "000000"),
    ];
    let (frames, hex): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    assert_eq!(hex::encode(encode_all(&frames)), hex.concat());

    let part = Part::Fragment { offset: 128, total: 600 };
    let parity = Owned::Parity(2, 0, order(70, 20), 9, None, part, vec![0x5a; 128]);
    let hex = format!("0d02b101461409{}{}", "8001d8048001", "5a".repeat(128));
    assert_eq!(hex::encode(encode_all(&[parity])), hex);

    let mut buffer = [0; 50];
    let mut writer = Writer::new(&mut buffer);
    ack::encode(&mut writer, 800, [900..=1_000, 500..=600, 0..=3].into_iter(), ack::MAX_RANGES).unwrap();
    let len = writer.written();
    assert_eq!(hex::encode(&buffer[..len]), "02e807640264aa0264ef0303");
}

/// All tails of two bytes, and all of seven small ones behind each type, after packets that imply different numbers.
#[test]
fn no_short_payload_has_a_second_encoding() {
    let prefixes: [&[u8]; 4] = [&[], &[0xa0, 2, 1, 0], &[0xc0, 2, 1, 0, 0], &[0x82, 1, 0]];
    let check = |payload: &[u8]| {
        if let Some(again) = again(payload) {
            assert_eq!(again, payload);
        }
    };
    for prefix in prefixes {
        let mut payload = [prefix, &[0; 2]].concat();
        for tail in 0..=u16::MAX {
            payload[prefix.len()..].copy_from_slice(&tail.to_le_bytes());
            check(&payload);
        }
        let mut payload = [prefix, &[0; 7]].concat();
        for kind in 0x80..=0xdf {
            for digits in 0..3_u32.pow(6) {
                payload[prefix.len()] = kind;
                for (position, byte) in (0..).zip(&mut payload[prefix.len() + 1..]) {
                    *byte = u8::try_from(digits / 3_u32.pow(position) % 3).unwrap();
                }
                for len in prefix.len() + 1..=payload.len() {
                    check(&payload[..len]);
                }
            }
        }
    }
}
