//! The ACK frame: which packets arrived, newest first. PROTOCOL.md, "ACK".
//!
//! `0x02, largest, delay (units of 8 microseconds), more (0..=63), first_len - 1, more x (gap - 1, len - 1)`, all
//! varints. `gap` counts the packets missing between two ranges, `len` those in a range.

use super::{
    Malformed, NoRoom,
    codec::{Reader, Writer},
};

/// Most ranges that one ACK frame carries.
pub(crate) const MAX_RANGES: usize = 64;

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
