//! From frames to a sealed packet in its datagram: prefix, word, padding, tag. PROTOCOL.md, "Packets" and "Padding".
//! Knows no session; the key decides the number.

use super::{Failure, messages::PACKET_OVERHEAD};
use crate::{
    config::Padding,
    crypto::{SealError, SealKey, packet::MAX_PREFIX},
    wire::{
        codec::Writer,
        frame::{self, CID_LEN, Frame},
        header::WORD_LEN,
        message::Context,
    },
};

const TAG_LEN: usize = PACKET_OVERHEAD - WORD_LEN;

/// What stands in clear before the packets to a server: its route and the connection id that it gave. Empty between
/// two endpoints and towards clients. PROTOCOL.md, "Packets".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefix {
    bytes: [u8; MAX_PREFIX],
    len: u8,
}

impl Prefix {
    pub(super) const NONE: Self = Self { bytes: [0; MAX_PREFIX], len: 0 };

    /// `None` if the two together are longer than any prefix.
    pub(crate) fn new(route: &[u8], cid: &[u8]) -> Option<Self> {
        let len = route.len().checked_add(cid.len())?;
        let mut this = Self { bytes: [0; MAX_PREFIX], len: u8::try_from(len).ok()? };
        let (front, back) = this.bytes.get_mut(..len)?.split_at_mut_checked(route.len())?;
        front.copy_from_slice(route);
        back.copy_from_slice(cid);
        Some(this)
    }

    /// The same route with another id. A prefix that has none stays as it is.
    pub(super) fn with_cid(mut self, cid: [u8; CID_LEN]) -> Self {
        let end = self.len();
        if let Some(last) = self.bytes.get_mut(..end).and_then(<[u8]>::last_chunk_mut) {
            *last = cid;
        }
        self
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.len.into()
    }
}

/// Where the frames of a datagram go that is at most as long as `out`.
pub(super) fn room<'o>(prefix: &Prefix, out: &'o mut [u8]) -> Result<&'o mut [u8], Failure> {
    let end = out.len().saturating_sub(TAG_LEN);
    out.get_mut(prefix.len() + WORD_LEN..end).ok_or(Failure::Room)
}

/// Seals a packet of one frame into the front of `out`.
pub(super) fn seal_frame(
    key: &mut SealKey,
    prefix: &Prefix,
    frame: &Frame<'_>,
    padding: Padding,
    max_datagram: u16,
    out: &mut [u8],
) -> Result<usize, Failure> {
    let out_len = out.len();
    let out = out.get_mut(..out_len.min(max_datagram.into())).ok_or(Failure::Room)?;
    let mut writer = Writer::new(room(prefix, out)?);
    frame::encode(frame, &mut Context::default(), &mut writer).map_err(|_| Failure::Room)?;
    let written = writer.written();
    seal_packet(key, prefix, written, padding, out)
}

/// The same padding, but no datagram is shorter than `least` bytes.
pub(super) fn at_least(padding: Padding, least: u16) -> Padding {
    match padding {
        Padding::None => Padding::ToSize(least),
        Padding::ToSize(size) => Padding::ToSize(size.max(least)),
        // A multiple of the bucket, and of no less than this.
        Padding::Bucket(size) if size < least => Padding::Bucket(least.next_multiple_of(size.max(1))),
        Padding::Bucket(_) => padding,
    }
}

/// Pads and seals the packet whose first `written` bytes of frames stand in `room`. `out` ends where the longest
/// datagram ends. Returns the datagram's length.
pub(super) fn seal_packet(
    key: &mut SealKey,
    prefix: &Prefix,
    written: usize,
    padding: Padding,
    out: &mut [u8],
) -> Result<usize, Failure> {
    let bare = prefix.len() + written + PACKET_OVERHEAD;
    let len = match padding {
        Padding::None => bare,
        Padding::Bucket(size) => bare.next_multiple_of(size.max(1).into()),
        Padding::ToSize(size) => bare.max(size.into()),
    };
    let len = len.min(out.len()).max(bare);
    let (front, packet) =
        out.get_mut(..len).and_then(|out| out.split_at_mut_checked(prefix.len())).ok_or(Failure::Room)?;
    front.copy_from_slice(prefix.as_bytes());
    // Zero bytes are PADDING; the buffer may hold anything.
    packet.get_mut(WORD_LEN + written..).ok_or(Failure::Room)?.fill(0);
    key.seal(prefix.as_bytes(), packet).map_err(|error| match error {
        SealError::Exhausted => Failure::Exhausted,
        SealError::Length => Failure::Room,
    })?;
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_route_and_then_id_and_bounded() {
        let prefix = Prefix::new(&[1; 20], &[2; 8]).unwrap();
        assert_eq!(prefix.as_bytes(), [[1; 20].as_slice(), &[2; 8]].concat());
        assert_eq!(Prefix::new(&[1; 21], &[2; 8]), None);
        assert_eq!(prefix.with_cid([3; 8]), Prefix::new(&[1; 20], &[3; 8]).unwrap());
        assert!(Prefix::default().as_bytes().is_empty());
    }

    #[test]
    fn no_padding_leaves_less_than_the_least() {
        let (mut initiator, _) = crate::crypto::testing::channels();
        for padding in [
            Padding::None,
            Padding::ToSize(20),
            Padding::ToSize(60),
            Padding::Bucket(1),
            Padding::Bucket(24),
            Padding::Bucket(100),
        ] {
            let mut out = [0; 200];
            let mut sealed = |padding, out: &mut [u8]| {
                seal_packet(&mut initiator.seal, &Prefix::default(), 3, padding, out)
            };
            let [plain, padded] =
                [padding, at_least(padding, 29)].map(|padding| sealed(padding, &mut out).unwrap());
            assert!(padded >= 29 && padded >= plain, "{padding:?}: {padded}");
        }
    }

    #[test]
    fn frames_begin_behind_prefix_and_word_and_end_before_the_tag() {
        let prefix = Prefix::new(&[1; 3], &[2; 8]).unwrap();
        let mut out = [0; 100];
        assert_eq!(room(&prefix, &mut out).unwrap().len(), 100 - 11 - PACKET_OVERHEAD);
        assert!(room(&prefix, &mut out[..20]).is_err());
    }
}
