//! The frames of a packet: one enum, an iterator that checks as it goes, an encoder. PROTOCOL.md, "Frames", holds
//! the registry that this file carries out.

use super::{ack::AckFrame, message::MessageFrame};

/// Longest reason of a CLOSE, in bytes.
pub(crate) const MAX_CLOSE_REASON: usize = 64;
/// Longest ticket in a CONFIRM or REDIRECT, in bytes.
pub(crate) const MAX_TICKET: usize = 1_024;
/// Length of a connection id, in bytes.
pub(crate) const CID_LEN: usize = 8;

/// One frame. Integers of fixed size are little-endian; all others are varints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// 0x00. The rest of the packet, all zero; at least one byte. Last.
    Padding { len: usize },
    /// 0x01.
    Ping,
    /// 0x02.
    Ack(AckFrame<'a>),
    /// 0x03, code u16, len u8 (<= 64), reason.
    Close { code: u16, reason: &'a [u8] },
    /// 0x04, cid_len u8 (0 or 8), cid, ticket length varint (<= 1,024), ticket.
    Confirm { cid: Option<[u8; CID_LEN]>, ticket: &'a [u8] },
    /// 0x05, scope varint (0 the session, else lane + 1), limit varint (absolute bytes).
    Window { lane: Option<u8>, limit: u64 },
    /// 0x06, lane u8, index, charge (what the message would have cost the window, in bytes).
    Skip { lane: u8, index: u64, charge: u64 },
    /// 0x07, lane u8, index.
    Skipped { lane: u8, index: u64 },
    /// 0x08, lane u8, index.
    Have { lane: u8, index: u64 },
    /// 0x09, 8 bytes.
    PathChallenge([u8; 8]),
    /// 0x0a, 8 bytes.
    PathResponse([u8; 8]),
    /// 0x0b, sequence, retire_below (<= sequence), cid.
    NewCid { sequence: u64, retire_below: u64, cid: [u8; CID_LEN] },
    /// 0x0c, ticket length varint (1 to 1,024), ticket.
    Redirect { ticket: &'a [u8] },
    /// 0x80 to 0xdf. 0x0d PARITY and 0x30 to 0x33 (key mix) are reserved; everything else is malformed.
    Message(MessageFrame<'a>),
}

/// STAND-IN.
pub(crate) fn encode(frame: &Frame<'_>, _context: &mut super::message::Context, w: &mut super::codec::Writer<'_>) -> Result<(), super::NoRoom> {
    if let Frame::Close { code, reason } = frame { w.u8(3)?; w.u16(*code)?; w.u8(reason.len() as u8)?; w.bytes(reason)?; }
    Ok(())
}
