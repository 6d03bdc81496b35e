//! What a server gives to its client: connection ids, and once in a session a ticket for another server. Each is sent
//! until a packet that carried it is acknowledged. PROTOCOL.md, "Frames".

use super::Awake;
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

/// All of it; takes memory only while there is something.
#[derive(Debug, Default)]
pub(super) struct Gifts(Option<Box<Given>>);

#[derive(Debug, Default)]
struct Given {
    cids: Vec<Cid>,
    redirect: Option<Redirect>,
}

#[derive(Debug)]
struct Cid {
    sequence: u64,
    retire_below: u64,
    cid: [u8; CID_LEN],
    /// To be sent, for the first time or again.
    due: bool,
}

/// The request to go elsewhere. Stays, without its ticket, when it has arrived: there is one in a session.
#[derive(Debug)]
struct Redirect {
    ticket: Vec<u8>,
    due: bool,
}

impl Gifts {
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Nothing has to be sent or to arrive.
    pub(super) fn may_rest(&self) -> bool {
        self.cids().is_empty() && self.redirect().is_none_or(|redirect| redirect.ticket.is_empty())
    }

    pub(super) fn has_redirected(&self) -> bool {
        self.redirect().is_some()
    }

    /// As it was when nothing had to be sent.
    pub(super) fn after_rest(redirected: bool) -> Self {
        let mut new = Self::default();
        if redirected {
            new.give().redirect = Some(Redirect { ticket: Vec::new(), due: false });
        }
        new
    }

    fn cids(&self) -> &[Cid] {
        self.0.as_ref().map(|given| given.cids.as_slice()).unwrap_or_default()
    }

    fn redirect(&self) -> Option<&Redirect> {
        self.0.as_ref().and_then(|given| given.redirect.as_ref())
    }

    fn give(&mut self) -> &mut Given {
        self.0.get_or_insert_default()
    }

    /// What became of a packet that carried the redirect.
    pub(super) fn on_redirect_fate(&mut self, fate: Fate) {
        let Some(redirect) = self.0.as_mut().and_then(|given| given.redirect.as_mut()) else { return };
        match fate {
            Fate::Acked => (redirect.ticket, redirect.due) = (Vec::new(), false),
            Fate::Lost => redirect.due = !redirect.ticket.is_empty(),
            Fate::Overdue => {}
        }
    }

    /// What became of a packet that carried the id of this sequence number.
    pub(super) fn on_cid_fate(&mut self, sequence: u64, fate: Fate) {
        let Some(Given { cids, redirect }) = self.0.as_deref_mut() else { return };
        match fate {
            Fate::Acked => cids.retain(|cid| cid.sequence != sequence),
            Fate::Lost => {
                cids.iter_mut().filter(|cid| cid.sequence == sequence).for_each(|cid| cid.due = true);
            }
            Fate::Overdue => {}
        }
        if cids.is_empty() {
            *cids = Vec::new();
            if redirect.is_none() {
                self.clear();
            }
        }
    }
}

impl Awake {
    /// Sends the peer a connection id with NEW_CID, until it is known to have arrived.
    pub(crate) fn give_cid(&mut self, sequence: u64, retire_below: u64, cid: [u8; CID_LEN]) {
        if self.control.gifts.cids().len() < MOST {
            self.control.gifts.give().cids.push(Cid { sequence, retire_below, cid, due: true });
        }
    }

    /// Asks the peer to go elsewhere, with REDIRECT, until that is known to have arrived. `false`: there was one in this
    /// session already, or the ticket is empty or too long.
    pub(crate) fn redirect(&mut self, ticket: &[u8]) -> bool {
        let fits = (1..=MAX_TICKET).contains(&ticket.len()) && ticket.len() + REDIRECT_HEAD <= self.capacity;
        let good = self.started && fits && self.control.gifts.redirect().is_none();
        if good {
            self.control.gifts.give().redirect = Some(Redirect { ticket: ticket.to_vec(), due: true });
        }
        good
    }

    /// Whether nothing is left to be sent or to be acknowledged, at either end, of what is known here.
    pub(crate) fn is_done(&self) -> bool {
        let redirected = self.control.gifts.redirect().is_none_or(|redirect| redirect.ticket.is_empty());
        redirected && self.send.queued_messages() == 0 && !self.acks.is_pending()
    }

    pub(super) fn has_gift_due(&self) -> bool {
        let gifts = &self.control.gifts;
        gifts.cids().iter().any(|cid| cid.due) || gifts.redirect().is_some_and(|redirect| redirect.due)
    }

    /// Returns how many contents were noted.
    pub(super) fn write_gifts(&mut self, context: &mut Context, writer: &mut Writer<'_>) -> u32 {
        let Self { control, sent, .. } = self;
        let Some(Given { cids, redirect }) = control.gifts.0.as_deref_mut() else { return 0 };
        let mut written = 0;
        for given in cids.iter_mut().filter(|given| given.due) {
            let Cid { sequence, retire_below, cid, .. } = *given;
            if frame::encode(&Frame::NewCid { sequence, retire_below, cid }, context, writer).is_err() {
                return written;
            }
            given.due = false;
            sent.push_content(Content::NewCid { sequence });
            written += 1;
        }
        if let Some(redirect) = redirect.as_mut().filter(|redirect| redirect.due) {
            // Where it finds no room this time it is alone in the next packet.
            if frame::encode(&Frame::Redirect { ticket: &redirect.ticket }, context, writer).is_ok() {
                redirect.due = false;
                sent.push_content(Content::Redirect);
                written += 1;
            }
        }
        written
    }
}
