//! What is malformed, each for a reason.

use super::*;

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
