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
    Malformed, NoRoom,
    codec::{Reader, Writer},
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
/// would have: index + 1 after a `Delivery`; after an `Order` of the set and lane before it unchanged, else its base.
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
