//! What a server gives to its client: connection ids, and once in a session a ticket for another server. Each is sent
//! until a packet that carried it is acknowledged. PROTOCOL.md, "Frames".

use super::Connection;
use crate::{
    delivery::recovery::{Content, Fate},
    wire::{
        codec::Writer,
        frame::{self, CID_LEN, Frame, MAX_TICKET},
        message::Context,
    },
};

/// Most ids that are good at once, so no more can be on their way.
const MOST: usize = 4;
/// What a REDIRECT frame has in front of its ticket: kind and length.
const REDIRECT_HEAD: usize = 3;

#[derive(Debug)]
pub(super) struct Given {
    sequence: u64,
    retire_below: u64,
    cid: [u8; CID_LEN],
    /// To be sent, for the first time or again.
    due: bool,
}

/// The request to go elsewhere. Stays, without its ticket, when it has arrived: there is one in a session.
#[derive(Debug)]
pub(super) struct Redirect {
    ticket: Vec<u8>,
    due: bool,
}

/// What became of a packet that carried the redirect.
pub(super) fn on_redirect_fate(redirect: &mut Option<Box<Redirect>>, fate: Fate) {
    let Some(redirect) = redirect else { return };
    match fate {
        Fate::Acked => (redirect.ticket, redirect.due) = (Vec::new(), false),
        Fate::Lost => redirect.due = !redirect.ticket.is_empty(),
        Fate::Overdue => {}
    }
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

    /// Asks the peer to go elsewhere, with REDIRECT, until that is known to have arrived. `false`: there was one in this
    /// session already, or the ticket is empty or too long.
    pub(crate) fn redirect(&mut self, ticket: &[u8]) -> bool {
        let fits = (1..=MAX_TICKET).contains(&ticket.len()) && ticket.len() + REDIRECT_HEAD <= self.capacity;
        let good = self.started && fits && self.control.redirect.is_none();
        if good {
            self.control.redirect = Some(Box::new(Redirect { ticket: ticket.to_vec(), due: true }));
        }
        good
    }

    /// Whether nothing is left to be sent or to be acknowledged, at either end, of what is known here.
    pub(crate) fn is_done(&self) -> bool {
        let redirected = self.control.redirect.as_ref().is_none_or(|redirect| redirect.ticket.is_empty());
        redirected && self.send.queued_messages() == 0 && !self.acks.is_pending()
    }

    pub(super) fn has_gift_due(&self) -> bool {
        self.control.given.iter().any(|given| given.due)
            || self.control.redirect.as_ref().is_some_and(|redirect| redirect.due)
    }

    /// Returns how many contents were noted.
    pub(super) fn write_gifts(&mut self, context: &mut Context, writer: &mut Writer<'_>) -> u32 {
        self.write_cids(context, writer) + u32::from(self.write_redirect(context, writer))
    }

    fn write_redirect(&mut self, context: &mut Context, writer: &mut Writer<'_>) -> bool {
        let Self { control, sent, .. } = self;
        let Some(redirect) = control.redirect.as_mut().filter(|redirect| redirect.due) else { return false };
        // Where it finds no room this time it is alone in the next packet.
        if frame::encode(&Frame::Redirect { ticket: &redirect.ticket }, context, writer).is_err() {
            return false;
        }
        redirect.due = false;
        sent.push_content(Content::Redirect);
        true
    }

    fn write_cids(&mut self, context: &mut Context, writer: &mut Writer<'_>) -> u32 {
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
