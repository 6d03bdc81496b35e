//! Bytes to values and back. Holds no keys, no clock and no state between packets; decoding never allocates by a
//! declared length, never indexes and never panics. The layouts are those of PROTOCOL.md, "Numbers" to "ACK".

pub(crate) mod ack;
pub(crate) mod codec;
pub(crate) mod envelope;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod hello;
pub(crate) mod message;
mod numbers;
pub(crate) mod parity;
pub(crate) mod plain;
#[cfg(test)]
mod tests;
pub(crate) mod worker;

pub use message::Guarantee;

/// Bytes that do not decode, or that decode but are not the one encoding of their value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The buffer is too short for what was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// Largest number that a varint, a packet number or a message number may hold: 2^62 - 1.
pub(crate) const MAX_NUMBER: u64 = (1 << 62) - 1;
