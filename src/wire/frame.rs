//! The frames of a packet: one enum, an iterator that checks as it goes, an encoder. PROTOCOL.md, "Frames", holds
//! the registry that this file carries out.

use super::{
    Malformed, NoRoom,
    ack::{self, AckFrame},
    codec::{Reader, Writer, is_zero},
    message::{self, Context, MessageFrame},
    parity::{self, ParityFrame},
};

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
    /// 0x0d, step, a message frame.
    Parity(ParityFrame<'a>),
    /// 0x80 to 0xdf. 0x30 to 0x33 (key mix) are reserved; everything else is malformed.
    Message(MessageFrame<'a>),
}

mod kind {
    pub(super) const PADDING: u8 = 0x00;
    pub(super) const PING: u8 = 0x01;
    pub(super) const ACK: u8 = crate::wire::ack::KIND;
    pub(super) const CLOSE: u8 = 0x03;
    pub(super) const CONFIRM: u8 = 0x04;
    pub(super) const WINDOW: u8 = 0x05;
    pub(super) const SKIP: u8 = 0x06;
    pub(super) const SKIPPED: u8 = 0x07;
    pub(super) const HAVE: u8 = 0x08;
    pub(super) const PATH_CHALLENGE: u8 = 0x09;
    pub(super) const PATH_RESPONSE: u8 = 0x0a;
    pub(super) const NEW_CID: u8 = 0x0b;
    pub(super) const REDIRECT: u8 = 0x0c;
    pub(super) const PARITY: u8 = crate::wire::parity::KIND;
}

impl Frame<'_> {
    /// Whether the receiver owes an acknowledgement for it.
    #[inline]
    pub(crate) fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Padding { .. } | Self::Ack(_) | Self::Close { .. })
    }

    /// Whether its acknowledgement may wait: a whole message that nobody repeats. PROTOCOL.md, "Acknowledgements".
    pub(crate) fn is_unrepeated(&self) -> bool {
        matches!(self, Self::Message(message) if message.is_unrepeated())
    }

    /// Whether the frame says nothing of where its sender is. PROTOCOL.md, "Roaming".
    pub(crate) fn is_probing(&self) -> bool {
        matches!(
            self,
            Self::Padding { .. } | Self::PathChallenge(_) | Self::PathResponse(_) | Self::NewCid { .. }
        )
    }

    /// Whether the frame has no meaning between plain endpoints, where it is refused as malformed.
    pub(crate) fn is_sealed_only(&self) -> bool {
        matches!(
            self,
            Self::Confirm { .. }
                | Self::PathChallenge(_)
                | Self::PathResponse(_)
                | Self::NewCid { .. }
                | Self::Redirect { .. }
        )
    }
}

/// The frames of a packet, in order. Stops after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Frames<'a> {
    reader: Reader<'a>,
    context: Context,
}

impl<'a> Frames<'a> {
    #[inline]
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Self { reader: Reader::new(payload), context: Context::default() }
    }

    /// Bytes of the payload that were not read yet. Right after a message frame, its bytes end where these begin.
    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        self.reader.rest().len()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.reader.rest().split_first()?;
        self.reader = Reader::new(rest);
        let frame = if message::KINDS.contains(&kind) {
            message::decode(kind, &mut self.reader, &mut self.context).map(Frame::Message)
        } else if kind == kind::PARITY {
            parity::decode(&mut self.reader, &mut self.context).map(Frame::Parity)
        } else {
            decode_control(kind, &mut self.reader)
        };
        if frame.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(frame)
    }
}

/// Whether the whole payload decodes and says something: at least one frame that is not padding. A second ACK could
/// only repeat the first, and each costs a pass over all packets on their way, so there is none.
pub(crate) fn check(payload: &[u8]) -> Result<(), Malformed> {
    Checked::new(payload).map(drop)
}

/// Frames of a payload that are kept decoded while the rest is checked.
const FEW: usize = 2;

/// The frames of a payload that decodes as a whole, each with the bytes left behind it: right after a message frame, its
/// bytes end where these begin. Most payloads have so few that none is decoded twice.
#[derive(Debug)]
pub(crate) struct Checked<'p> {
    few: [Option<(Frame<'p>, usize)>; FEW],
    at: usize,
    rest: Frames<'p>,
}

impl<'p> Checked<'p> {
    /// As [`check`].
    #[inline]
    pub(crate) fn new(payload: &'p [u8]) -> Result<Self, Malformed> {
        let mut this = Self { few: [const { None }; FEW], at: 0, rest: Frames::new(payload) };
        let (mut any, mut acks) = (false, 0_u32);
        let mut heed = |frame: &Frame<'_>| {
            any |= !matches!(frame, Frame::Padding { .. });
            acks += u32::from(matches!(frame, Frame::Ack(_)));
        };
        for place in &mut this.few {
            let Some(frame) = this.rest.next().transpose()? else { break };
            heed(&frame);
            *place = Some((frame, this.rest.remaining()));
        }
        for frame in this.rest.clone() {
            heed(&frame?);
        }
        if any && acks <= 1 { Ok(this) } else { Err(Malformed) }
    }
}

impl<'p> Iterator for Checked<'p> {
    type Item = (Frame<'p>, usize);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(place) = self.few.get_mut(self.at) {
            self.at += 1;
            return place.take();
        }
        // What was checked decodes again.
        let frame = self.rest.next()?.ok()?;
        Some((frame, self.rest.remaining()))
    }
}

#[inline(never)]
fn decode_control<'a>(kind: u8, reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    Ok(match kind {
        kind::PADDING => {
            let rest = reader.take_rest();
            if !is_zero(rest) {
                return Err(Malformed);
            }
            Frame::Padding { len: rest.len() + 1 }
        }
        kind::PING => Frame::Ping,
        kind::ACK => Frame::Ack(ack::decode(reader)?),
        kind::CLOSE => {
            let code = reader.u16()?;
            let len = usize::from(reader.u8()?);
            Frame::Close { code, reason: reader.bytes(at_most(len, MAX_CLOSE_REASON)?)? }
        }
        kind::CONFIRM => Frame::Confirm { cid: read_cid(reader)?, ticket: read_ticket(reader)? },
        kind::WINDOW => {
            let lane = match reader.varint()?.checked_sub(1) {
                None => None,
                Some(lane) => Some(u8::try_from(lane).map_err(|_| Malformed)?),
            };
            Frame::Window { lane, limit: reader.varint()? }
        }
        kind::SKIP => Frame::Skip { lane: reader.u8()?, index: reader.varint()?, charge: reader.varint()? },
        kind::SKIPPED => Frame::Skipped { lane: reader.u8()?, index: reader.varint()? },
        kind::HAVE => Frame::Have { lane: reader.u8()?, index: reader.varint()? },
        kind::PATH_CHALLENGE => Frame::PathChallenge(reader.array()?),
        kind::PATH_RESPONSE => Frame::PathResponse(reader.array()?),
        kind::NEW_CID => {
            let sequence = reader.varint()?;
            Frame::NewCid { sequence, retire_below: reader.varint_up_to(sequence)?, cid: reader.array()? }
        }
        kind::REDIRECT => match read_ticket(reader)? {
            [] => return Err(Malformed),
            ticket => Frame::Redirect { ticket },
        },
        _ => return Err(Malformed),
    })
}

fn at_most(len: usize, max: usize) -> Result<usize, Malformed> {
    if len <= max { Ok(len) } else { Err(Malformed) }
}

fn read_ticket<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(reader.varint()?).map_err(|_| Malformed)?;
    reader.bytes(at_most(len, MAX_TICKET)?)
}

/// Reads `cid_len u8 (0 or 8), cid`.
pub(super) fn read_cid(reader: &mut Reader<'_>) -> Result<Option<[u8; CID_LEN]>, Malformed> {
    match usize::from(reader.u8()?) {
        0 => Ok(None),
        CID_LEN => reader.array().map(Some),
        _ => Err(Malformed),
    }
}

/// Writes a frame. On `NoRoom` (also for a frame that has no encoding because a value is out of range) the writer and
/// the context are as before. Nothing may be written after PADDING.
#[inline]
pub(crate) fn encode(
    frame: &Frame<'_>,
    context: &mut Context,
    writer: &mut Writer<'_>,
) -> Result<(), NoRoom> {
    if let Frame::Message(message) = frame {
        return message::encode(message, context, writer);
    }
    let mark = writer.written();
    let written = match frame {
        Frame::Parity(parity) => parity::encode(parity, context, writer),
        _ => encode_control(frame, writer),
    };
    if written.is_err() {
        writer.rewind(mark);
    }
    written
}

fn encode_control(frame: &Frame<'_>, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    match *frame {
        Frame::Padding { len: 0 } | Frame::Message(_) | Frame::Parity(_) => Err(NoRoom),
        Frame::Padding { len } => writer.zeros(len),
        Frame::Ping => writer.u8(kind::PING),
        Frame::Ack(ack) => ack::encode_again(&ack, writer),
        Frame::Close { code, reason } => {
            let len = u8::try_from(reason.len()).map_err(|_| NoRoom)?;
            if reason.len() > MAX_CLOSE_REASON {
                return Err(NoRoom);
            }
            writer.u8(kind::CLOSE)?;
            writer.u16(code)?;
            writer.u8(len)?;
            writer.bytes(reason)
        }
        Frame::Confirm { cid, ticket } => {
            writer.u8(kind::CONFIRM)?;
            write_cid(cid, writer)?;
            write_ticket(ticket, writer)
        }
        Frame::Window { lane, limit } => {
            writer.u8(kind::WINDOW)?;
            writer.varint(lane.map_or(0, |lane| u64::from(lane) + 1))?;
            writer.varint(limit)
        }
        Frame::Skip { lane, index, charge } => {
            write_index(kind::SKIP, lane, index, writer)?;
            writer.varint(charge)
        }
        Frame::Skipped { lane, index } => write_index(kind::SKIPPED, lane, index, writer),
        Frame::Have { lane, index } => write_index(kind::HAVE, lane, index, writer),
        Frame::PathChallenge(bytes) => writer.u8(kind::PATH_CHALLENGE).and_then(|()| writer.bytes(&bytes)),
        Frame::PathResponse(bytes) => writer.u8(kind::PATH_RESPONSE).and_then(|()| writer.bytes(&bytes)),
        Frame::NewCid { sequence, retire_below, .. } if retire_below > sequence => Err(NoRoom),
        Frame::NewCid { sequence, retire_below, cid } => {
            writer.u8(kind::NEW_CID)?;
            writer.varint(sequence)?;
            writer.varint(retire_below)?;
            writer.bytes(&cid)
        }
        Frame::Redirect { ticket: [] } => Err(NoRoom),
        Frame::Redirect { ticket } => writer.u8(kind::REDIRECT).and_then(|()| write_ticket(ticket, writer)),
    }
}

fn write_index(kind: u8, lane: u8, index: u64, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    writer.u8(kind)?;
    writer.u8(lane)?;
    writer.varint(index)
}

fn write_ticket(ticket: &[u8], writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    if ticket.len() > MAX_TICKET {
        return Err(NoRoom);
    }
    writer.varint(ticket.len() as u64)?;
    writer.bytes(ticket)
}

/// Writes `cid_len u8 (0 or 8), cid`.
pub(super) fn write_cid(cid: Option<[u8; CID_LEN]>, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    match cid {
        None => writer.u8(0),
        Some(cid) => writer.u8(8).and_then(|()| writer.bytes(&cid)),
    }
}
