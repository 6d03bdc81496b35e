//! Message frames: a head that says guarantee, lane and numbers, and the bytes. PROTOCOL.md, "Messages".
//!
//! ```text
//! type   1 GG F NN L X                       GG guarantee, F fragment, NN numbering, L lane follows, X extras follow
//! [lane u8]                                  if L; else the lane of the message frame before it in the packet, or 0
//! [extras u8]                                if X: bit 0 id, bit 1 life; never 0
//! [numbers]                                  if NN = 00 and not `None`:
//!                                            Order     set, base                                  (varints)
//!                                            Delivery  index, index - base, zigzag(set - index)   (varints)
//! [id varint] [life varint, ms]              as extras say
//! [offset varint] [total varint]             if F
//! length varint, bytes
//! ```
//! NN = 00 explicit, 01 next set, 10 same set, 11 never. `None` always has NN = 00 and no numbers.

use std::ops::RangeInclusive;

use super::{
    Malformed, NoRoom,
    codec::{Reader, Writer, varint_len},
    numbers::{EXPLICIT, FORM, read_explicit},
};

pub(crate) use super::numbers::{Context, Numbers};

/// What a message is promised. Chosen for each message when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarantee {
    /// Maybe arrives, never twice, in no order: like UDP, without its duplicates.
    None,
    /// Maybe arrives, never twice, never after something newer. Waits for every earlier `Delivery`; makes nobody wait.
    Order,
    /// Arrives exactly once, after every earlier `Delivery`; or the session ends and says which did not.
    Delivery,
}

/// Which part of a message a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Fragment { offset: u32, total: u32 },
}

/// One message frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageFrame<'a> {
    pub(crate) lane: u8,
    pub(crate) numbers: Numbers,
    /// Names a `None` or `Order` message that is fragmented or copied; `Delivery` never has one.
    pub(crate) id: Option<u64>,
    /// Milliseconds after which the receiver must not yield it (`drop_late`).
    pub(crate) life: Option<u32>,
    pub(crate) part: Part,
    pub(crate) bytes: &'a [u8],
}

/// Shortest fragment that is not the last of its message, in bytes.
pub(crate) const MIN_FRAGMENT: usize = MIN_FRAGMENT_LEN as usize;

/// The same as a field holds it.
pub(crate) const MIN_FRAGMENT_LEN: u32 = 128;

/// Largest total of a fragmented message, in bytes: 16 MiB.
pub(crate) const MAX_TOTAL: u32 = 16 << 20;

/// Types of message frames.
pub(super) const KINDS: RangeInclusive<u8> = 0x80..=0xdf;

const MESSAGE: u8 = 0b1000_0000;
const GUARANTEE: u8 = 0b0110_0000;
const GUARANTEE_NONE: u8 = 0b0000_0000;
const GUARANTEE_ORDER: u8 = 0b0010_0000;
const GUARANTEE_DELIVERY: u8 = 0b0100_0000;
const FRAGMENT: u8 = 0b0001_0000;
const LANE: u8 = 0b0000_0010;
const EXTRAS: u8 = 0b0000_0001;

const EXTRA_ID: u8 = 0b01;
const EXTRA_LIFE: u8 = 0b10;

impl MessageFrame<'_> {
    /// A whole `None` or `Order`: nothing of it is ever sent again for want of an acknowledgement.
    pub(crate) fn is_unrepeated(&self) -> bool {
        self.part == Part::Whole && !matches!(self.numbers, Numbers::Delivery { .. })
    }

    /// A piece of a `None` or `Order`, which may have parities and is sent again at most as long as that is of use.
    pub(crate) fn is_piece(&self) -> bool {
        self.part != Part::Whole && !matches!(self.numbers, Numbers::Delivery { .. })
    }

    /// Whether the frame has an encoding at all: what [`decode`] would refuse, the encoder does not write.
    #[inline]
    fn is_valid(&self) -> bool {
        let id = match self.numbers {
            Numbers::Delivery { .. } => self.id.is_none(),
            _ => self.id.is_some() || self.part == Part::Whole,
        };
        let part = match self.part {
            Part::Whole => true,
            Part::Fragment { offset, total } => is_fragment(offset, self.bytes.len(), total),
        };
        id && part && self.numbers.are_valid()
    }

    /// The first byte of the frame and its extras byte (0: left out).
    #[inline]
    fn kind(&self, context: &Context) -> (u8, u8) {
        let guarantee = match self.numbers {
            Numbers::None => GUARANTEE_NONE,
            Numbers::Order { .. } => GUARANTEE_ORDER,
            Numbers::Delivery { .. } => GUARANTEE_DELIVERY,
        };
        let fragment = if self.part == Part::Whole { 0 } else { FRAGMENT };
        let lane = if self.lane == context.lane { 0 } else { LANE };
        let id = if self.id.is_some() { EXTRA_ID } else { 0 };
        let life = if self.life.is_some() { EXTRA_LIFE } else { 0 };
        let extras = id | life;
        let form = context.form(self.lane, self.numbers);
        (MESSAGE | guarantee | fragment | form | lane | if extras == 0 { 0 } else { EXTRAS }, extras)
    }
}

/// Whether `len` bytes at `offset` are a proper fragment of `total`: inside it, not all of it, and not too short.
#[inline]
fn is_fragment(offset: u32, len: usize, total: u32) -> bool {
    let end = u64::from(offset).saturating_add(len as u64);
    let last = end == u64::from(total);
    total <= MAX_TOTAL
        && len >= 1
        && end <= u64::from(total)
        && !(last && offset == 0)
        && (last || len >= MIN_FRAGMENT)
}

/// Reads the message frame that starts with `kind` (0x80 to 0xdf, already taken from the reader).
#[inline]
pub(crate) fn decode<'a>(
    kind: u8,
    reader: &mut Reader<'a>,
    context: &mut Context,
) -> Result<MessageFrame<'a>, Malformed> {
    let guarantee = match kind & GUARANTEE {
        GUARANTEE_NONE => Guarantee::None,
        GUARANTEE_ORDER => Guarantee::Order,
        GUARANTEE_DELIVERY => Guarantee::Delivery,
        _ => return Err(Malformed),
    };
    let lane = if kind & LANE == 0 { context.lane } else { read_lane(reader, context)? };
    let extras = if kind & EXTRAS == 0 { 0 } else { read_extras(reader, guarantee)? };
    let numbers = match (kind & FORM, guarantee) {
        (EXPLICIT, Guarantee::None) => Numbers::None,
        (EXPLICIT, _) => read_explicit(reader, context, lane, guarantee)?,
        (form, _) => context.implied(form, lane, guarantee)?,
    };
    let id = if extras & EXTRA_ID == 0 { None } else { Some(reader.varint()?) };
    let life = if extras & EXTRA_LIFE == 0 { None } else { Some(read_u32(reader)?) };
    let (part, bytes) = if kind & FRAGMENT == 0 {
        (Part::Whole, read_bytes(reader)?)
    } else if guarantee != Guarantee::Delivery && id.is_none() {
        return Err(Malformed);
    } else {
        read_fragment(reader)?
    };
    context.note(lane, numbers);
    Ok(MessageFrame { lane, numbers, id, life, part, bytes })
}

fn read_lane(reader: &mut Reader<'_>, context: &Context) -> Result<u8, Malformed> {
    let lane = reader.u8()?;
    if lane == context.lane { Err(Malformed) } else { Ok(lane) }
}

fn read_extras(reader: &mut Reader<'_>, guarantee: Guarantee) -> Result<u8, Malformed> {
    let extras = reader.u8()?;
    let named = extras & EXTRA_ID != 0 && guarantee == Guarantee::Delivery;
    if extras == 0 || extras > (EXTRA_ID | EXTRA_LIFE) || named { Err(Malformed) } else { Ok(extras) }
}

fn read_u32(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    u32::try_from(reader.varint()?).map_err(|_| Malformed)
}

#[inline]
fn read_bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(reader.varint()?).map_err(|_| Malformed)?;
    reader.bytes(len)
}

fn read_fragment<'a>(reader: &mut Reader<'a>) -> Result<(Part, &'a [u8]), Malformed> {
    let offset = read_u32(reader)?;
    let total = read_u32(reader)?;
    let bytes = read_bytes(reader)?;
    if is_fragment(offset, bytes.len(), total) {
        Ok((Part::Fragment { offset, total }, bytes))
    } else {
        Err(Malformed)
    }
}

/// Writes a message frame and takes note of it. On `NoRoom` (also for a frame that has no encoding: numbers or
/// fragment bounds out of range) the writer and the context are as before.
#[inline]
pub(crate) fn encode(
    frame: &MessageFrame<'_>,
    context: &mut Context,
    writer: &mut Writer<'_>,
) -> Result<(), NoRoom> {
    let mark = writer.written();
    let written = write_head(frame, context, writer).and_then(|()| writer.bytes(frame.bytes));
    match written {
        Ok(()) => context.note(frame.lane, frame.numbers),
        Err(NoRoom) => writer.rewind(mark),
    }
    written
}

/// Writes everything before the frame's bytes, their length included; the context is not changed. On `NoRoom` a part
/// of the head may have been written.
#[inline]
fn write_head(frame: &MessageFrame<'_>, context: &Context, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    if !frame.is_valid() {
        return Err(NoRoom);
    }
    let (kind, extras) = frame.kind(context);
    writer.u8(kind)?;
    // By far the most common heads end here: numbers implied or none, nothing extra.
    let plain = kind & (LANE | EXTRAS | FRAGMENT) == 0;
    if plain && (kind & FORM != EXPLICIT || kind & GUARANTEE == GUARANTEE_NONE) {
        return writer.varint(frame.bytes.len() as u64);
    }
    write_long_head(frame, kind, extras, writer)
}

/// The rest of a head that names lane, numbers, extras or a fragment.
#[inline(never)]
fn write_long_head(
    frame: &MessageFrame<'_>,
    kind: u8,
    extras: u8,
    writer: &mut Writer<'_>,
) -> Result<(), NoRoom> {
    if kind & LANE != 0 {
        writer.u8(frame.lane)?;
    }
    if extras != 0 {
        writer.u8(extras)?;
    }
    if kind & FORM == EXPLICIT {
        frame.numbers.write_explicit(writer)?;
    }
    if let Some(id) = frame.id {
        writer.varint(id)?;
    }
    if let Some(life) = frame.life {
        writer.varint(life.into())?;
    }
    if let Part::Fragment { offset, total } = frame.part {
        writer.varint(offset.into())?;
        writer.varint(total.into())?;
    }
    writer.varint(frame.bytes.len() as u64)
}

/// Bytes that the frame takes before its payload, the length field included.
#[cfg(test)]
pub(crate) fn head_len(frame: &MessageFrame<'_>, context: &Context) -> usize {
    fixed_len(frame, context) + varint_len(frame.bytes.len() as u64)
}

/// How many of the frame's bytes fit into `room` behind its head, 0 if none do. The frame carries the part that it
/// will have (a fragment's head is longer) and all the bytes that could be taken.
pub(crate) fn fitting(frame: &MessageFrame<'_>, context: &Context, room: usize) -> usize {
    let room = room.saturating_sub(fixed_len(frame, context));
    let cut = |field: usize| room.saturating_sub(field).min(frame.bytes.len());
    // A shorter payload may have a shorter length field; the best is at one of the possible field sizes.
    (1..=4).map(cut).find(|&len| varint_len(len as u64) + len <= room).unwrap_or(0)
}

/// The head without the length field.
fn fixed_len(frame: &MessageFrame<'_>, context: &Context) -> usize {
    let (kind, extras) = frame.kind(context);
    let numbers = if kind & FORM == EXPLICIT { frame.numbers.explicit_len() } else { 0 };
    let part = match frame.part {
        Part::Whole => 0,
        Part::Fragment { offset, total } => varint_len(offset.into()) + varint_len(total.into()),
    };
    1 + usize::from(kind & LANE != 0)
        + usize::from(extras != 0)
        + numbers
        + frame.id.map_or(0, varint_len)
        + frame.life.map_or(0, |life| varint_len(life.into()))
        + part
}
