//! What a packet carried, and what became of it: the words in which sent packets and the queues above them speak of each
//! other. Holds no message; a part is a reference that may have gone stale.

/// Something that a packet carried and that must be known to have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Bytes `offset..offset + len` of the message in `slot`, if it still is message `id`.
    Part { slot: u32, id: u64, offset: u32, len: u32 },
    /// An ACK frame that named `largest`.
    Ack { largest: u64 },
    /// A SKIP frame for message `id`.
    Skip { id: u64 },
    /// A WINDOW frame of the session.
    Window,
}

/// What became of a packet's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Acked,
    Lost,
}
