//! What fits and what it costs, the ends of the number space, and the examples of the specification.

use super::*;

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
