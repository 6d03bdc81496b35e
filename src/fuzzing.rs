//! The bodies of the fuzz targets, as plain functions: each takes the fuzzer's bytes and panics when a promise breaks.
//! A stable test runs them on seeded inputs; the fuzz folder wraps them. No part of the stable interface.

use crate::wire::{
    codec::Writer,
    frame::{Frames, check, encode},
    message::Context,
};

/// Reads `data` as the payload of a packet; what is accepted must be the one encoding of its frames.
///
/// # Panics
/// When an accepted payload is written differently from how it was read.
pub fn frames(data: &[u8]) {
    let accepted = check(data).is_ok();
    let mut again = vec![0; data.len()];
    let mut writer = Writer::new(&mut again);
    let mut context = Context::default();
    for frame in Frames::new(data) {
        match frame {
            Ok(frame) => assert_eq!(encode(&frame, &mut context, &mut writer), Ok(()), "{frame:?}"),
            Err(_) => assert!(!accepted, "an accepted payload decodes whole"),
        }
    }
    let written = writer.written();
    assert_eq!(data.get(..written), again.get(..written), "a prefix has one encoding");
    assert!(!accepted || written == data.len(), "an accepted payload is read to its end");
}
