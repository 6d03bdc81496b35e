//! The numbers of a message and what a packet's earlier messages imply about them. PROTOCOL.md, "Implied numbers".
//!
//! Knows no message bytes. Keeps the invariant that numbers have one encoding: implied wherever that gives the same
//! value, explicit otherwise.

use super::{
    MAX_NUMBER, Malformed, NoRoom,
    codec::{Reader, Writer, varint_len},
    message::Guarantee,
};

/// The bits of a message frame's first byte that say how its numbers are given.
pub(super) const FORM: u8 = 0b0000_1100;
pub(super) const EXPLICIT: u8 = 0b0000_0000;
pub(super) const NEXT_SET: u8 = 0b0000_0100;
pub(super) const SAME_SET: u8 = 0b0000_1000;

/// The numbers of a message on its lane. PROTOCOL.md, "Numbering".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    None,
    Order { set: u64, base: u64 },
    Delivery { set: u64, base: u64, index: u64 },
}

/// What the message frames before it in the same packet imply. PROTOCOL.md, "Implied numbers".
///
/// After an `Order` or `Delivery` frame: its lane, set and base, and `next`, the index that a following `Delivery`
/// would have: index + 1 after a `Delivery`; after an `Order` of the lane, set and base before it unchanged, else its
/// base. So `next` is never below `base`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context {
    /// The lane of a message frame that does not name one.
    pub(super) lane: u8,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    lane: u8,
    set: u64,
    base: u64,
    next: u64,
}

impl Numbers {
    /// Writes the explicit form.
    pub(super) fn write_explicit(self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        match self {
            Self::None => Ok(()),
            Self::Order { set, base } => writer.varint(set).and_then(|()| writer.varint(base)),
            Self::Delivery { set, base, index } => {
                writer.varint(index)?;
                writer.varint(index.saturating_sub(base))?;
                writer.varint(zigzag(set, index))
            }
        }
    }

    /// Bytes of the explicit form.
    pub(super) fn explicit_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Order { set, base } => varint_len(set) + varint_len(base),
            Self::Delivery { set, base, index } => {
                varint_len(index) + varint_len(index.saturating_sub(base)) + varint_len(zigzag(set, index))
            }
        }
    }

    /// What must hold on the wire: nothing above `MAX_NUMBER`, no index below its base.
    #[inline]
    pub(super) fn are_valid(self) -> bool {
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
    pub(super) fn form(&self, lane: u8, numbers: Numbers) -> u8 {
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
    pub(super) fn implied(&self, form: u8, lane: u8, guarantee: Guarantee) -> Result<Numbers, Malformed> {
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
    pub(super) fn note(&mut self, lane: u8, numbers: Numbers) {
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

/// Reads explicit numbers, which must not be those that an implied form would give.
pub(super) fn read_explicit(
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
