//! Parity frames: the exclusive or of some pieces of a message that was cut into pieces of one length, so that one of
//! them may be lost. PROTOCOL.md, "Parity".
//!
//! ```text
//! 0x0d
//! step varint                     at least 1: every how manieth piece
//! a message frame with F = 1      of a `None` or `Order`; its length is that of the pieces, its offset that of the
//!                                 first piece meant, its bytes are the exclusive or
//! ```

use super::{
    Malformed, NoRoom,
    codec::{Reader, Writer},
    message::{self, Context, MessageFrame, Numbers, Part},
};

/// Type of the frame.
pub(super) const KIND: u8 = 0x0d;

/// Most pieces under one parity. PROTOCOL.md, "Limits".
pub(crate) const MAX_PIECES: u32 = 64;

/// What stands for any one of the pieces `first`, `first + step`, `first + 2 step` .. of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParityFrame<'a> {
    pub(crate) step: u32,
    /// Its part is the range of the first piece; its bytes are those of all pieces together, bit by bit, a shorter last
    /// one as if zeros followed.
    pub(crate) message: MessageFrame<'a>,
}

impl ParityFrame<'_> {
    /// Whether the frame has an encoding: what [`decode`] would refuse, the encoder does not write.
    fn is_valid(&self) -> bool {
        let Part::Fragment { offset, total } = self.message.part else { return false };
        let unreliable = !matches!(self.message.numbers, Numbers::Delivery { .. });
        unreliable && is_cut(offset, self.message.bytes.len(), total, self.step)
    }
}

/// Whether pieces of `len` bytes, from the one at `offset` on every `step`th of `total` bytes, are 2 to `MAX_PIECES`,
/// and none before `offset` is one of them.
fn is_cut(offset: u32, len: usize, total: u32, step: u32) -> bool {
    let Some(len) = u32::try_from(len).ok().filter(|&len| len > 0) else { return false };
    let first = offset / len;
    let pieces = total.div_ceil(len).saturating_sub(first).div_ceil(step.max(1));
    offset % len == 0 && first < step && (2..=MAX_PIECES).contains(&pieces)
}

/// Reads what follows the type.
#[inline(never)]
pub(super) fn decode<'a>(
    reader: &mut Reader<'a>,
    context: &mut Context,
) -> Result<ParityFrame<'a>, Malformed> {
    let step = u32::try_from(reader.varint()?).map_err(|_| Malformed)?;
    let kind = reader.u8()?;
    if !message::KINDS.contains(&kind) {
        return Err(Malformed);
    }
    let frame = ParityFrame { step, message: message::decode(kind, reader, context)? };
    if frame.is_valid() { Ok(frame) } else { Err(Malformed) }
}

/// Writes the frame. On `NoRoom` (also for a frame that has no encoding) the context is as before.
pub(super) fn encode(
    frame: &ParityFrame<'_>,
    context: &mut Context,
    writer: &mut Writer<'_>,
) -> Result<(), NoRoom> {
    if !frame.is_valid() {
        return Err(NoRoom);
    }
    writer.u8(KIND)?;
    writer.varint(frame.step.into())?;
    message::encode(&frame.message, context, writer)
}
