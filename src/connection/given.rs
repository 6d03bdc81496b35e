//! Connection ids on their way to a client: each is sent until a packet that carried it is acknowledged.
//! PROTOCOL.md, "Frames".

use super::Connection;
use crate::{
    delivery::recovery::{Content, Fate},
    wire::{
        codec::Writer,
        frame::{self, CID_LEN, Frame},
        message::Context,
    },
};

/// Most ids that are good at once, so no more can be on their way.
const MOST: usize = 4;

#[derive(Debug)]
pub(super) struct Given {
    sequence: u64,
    retire_below: u64,
    cid: [u8; CID_LEN],
    /// To be sent, for the first time or again.
    due: bool,
}

/// What became of a packet that carried the id of this sequence number.
pub(super) fn on_fate(given: &mut Vec<Given>, sequence: u64, fate: Fate) {
    match fate {
        Fate::Acked => {
            given.retain(|given| given.sequence != sequence);
            if given.is_empty() {
                *given = Vec::new();
            }
        }
        Fate::Lost => {
            given.iter_mut().filter(|given| given.sequence == sequence).for_each(|given| given.due = true);
        }
        Fate::Overdue => {}
    }
}

impl Connection {
    /// Sends the peer a connection id with NEW_CID, until it is known to have arrived.
    pub(crate) fn give_cid(&mut self, sequence: u64, retire_below: u64, cid: [u8; CID_LEN]) {
        if self.control.given.len() < MOST {
            self.control.given.push(Given { sequence, retire_below, cid, due: true });
        }
    }

    pub(super) fn has_cid_due(&self) -> bool {
        self.control.given.iter().any(|given| given.due)
    }

    /// Returns how many contents were noted.
    pub(super) fn write_cids(&mut self, context: &mut Context, writer: &mut Writer<'_>) -> u32 {
        let Self { control, sent, .. } = self;
        let mut written = 0;
        for given in control.given.iter_mut().filter(|given| given.due) {
            let Given { sequence, retire_below, cid, .. } = *given;
            if frame::encode(&Frame::NewCid { sequence, retire_below, cid }, context, writer).is_err() {
                break;
            }
            given.due = false;
            sent.push_content(Content::NewCid { sequence });
            written += 1;
        }
        written
    }
}
