//! One player: joins with a ticket, numbers what it says, and expects all of it back. Follows a redirect without a gap:
//! it leaves the old server when it is in at the new one and the old one owes it nothing.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use mio::net::UdpSocket;
use sealgram::{
    AddressRules, Config, Dialled, Event, Guarantee, PublicKey, SealedEndpoint, SecretKey, ShownTicket,
    Ticket,
};

use super::Outcome;

/// Bytes of what a player says: a number, and the rest of a game's input.
const WORD: usize = 64;

/// The number of a message.
pub(super) fn number(word: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*word.first_chunk()?))
}

struct Session {
    endpoint: SealedEndpoint<UdpSocket>,
    sent: u32,
    echoed: u32,
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) echoed: u64,
    pub(super) disordered: u64,
    pub(super) lost: usize,
    pub(super) redirected: usize,
}

pub(super) struct Player {
    own: SecretKey,
    /// It says to which servers this player may be sent.
    first: Ticket,
    session: Session,
    /// The dial that a redirect made.
    next: Option<Session>,
    /// What a redirect left behind.
    old: Option<Session>,
    pub(super) counts: Counts,
}

impl Session {
    fn dial(socket: UdpSocket, ticket: &Ticket, own: &SecretKey) -> Outcome<Self> {
        let mut endpoint = SealedEndpoint::from_ticket(socket, ticket, own, None, Config::default())?;
        endpoint.connect()?;
        let due = endpoint.maintain()?;
        Ok(Self { endpoint, sent: 0, echoed: 0, due })
    }

    /// Returns a redirect, if one came.
    fn step(&mut self, counts: &mut Counts) -> Option<ShownTicket> {
        while let Ok(Some(word)) = self.endpoint.recv() {
            counts.disordered += u64::from(number(&word) != Some(self.echoed));
            counts.echoed += 1;
            self.echoed += 1;
        }
        // The error of an end comes as an event, too.
        self.due = self.endpoint.maintain().ok().flatten();
        let mut redirect = None;
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Redirected { ticket } => redirect = Some(ticket),
                Event::Closed { reason, .. } => {
                    counts.lost += 1;
                    eprintln!("a player lost its session: {reason}");
                }
                _ => {}
            }
        }
        redirect
    }
}

impl Player {
    pub(super) fn new(own: SecretKey, ticket: Ticket, socket: UdpSocket) -> Outcome<Self> {
        let session = Session::dial(socket, &ticket, &own)?;
        Ok(Self { own, first: ticket, session, next: None, old: None, counts: Counts::default() })
    }

    /// `socket` makes another one, connected to the address that it is given.
    pub(super) fn step(
        &mut self,
        home: IpAddr,
        socket: impl FnOnce(SocketAddr) -> Outcome<UdpSocket>,
    ) -> Outcome<()> {
        if let Some(redirect) = self.session.step(&mut self.counts) {
            self.follow(&redirect, home, socket)?;
        }
        if let Some(mut next) = self.next.take() {
            next.step(&mut self.counts);
            if next.endpoint.is_connected() {
                self.counts.redirected += 1;
                self.old = Some(std::mem::replace(&mut self.session, next));
            } else {
                self.next = Some(next);
            }
        }
        if let Some(mut old) = self.old.take() {
            old.step(&mut self.counts);
            if old.echoed < old.sent {
                self.old = Some(old);
            } else {
                old.endpoint.close(0, b"");
            }
        }
        Ok(())
    }

    /// Goes where the server sends it, if the ticket that it began with allows that.
    fn follow(
        &mut self,
        redirect: &ShownTicket,
        home: IpAddr,
        socket: impl FnOnce(SocketAddr) -> Outcome<UdpSocket>,
    ) -> Outcome<()> {
        let ticket = Ticket::from_bytes(redirect)?;
        Dialled::from(&self.first).may_follow(&ticket)?;
        // This player dialled its own machine to begin with.
        let rules = AddressRules { loopback: home.is_loopback(), is_local: &|address| address == home };
        let named = ticket.addresses().iter().filter_map(|address| address.socket_addr());
        let address = *rules.select(named).first().ok_or("a redirect without a usable address")?;
        self.next = Some(Session::dial(socket(address)?, &ticket, &self.own)?);
        Ok(())
    }

    pub(super) fn say(&mut self) -> Outcome<()> {
        let mut word = [0; WORD];
        word[..4].copy_from_slice(&self.session.sent.to_le_bytes());
        self.session.endpoint.send_payload(Guarantee::Delivery, &word)?;
        self.session.due = self.session.endpoint.maintain().ok().flatten();
        self.session.sent += 1;
        self.counts.sent += 1;
        Ok(())
    }

    /// What its sockets have done, for who looks into a failure.
    pub(super) fn report(&self) -> String {
        let sessions = [Some(&self.session), self.next.as_ref(), self.old.as_ref()].into_iter().flatten();
        let told = sessions.map(|session| {
            let stats = session.endpoint.stats();
            let (out, back) = (stats.datagrams_sent, stats.datagrams_received);
            let (errors, drops) = (stats.socket_errors, stats.drops);
            format!(
                "{out} datagrams sent, {back} received, due {:?}, {errors:?}, {drops:?}",
                session.due.map(|due| due.saturating_duration_since(Instant::now()))
            )
        });
        told.collect::<Vec<_>>().join("; ")
    }

    pub(super) fn is_in(&self) -> bool {
        self.session.endpoint.is_connected()
    }

    /// Whether nothing that it said is without an answer.
    pub(super) fn is_answered(&self) -> bool {
        self.counts.sent == self.counts.echoed
    }

    /// Whether no redirect is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.next.is_none() && self.old.is_none()
    }

    pub(super) fn server(&self) -> Option<PublicKey> {
        self.session.endpoint.peer_key()
    }

    pub(super) fn session_name(&self) -> Option<[u8; 32]> {
        self.session.endpoint.handshake_hash()
    }

    /// When it wants to be stepped at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        let sessions = [Some(&self.session), self.next.as_ref(), self.old.as_ref()];
        sessions.into_iter().flatten().filter_map(|session| session.due).min()
    }
}
