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

use super::{
    MAX_NUMBER, Malformed, NoRoom,
    codec::{Reader, Writer, varint_len},
};

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

/// The numbers of a message on its lane. PROTOCOL.md, "Numbering".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    None,
    Order { set: u64, base: u64 },
    Delivery { set: u64, base: u64, index: u64 },
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
pub(crate) const MIN_FRAGMENT: usize = 128;

/// Largest total of a fragmented message, in bytes: 16 MiB.
pub(crate) const MAX_TOTAL: u32 = 16 << 20;

/// What the message frames before it in the same packet imply. PROTOCOL.md, "Implied numbers".
///
/// After an `Order` or `Delivery` frame: its lane, set and base, and `next`, the index that a following `Delivery`
/// would have: index + 1 after a `Delivery`; after an `Order` of the lane, set and base before it unchanged, else its
/// base. So `next` is never below `base`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context {
    lane: u8,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    lane: u8,
    set: u64,
    base: u64,
    next: u64,
}

const MESSAGE: u8 = 0b1000_0000;
const GUARANTEE: u8 = 0b0110_0000;
const GUARANTEE_NONE: u8 = 0b0000_0000;
const GUARANTEE_ORDER: u8 = 0b0010_0000;
const GUARANTEE_DELIVERY: u8 = 0b0100_0000;
const FRAGMENT: u8 = 0b0001_0000;
const FORM: u8 = 0b0000_1100;
const EXPLICIT: u8 = 0b0000_0000;
const NEXT_SET: u8 = 0b0000_0100;
const SAME_SET: u8 = 0b0000_1000;
const LANE: u8 = 0b0000_0010;
const EXTRAS: u8 = 0b0000_0001;

const EXTRA_ID: u8 = 0b01;
const EXTRA_LIFE: u8 = 0b10;

impl Numbers {
    /// The guarantee that goes with these numbers.
    pub(crate) fn guarantee(self) -> Guarantee {
        match self {
            Self::None => Guarantee::None,
            Self::Order { .. } => Guarantee::Order,
            Self::Delivery { .. } => Guarantee::Delivery,
        }
    }

    /// What must hold on the wire: nothing above `MAX_NUMBER`, no index below its base.
    #[inline]
    fn are_valid(self) -> bool {
        match self {
            Self::None => true,
            Self::Order { set, base } => set <= MAX_NUMBER && base <= MAX_NUMBER,
            Self::Delivery { set, base, index } => set <= MAX_NUMBER && index <= MAX_NUMBER && base <= index,
        }
    }
}

impl Context {
    /// The form of `numbers` on `lane`: implied wherever that gives the same value, so that there is one encoding.
    #[inline]
    fn form(&self, lane: u8, numbers: Numbers) -> u8 {
        let Some(last) = self.last.filter(|last| last.lane == lane) else { return EXPLICIT };
        let (set, base, index) = match numbers {
            Numbers::None => return EXPLICIT,
            Numbers::Order { set, base } => (set, base, None),
            Numbers::Delivery { set, base, index } => (set, base, Some(index)),
        };
        if set == last.set && base == last.base && index.is_none_or(|index| index == last.next) {
            SAME_SET
        } else if set == last.set + 1 && base == last.next && index.is_none_or(|index| index == last.next) {
            NEXT_SET
        } else {
            EXPLICIT
        }
    }

    /// The numbers that an implied form stands for.
    #[inline]
    fn implied(&self, form: u8, lane: u8, guarantee: Guarantee) -> Result<Numbers, Malformed> {
        let last = self.last.filter(|last| last.lane == lane).ok_or(Malformed)?;
        let (set, base) = match form {
            SAME_SET => (last.set, last.base),
            NEXT_SET => (last.set + 1, last.next),
            _ => return Err(Malformed),
        };
        let numbers = match guarantee {
            Guarantee::None => return Err(Malformed),
            Guarantee::Order => Numbers::Order { set, base },
            Guarantee::Delivery => Numbers::Delivery { set, base, index: last.next },
        };
        if numbers.are_valid() { Ok(numbers) } else { Err(Malformed) }
    }

    /// Takes note of a message frame. PROTOCOL.md, "Implied numbers".
    #[inline]
    fn note(&mut self, lane: u8, numbers: Numbers) {
        let (set, base, next) = match numbers {
            Numbers::None => {
                self.lane = lane;
                return;
            }
            Numbers::Order { set, base } => {
                let same = self.last.filter(|last| last.lane == lane && last.set == set && last.base == base);
                (set, base, same.map_or(base, |last| last.next))
            }
            Numbers::Delivery { set, base, index } => (set, base, index + 1),
        };
        *self = Self { lane, last: Some(Last { lane, set, base, next }) };
    }
}

impl MessageFrame<'_> {
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
        (EXPLICIT, _) => read_numbers(reader, context, lane, guarantee)?,
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

fn read_numbers(
    reader: &mut Reader<'_>,
    context: &Context,
    lane: u8,
    guarantee: Guarantee,
) -> Result<Numbers, Malformed> {
    let numbers = if guarantee == Guarantee::Delivery {
        let index = reader.varint()?;
        let base = index.checked_sub(reader.varint()?).ok_or(Malformed)?;
        let set = unzigzag(reader.varint()?).and_then(|d| index.checked_add_signed(d)).ok_or(Malformed)?;
        Numbers::Delivery { set, base, index }
    } else {
        Numbers::Order { set: reader.varint()?, base: reader.varint()? }
    };
    let canonical = numbers.are_valid() && context.form(lane, numbers) == EXPLICIT;
    if canonical { Ok(numbers) } else { Err(Malformed) }
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
    let written = encode_head(frame, context, writer).and_then(|()| writer.bytes(frame.bytes));
    match written {
        Ok(()) => context.note(frame.lane, frame.numbers),
        Err(NoRoom) => writer.rewind(mark),
    }
    written
}

/// Writes everything before the frame's bytes, their length included; the context is not changed. On `NoRoom` a part
/// of the head may have been written.
#[inline]
fn encode_head(frame: &MessageFrame<'_>, context: &Context, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    if !frame.is_valid() {
        return Err(NoRoom);
    }
    let (kind, extras) = frame.kind(context);
    writer.u8(kind)?;
    if kind & LANE != 0 {
        writer.u8(frame.lane)?;
    }
    if extras != 0 {
        writer.u8(extras)?;
    }
    if kind & FORM == EXPLICIT {
        match frame.numbers {
            Numbers::None => {}
            Numbers::Order { set, base } => {
                writer.varint(set)?;
                writer.varint(base)?;
            }
            Numbers::Delivery { set, base, index } => {
                writer.varint(index)?;
                writer.varint(index.saturating_sub(base))?;
                writer.varint(zigzag(set, index))?;
            }
        }
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
    let numbers = match frame.numbers {
        Numbers::Order { set, base } if kind & FORM == EXPLICIT => varint_len(set) + varint_len(base),
        Numbers::Delivery { set, base, index } if kind & FORM == EXPLICIT => {
            let below = index.saturating_sub(base);
            varint_len(index) + varint_len(below) + varint_len(zigzag(set, index))
        }
        _ => 0,
    };
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

/// `set - index` as an unsigned number: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
#[inline]
fn zigzag(set: u64, index: u64) -> u64 {
    if set >= index { (set - index).saturating_mul(2) } else { (index - set).saturating_mul(2) - 1 }
}

#[inline]
fn unzigzag(value: u64) -> Option<i64> {
    let half = i64::try_from(value >> 1).ok()?;
    Some(if value & 1 == 0 { half } else { -half - 1 })
}
