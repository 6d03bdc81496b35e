//! Where the one peer of an endpoint may be, over a socket with addresses: the addresses to dial, the one that answered,
//! and the path of the session. Over a connected socket there is none of this. Knows no keys; who reads a datagram says
//! whence it came. PROTOCOL.md, "Roaming".

use std::{net::SocketAddr, time::Instant};

use rand_core::TryCryptoRng;

use super::{
    Failure, Sealed,
    dial::Attempt,
    half_open::Source,
    roam::{Arrival, Roam},
};
use crate::{connection::Received, error::ConfigError, event::Event};

/// Addresses that one attempt dials.
pub(super) const MAX_DIALLED: usize = 8;
/// Addresses beside those to which one attempt sends INIT because somebody called from there.
const MAX_CALLERS: usize = 4;

/// All addresses of an endpoint's peer.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Where the application says that the peer may be.
    given: Vec<SocketAddr>,
    /// Where the peer of the last session was at its end.
    last: Option<SocketAddr>,
    /// Where the datagram that is being read came from, and its length.
    pub(super) from: Option<SocketAddr>,
    pub(super) bytes: usize,
    /// Where the datagram that was written last goes.
    pub(super) to: Option<SocketAddr>,
    /// Addresses to which INIT of this attempt has gone.
    dialled: Vec<SocketAddr>,
    /// Addresses to which the INIT that is due has not gone yet.
    round: Vec<SocketAddr>,
    cookie: [u8; 16],
    /// Where an extra INIT goes: somebody called or asked for a cookie from there.
    caller: Option<SocketAddr>,
    /// Where the RESP that was accepted came from: FIN and CONFIRM go there.
    answered: Option<SocketAddr>,
    /// The path that the session which is about to go live begins with, and whether it has proven itself.
    pub(super) first: Option<(SocketAddr, bool)>,
    /// The path of the live session.
    pub(super) roam: Option<Roam>,
    /// Where CLOSE goes.
    pub(super) closes_to: Option<SocketAddr>,
}

impl Paths {
    /// A new attempt begins.
    pub(super) fn begin_attempt(&mut self) {
        self.dialled.clear();
        self.round.clear();
        self.caller = None;
        self.answered = None;
    }

    /// Where the peer may be: first where it is or was.
    fn targets(&self) -> impl Iterator<Item = SocketAddr> {
        let known = self.roam.as_ref().map(Roam::address).or(self.last);
        let others = self.given.iter().copied().filter(move |&given| Some(given) != known);
        known.into_iter().chain(others).take(MAX_DIALLED)
    }

    /// The next INIT that is due: its cookie and where it goes.
    pub(super) fn next_init<R: TryCryptoRng + ?Sized>(
        &mut self,
        attempt: &mut Attempt,
        now: Instant,
        rng: &mut R,
    ) -> Result<Option<[u8; 16]>, Failure> {
        if self.round.is_empty() {
            // An extra one that nobody's call causes goes everywhere: our own address has changed.
            let to_all = attempt.is_due(now) || self.caller.is_none();
            let Some(cookie) = attempt.take_due(now, rng)? else { return Ok(None) };
            self.cookie = cookie;
            // The last one is taken first.
            let mut round: Vec<_> = self.targets().filter(|_| to_all).collect();
            round.reverse();
            if let Some(caller) = self.caller.take().filter(|caller| !round.contains(caller)) {
                if self.dialled.contains(&caller) || self.dialled.len() < MAX_DIALLED + MAX_CALLERS {
                    round.push(caller);
                }
            }
            self.round = round;
        }
        let Some(to) = self.round.pop() else { return Ok(None) };
        if !self.dialled.contains(&to) {
            self.dialled.push(to);
        }
        self.to = Some(to);
        Ok(Some(self.cookie))
    }

    /// Somebody whose INIT was read is where this datagram came from: our own INIT gets through to there now.
    pub(super) fn called(&mut self) {
        self.caller = self.from;
    }

    /// Whether INIT of this attempt has gone to where this datagram came from.
    pub(super) fn has_dialled_source(&self) -> bool {
        self.from.is_some_and(|from| self.dialled.contains(&from))
    }

    /// A RESP was accepted. From an address that was never dialled it proves nothing of that address.
    pub(super) fn answered(&mut self) {
        let dialled = self.dialled.first().copied();
        self.answered = self.from.filter(|_| self.has_dialled_source()).or(dialled);
    }

    /// FIN and CONFIRM go to where the RESP came from.
    pub(super) fn head_to_answer(&mut self) {
        self.to = self.answered;
    }

    /// Our own attempt is confirmed.
    pub(super) fn begin_as_initiator(&mut self) {
        self.first = self.answered.map(|answered| (answered, true));
    }

    /// An answer of ours is confirmed by this datagram.
    pub(super) fn begin_as_responder(&mut self, source: &Source) {
        self.first = self.from.map(|from| (from, source.proves(from)));
    }

    /// The path of a session that goes live now, by which `paid` bytes came.
    pub(super) fn begin_session<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        paid: usize,
    ) -> Result<(), Failure> {
        let first = self.first.take().map(|first| Roam::new(now, rng, first, paid).ok_or(Failure::Entropy));
        self.roam = first.transpose()?;
        Ok(())
    }

    /// The session is over; the peer is dialled where it was.
    pub(super) fn end_session(&mut self) {
        if let Some(roam) = self.roam.take() {
            self.last = Some(roam.address()).filter(|_| roam.is_proven()).or(self.last);
        }
    }
}

impl Sealed {
    /// The next datagram that is handed in came from there. Once called, it is called for every datagram.
    pub(crate) fn arrived_from(&mut self, from: SocketAddr) {
        self.paths.get_or_insert_default().from = Some(from);
    }

    /// Where the datagram that was written last goes; `None` over a connected socket.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        self.paths.as_ref()?.to
    }

    /// Where the packets of the live session go.
    pub(crate) fn path(&self) -> Option<SocketAddr> {
        self.paths.as_ref()?.roam.as_ref().map(Roam::address)
    }

    /// Where the peer may be, from the next datagram on that dials.
    pub(crate) fn set_addresses(&mut self, addresses: &[SocketAddr]) -> Result<(), ConfigError> {
        let error = |given: usize| ConfigError {
            field: "addresses",
            given: given as u64,
            min: 0,
            max: MAX_DIALLED as u64,
        };
        if addresses.len() > MAX_DIALLED {
            return Err(error(addresses.len()));
        }
        let paths = self.paths.get_or_insert_default();
        paths.given.clear();
        for &address in addresses.iter().filter(|&&address| is_somebody(address)) {
            if !paths.given.contains(&address) {
                paths.given.push(address);
            }
        }
        // The application has news: what the last session knew is older.
        paths.last = None;
        Ok(())
    }

    /// What an authentic packet of the live session says of the path by which it came.
    pub(super) fn heed_path<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        newest: bool,
        received: &Received<'_>,
    ) {
        let Self { paths, connection, live, .. } = self;
        let path = paths.as_mut().and_then(|paths| Some((paths.roam.as_mut()?, paths.from?, paths.bytes)));
        let Some((roam, from, bytes)) = path else {
            if let Some(data) = received.challenge {
                connection.answer_challenge(data);
            }
            return;
        };
        // A client stays with the address of its server.
        let is_client = live.as_ref().is_some_and(|live| live.cids.is_some());
        let arrival = Arrival { from, bytes, newest: newest && !is_client, probing: received.probing };
        if let Some(before) = roam.heed(now, rng, &arrival, received, connection) {
            self.push_event(Event::PathChanged { from: before, to: from });
        }
    }
}

/// Whether a datagram to this address can reach one peer and nobody else.
fn is_somebody(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, std::net::IpAddr::V4(four) if four.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}
