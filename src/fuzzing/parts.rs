//! Parts of the library as benchmarks reach them. No part of the stable interface.

use std::{
    cell::RefCell,
    fmt,
    time::{Duration, Instant},
};

#[cfg(feature = "ring")]
use crate::crypto::aead::portable;
use crate::{
    crypto::{
        Channel, Secret, Side, Split,
        aead::{Prepared, block_mask, open_packet_in_place, seal_packet_in_place},
    },
    window::Window1024,
    wire::{
        ack,
        codec::Writer,
        frame::{Checked, Frame, Frames, encode},
        message::{Context, MessageFrame, Numbers, Part},
    },
};

/// One end of a session's packet protection under fixed keys, for benchmarks.
pub struct PacketPair {
    pub(super) channel: Channel,
    now: Instant,
}

impl fmt::Debug for PacketPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacketPair(..)")
    }
}

impl PacketPair {
    /// The two ends of one session.
    #[must_use]
    pub fn two(now: Instant) -> (Self, Self) {
        let end = |side| {
            let split =
                Split { i2r: Secret::take(&mut [1; 32]), r2i: Secret::take(&mut [2; 32]), hash: [3; 32] };
            Self { channel: Channel::derive(&split, side), now }
        };
        (end(Side::Initiator), end(Side::Responder))
    }

    /// Seals `packet` in place: 4 bytes of room, plaintext, 16 bytes of room. False when that cannot be.
    #[must_use]
    pub fn seal(&mut self, packet: &mut [u8]) -> bool {
        self.channel.seal.seal(&[], packet).is_ok()
    }

    /// Opens `packet` in place. False when it is dropped.
    #[must_use]
    pub fn open(&mut self, packet: &mut [u8]) -> bool {
        self.channel.open.open(self.now, Duration::from_secs(1), &[], packet).is_ok()
    }
}

/// The cipher of packets by itself, for benchmarks, and for a loop that is to pay for it what a session pays.
pub struct PacketCipher(Secret<32>, RefCell<Prepared>);

impl fmt::Debug for PacketCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacketCipher(..)")
    }
}

impl PacketCipher {
    /// Under this key.
    #[must_use]
    pub fn new(mut key: [u8; 32]) -> Self {
        Self(Secret::take(&mut key), RefCell::default())
    }

    /// Encrypts in place and returns the tag.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        seal_packet_in_place((&self.0, &mut self.1.borrow_mut()), nonce, aad, text)
    }

    /// Verifies, then decrypts in place. False, and nothing written, when the tag is another.
    #[must_use]
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; 16]) -> bool {
        open_packet_in_place((&self.0, &mut self.1.borrow_mut()), nonce, aad, text, tag)
    }

    /// The mask that a header with this tag has, were this the key of headers.
    #[must_use]
    pub fn mask(&self, sample: &[u8; 16]) -> [u8; 4] {
        block_mask(&self.0, sample)
    }
}

/// As [`PacketCipher`], by the back end of builds without the feature `ring`, to be measured beside it.
#[cfg(feature = "ring")]
pub struct DefaultCipher(Secret<32>);

#[cfg(feature = "ring")]
impl fmt::Debug for DefaultCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DefaultCipher(..)")
    }
}

#[cfg(feature = "ring")]
impl DefaultCipher {
    /// Under this key.
    #[must_use]
    pub fn new(mut key: [u8; 32]) -> Self {
        Self(Secret::take(&mut key))
    }

    /// Encrypts in place and returns the tag.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        portable::seal(&self.0, nonce, aad, text)
    }

    /// Verifies, then decrypts in place. False, and nothing written, when the tag is another.
    #[must_use]
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; 16]) -> bool {
        portable::open(&self.0, nonce, aad, text, tag)
    }
}

/// The payload of a usual packet, for benchmarks: an acknowledgement and one message of each guarantee.
#[derive(Debug)]
pub struct UsualPayload(Vec<u8>);

impl UsualPayload {
    /// With messages of so many bytes.
    ///
    /// # Panics
    /// When the bytes pass 1,000 in all.
    #[must_use]
    pub fn new(message_bytes: usize) -> Self {
        let (mut payload, bytes) = (vec![0; 1_160], vec![7; message_bytes]);
        let (mut writer, mut context) = (Writer::new(&mut payload), Context::default());
        let ranges = [9_990..=10_000, 9_900..=9_980].into_iter();
        assert_eq!(ack::encode(&mut writer, 400, ranges, ack::MAX_RANGES), Ok(()));
        let (set, base, part) = (4_000, 3_000, Part::Whole);
        let delivery = Numbers::Delivery { set, base, index: base + 1 };
        for numbers in [Numbers::None, Numbers::Order { set, base }, delivery] {
            let frame = MessageFrame { lane: 0, numbers, id: None, life: None, part, bytes: &bytes };
            assert_eq!(encode(&Frame::Message(frame), &mut context, &mut writer), Ok(()));
        }
        let written = writer.written();
        payload.truncate(written);
        Self(payload)
    }

    /// Checks the payload as a whole and looks at each frame, as for a packet that was opened. Bytes of messages.
    #[must_use]
    pub fn read(&self) -> usize {
        let Ok(frames) = Checked::new(&self.0) else { return 0 };
        frames
            .map(|(frame, _)| if let Frame::Message(message) = frame { message.bytes.len() } else { 0 })
            .sum()
    }

    /// Its frames, to be written again.
    #[must_use]
    pub fn frames(&self) -> UsualFrames<'_> {
        UsualFrames(Frames::new(&self.0).flatten().collect())
    }
}

/// Those of a [`UsualPayload`].
#[derive(Debug)]
pub struct UsualFrames<'a>(Vec<Frame<'a>>);

impl UsualFrames<'_> {
    /// Writes all of them. How many bytes that took; 0 when there is no room.
    #[must_use]
    pub fn write(&self, into: &mut [u8]) -> usize {
        let (mut writer, mut context) = (Writer::new(into), Context::default());
        let all = self.0.iter().all(|frame| encode(frame, &mut context, &mut writer).is_ok());
        if all { writer.written() } else { 0 }
    }
}

/// The replay window of packet numbers, for benchmarks.
#[derive(Debug, Default)]
pub struct ReplayWindow(Window1024);

impl ReplayWindow {
    /// Whether the number is new; it is not from then on.
    pub fn take(&mut self, number: u64) -> bool {
        self.0.check_and_set(number).is_ok()
    }
}
