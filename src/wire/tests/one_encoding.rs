//! What is written is read back, and what is accepted has no second encoding.

use super::*;

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
