//! The ACK frame: which packets arrived, newest first. PROTOCOL.md, "ACK".
//!
//! `0x02, largest, delay (units of 8 microseconds), more (0..=63), first_len - 1, more x (gap - 1, len - 1)`, all
//! varints. `gap` counts the packets missing between two ranges, `len` those in a range.

use std::ops::RangeInclusive;

use super::{
    MAX_NUMBER, Malformed, NoRoom,
    codec::{Reader, Writer},
};

/// Most ranges that one ACK frame carries.
pub(crate) const MAX_RANGES: usize = 64;

/// Longest delay that an ACK frame can say, in units of 8 microseconds: a little over 134 s.
const MAX_DELAY: u64 = (1 << 24) - 1;
const DELAY_UNIT_US: u64 = 8;

/// First byte of the frame.
pub(super) const KIND: u8 = 0x02;

/// A decoded ACK frame. The ranges were checked when it was decoded: descending, disjoint, not adjacent, >= 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckFrame<'a> {
    /// Largest packet number received.
    pub(crate) largest: u64,
    /// How long the receiver held the acknowledgement of `largest` back, in microseconds (a multiple of 8).
    pub(crate) delay_us: u64,
    /// The encoded ranges.
    ranges: &'a [u8],
}

impl<'a> AckFrame<'a> {
    /// The ranges of packet numbers received, newest first.
    pub(crate) fn ranges(&self) -> Ranges<'a> {
        let mut reader = Reader::new(self.ranges);
        let more = reader.varint().unwrap_or(0);
        Ranges { reader, left: more + 1, next_high: Some(self.largest), first: true }
    }
}

/// Iterator over the ranges of an [`AckFrame`].
#[derive(Clone, Debug)]
pub(crate) struct Ranges<'a> {
    reader: Reader<'a>,
    left: u64,
    /// Upper end of the next range, before its gap is taken off; `None` after packet 0.
    next_high: Option<u64>,
    first: bool,
}

impl Ranges<'_> {
    fn read(&mut self) -> Result<RangeInclusive<u64>, Malformed> {
        let mut high = self.next_high.ok_or(Malformed)?;
        if !self.first {
            high = high
                .checked_sub(self.reader.varint()?)
                .and_then(|high| high.checked_sub(1))
                .ok_or(Malformed)?;
        }
        let low = high.checked_sub(self.reader.varint()?).ok_or(Malformed)?;
        self.first = false;
        self.next_high = low.checked_sub(1);
        Ok(low..=high)
    }
}

impl Iterator for Ranges<'_> {
    type Item = RangeInclusive<u64>;

    #[inline]
    fn next(&mut self) -> Option<RangeInclusive<u64>> {
        self.left = self.left.checked_sub(1)?;
        self.read().ok()
    }
}

/// Reads the frame whose first byte was already taken.
pub(super) fn decode<'a>(reader: &mut Reader<'a>) -> Result<AckFrame<'a>, Malformed> {
    let largest = reader.varint()?;
    let delay_us = reader.varint_up_to(MAX_DELAY)? * DELAY_UNIT_US;
    let start = reader.rest();
    let more = reader.varint_up_to(MAX_RANGES as u64 - 1)?;
    let mut ranges = Ranges { reader: *reader, left: more + 1, next_high: Some(largest), first: true };
    for _ in 0..=more {
        ranges.read()?;
    }
    *reader = ranges.reader;
    let len = start.len().saturating_sub(reader.rest().len());
    let (ranges, _) = start.split_at_checked(len).ok_or(Malformed)?;
    Ok(AckFrame { largest, delay_us, ranges })
}

/// Writes a decoded frame again.
pub(super) fn encode_again(frame: &AckFrame<'_>, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    head(frame.largest, frame.delay_us, writer)?;
    writer.bytes(frame.ranges)
}

fn head(largest: u64, delay_us: u64, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    writer.u8(KIND)?;
    writer.varint(largest)?;
    writer.varint((delay_us / DELAY_UNIT_US).min(MAX_DELAY))
}

/// Writes an ACK frame with as many of `ranges` as fit, `max_ranges` and [`MAX_RANGES`] at most. The ranges come newest
/// first, disjoint and not adjacent; `delay_us` is rounded down to a multiple of 8 and capped.
///
/// `NoRoom`, with nothing written: not even the newest range fits, or there is none, or they are not in order.
pub(crate) fn encode(
    writer: &mut Writer<'_>,
    delay_us: u64,
    ranges: impl Iterator<Item = RangeInclusive<u64>>,
    max_ranges: usize,
) -> Result<(), NoRoom> {
    let mark = writer.written();
    let written = encode_ranges(writer, delay_us, ranges, max_ranges.min(MAX_RANGES));
    if written.is_err() {
        writer.rewind(mark);
    }
    written
}

fn encode_ranges(
    writer: &mut Writer<'_>,
    delay_us: u64,
    mut ranges: impl Iterator<Item = RangeInclusive<u64>>,
    max_ranges: usize,
) -> Result<(), NoRoom> {
    let newest = ranges.next().ok_or(NoRoom)?;
    let (mut low, high) = newest.into_inner();
    if high > MAX_NUMBER {
        return Err(NoRoom);
    }
    head(high, delay_us, writer)?;
    let count_at = writer.written();
    writer.u8(0)?;
    writer.varint(high.checked_sub(low).ok_or(NoRoom)?)?;
    for (more, range) in (1_u8..).zip(ranges.take(max_ranges.saturating_sub(1))) {
        let (next_low, next_high) = range.into_inner();
        let gap = low.checked_sub(next_high).and_then(|gap| gap.checked_sub(2)).ok_or(NoRoom)?;
        let len = next_high.checked_sub(next_low).ok_or(NoRoom)?;
        let mark = writer.written();
        if writer.varint(gap).and_then(|()| writer.varint(len)).is_err() {
            writer.rewind(mark);
            break;
        }
        writer.patch(count_at, more);
        low = next_low;
    }
    Ok(())
}
