//! The session in use: its keys, when they step forward, which packet numbers are left out, how often the peer may err.
//! Knows no messages. PROTOCOL.md, "Ratchet", "Blind acknowledgements", "Limits".

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand_core::TryCryptoRng;

use super::{
    Agreed, Failure,
    chance::{jittered, random_below},
    cids::Cids,
    messages::{self, PACKET_OVERHEAD},
    roam::{Probe, Roam},
    seal::{Prefix, room, seal_frame, seal_packet},
};
use crate::{
    config::{Config, Padding},
    connection::{BASE_DATAGRAM, Connection, Negotiated},
    crypto::{self, Channel, PublicKey, Secret, Side},
    wire::frame::{CID_LEN, Frame, MAX_CLOSE_REASON},
};

/// How often CLOSE is sent, each time under its own number.
const CLOSES: usize = 3;
/// Violations after which the session closes.
const MAX_VIOLATIONS: u8 = 8;
/// The sender waits for acknowledgements rather than let the receiver lose track of the numbers.
const MAX_AHEAD: u64 = 1 << 28;
/// A receiver takes two steps of an epoch within a second for a violation. We count from the moment at which we know
/// that it has seen the last step, and add a margin for clocks that run differently.
const MIN_STEP: Duration = Duration::from_millis(1_250);
/// Numbers that are left out: one among the first so many, then one in every `SKIP_LEAST` to twice `SKIP_MORE`.
const SKIP_FIRST: u32 = 16;
const SKIP_LEAST: u32 = 1_024;
const SKIP_MORE: u32 = 3_073;

#[derive(Debug)]
pub(super) struct Live {
    pub(super) channel: Channel,
    pub(super) side: Side,
    pub(super) peer: Option<PublicKey>,
    /// Reference of the Noise message 1 that made the session.
    pub(super) init: [u8; 16],
    pub(super) negotiated: Negotiated,
    /// What stands before our packets to a server.
    pub(super) prefix: Option<Box<Prefix>>,
    /// The ids of the server to which we are a client.
    pub(super) cids: Option<Box<Cids>>,
    pub(super) violations: u8,
    /// Datagrams that no key opened.
    pub(super) failures: u64,
    /// The first and the last PING that a stranger's INIT made us send. PROTOCOL.md, "Replacement".
    pub(super) probe: Option<Box<(Instant, Instant)>>,
    pub(super) kept_alive: Instant,
    skip_at: u64,
    ratchet: Ratchet,
}

/// When our sending keys step forward.
#[derive(Debug)]
struct Ratchet {
    at_number: u64,
    at: Instant,
    /// First number of the current epoch.
    first: u64,
    /// When the first acknowledgement of a packet of the current epoch had come.
    seen: Option<Instant>,
    pinged: bool,
}

impl Ratchet {
    fn plan<R: TryCryptoRng + ?Sized>(
        config: &Config,
        first: u64,
        now: Instant,
        rng: &mut R,
    ) -> Result<Self, Failure> {
        // Both with +-10 %, so that the steps of a million sessions do not tell when they began.
        let packets = config.ratchet_packets;
        let spread = u32::try_from(packets / 5).unwrap_or(u32::MAX).saturating_add(1);
        let packets = packets - packets / 10 + u64::from(random_below(rng, spread)?);
        let at = now + jittered(rng, config.ratchet_interval, 100)?;
        Ok(Self { at_number: first.saturating_add(packets), at, first, seen: None, pinged: false })
    }
}

impl Live {
    pub(super) fn begin<R: TryCryptoRng + ?Sized>(
        agreed: Agreed,
        config: &Config,
        now: Instant,
        rng: &mut R,
    ) -> Result<Self, Failure> {
        let Agreed { channel, side, peer, init, negotiated, cid, prefix } = agreed;
        let cids = cid.map(|cid| Cids::new(now, cid, rng)).transpose()?.map(Box::new);
        let first = channel.seal.next_number();
        Ok(Self {
            skip_at: first.saturating_add(random_below(rng, SKIP_FIRST)?.into()),
            ratchet: Ratchet::plan(config, 0, now, rng)?,
            channel,
            side,
            peer,
            init: messages::reference(&init),
            negotiated,
            prefix: Some(prefix).filter(|prefix| prefix.len() > 0).map(Box::new),
            cids,
            violations: 0,
            failures: 0,
            probe: None,
            kept_alive: now,
        })
    }

    /// The server's id for this session is another one from now on. Without one, nothing stands before packets.
    pub(super) fn take_cid(&mut self, cid: [u8; CID_LEN]) {
        if let Some(prefix) = &mut self.prefix {
            **prefix = prefix.with_cid(cid);
        }
    }

    /// A key that only the two ends of this session can compute. PROTOCOL.md, "Keys".
    pub(super) fn export_key(&self, context: &[u8]) -> Secret<32> {
        crypto::hmac(self.channel.exporter.as_bytes(), &[b"app", context, &[1]])
    }

    /// Counts a violation; whether it was one too many.
    pub(super) fn violated(&mut self) -> bool {
        self.violations = self.violations.saturating_add(1);
        self.violations >= MAX_VIOLATIONS
    }

    /// Lets the sending keys step forward if that is due and the peer can follow, and sees to it that it soon can.
    fn tick<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        config: &Config,
        connection: &mut Connection,
        rng: &mut R,
    ) -> Result<(), Failure> {
        let acked = connection.largest_acked().is_some_and(|largest| largest >= self.ratchet.first);
        if acked && self.ratchet.seen.is_none() {
            self.ratchet.seen = Some(now);
        }
        let number = self.channel.seal.next_number();
        if number < self.ratchet.at_number && now < self.ratchet.at {
            return Ok(());
        }
        match self.ratchet.seen {
            Some(seen) if now >= seen + step_gap(connection) => {
                self.channel.seal.ratchet();
                self.ratchet = Ratchet::plan(config, number, now, rng)?;
                // The peer follows when a packet of the new epoch arrives; without traffic this is the only one.
                connection.ping(now);
            }
            None if !self.ratchet.pinged => {
                self.ratchet.pinged = true;
                connection.ping(now);
            }
            _ => {}
        }
        Ok(())
    }

    /// When the peer was heard last, or began.
    fn heard(&self, connection: &Connection) -> Instant {
        connection.last_received().unwrap_or(self.kept_alive)
    }

    /// When nothing will have been heard for the idle timeout.
    pub(super) fn idle_at(&self, connection: &Connection) -> Instant {
        self.heard(connection) + self.negotiated.idle_timeout
    }

    /// Whether nothing was heard for the idle timeout.
    pub(super) fn is_idle(&self, now: Instant, connection: &Connection) -> bool {
        now >= self.idle_at(connection)
    }

    /// When something is due on this path. Towards an address that has proven nothing only challenges leave: the rest
    /// waits for its answer.
    pub(super) fn deadline_on(&self, roam: &Roam, config: &Config, connection: &Connection) -> Instant {
        let own = if roam.is_proven() { self.deadline(config, connection) } else { self.idle_at(connection) };
        roam.deadline().map_or(own, |roam| roam.min(own))
    }

    /// When `handle_timeout` has something to do, or the session is idle.
    pub(super) fn deadline(&self, config: &Config, connection: &Connection) -> Instant {
        let heard = self.heard(connection);
        let idle = self.idle_at(connection);
        let keep_alive = heard.max(self.kept_alive) + config.keep_alive_for(self.negotiated.idle_timeout);
        let others = [connection.deadline(), self.channel.open.previous_deadline()];
        let soonest = others.into_iter().flatten().fold(idle.min(keep_alive), Instant::min);
        // No step is due before its time, unless by its number; most often that is far away.
        if self.ratchet.at >= soonest && self.channel.seal.next_number() < self.ratchet.at_number {
            return soonest;
        }
        self.step_due(connection).map_or(soonest, |step| step.min(soonest))
    }

    /// Runs what is due in a session that is not idle.
    pub(super) fn handle_timeout<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        config: &Config,
        connection: &mut Connection,
        rng: &mut R,
    ) -> Result<(), Failure> {
        // By the next timer, not at once: traffic with short rests finds its keys where they were.
        if connection.is_resting() {
            self.channel.rest();
        }
        connection.handle_timeout(now);
        let interval = config.keep_alive_for(self.negotiated.idle_timeout);
        if now >= self.heard(connection).max(self.kept_alive) + interval {
            self.kept_alive = now;
            connection.ping(now);
        }
        self.channel.open.forget_previous(now);
        self.tick(now, config, connection, rng)
    }

    /// When `tick` has something to do that no packet will remind it of.
    fn step_due(&self, connection: &Connection) -> Option<Instant> {
        let due_by_number = self.channel.seal.next_number() >= self.ratchet.at_number;
        match self.ratchet.seen {
            Some(seen) if due_by_number => Some(seen + step_gap(connection)),
            Some(seen) => Some(self.ratchet.at.max(seen + step_gap(connection))),
            None if self.ratchet.pinged => None,
            None => Some(self.ratchet.at),
        }
    }

    /// Leaves a number out when its turn has come, so that an acknowledgement of it proves that the peer invents.
    fn skip<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        rng: &mut R,
    ) -> Result<(), Failure> {
        let number = self.channel.seal.next_number();
        if number >= self.skip_at {
            self.channel.seal.skip_number();
            connection.skip(now, number);
            let distance = SKIP_LEAST + random_below(rng, SKIP_MORE)?;
            self.skip_at = number.saturating_add(distance.into());
        }
        Ok(())
    }

    /// Writes the next packet with messages, acknowledgements or control into `out`, which has room for the largest
    /// datagram; 0 if there is none.
    pub(super) fn transmit<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        config: &Config,
        connection: &mut Connection,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<usize, Failure> {
        if !self.may_send(connection) {
            return Ok(0);
        }
        self.tick(now, config, connection, rng)?;
        self.skip(now, connection, rng)?;
        let out_len = out.len();
        let out = out.get_mut(..out_len.min(self.negotiated.max_datagram.into())).ok_or(Failure::Room)?;
        let written = connection.transmit(
            now,
            self.channel.seal.next_number(),
            room(front(self.prefix.as_deref()), out)?,
        );
        if written == 0 {
            return Ok(0);
        }
        // All ids have one length, so what was written stays where it is.
        if let Some(cid) = self.cids.as_mut().map(|cids| cids.next_packet(now, rng)).transpose()?.flatten() {
            self.take_cid(cid);
        }
        // Padding must not make it larger than the path is known to take.
        let least = front(self.prefix.as_deref()).len() + written + PACKET_OVERHEAD;
        let largest = usize::from(connection.mtu()).max(least).min(out.len());
        let out = out.get_mut(..largest).ok_or(Failure::Room)?;
        seal_packet(&mut self.channel.seal, front(self.prefix.as_deref()), written, config.padding, out)
    }

    /// The next datagram and where it goes; its length is 0 if there is none. Questions of the path come first, and until
    /// that is proven there is nothing else.
    pub(super) fn transmit_on<R: TryCryptoRng + ?Sized>(
        &mut self,
        roam: &mut Roam,
        now: Instant,
        config: &Config,
        connection: &mut Connection,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<(usize, SocketAddr), Failure> {
        if let Some(probe) = roam.poll(now, connection.pto(), front(self.prefix.as_deref()).len()) {
            let len = self.transmit_probe(now, config.padding, connection, &probe, out)?;
            roam.pay(probe.to, len);
            return Ok((len, probe.to));
        }
        let len = if roam.is_proven() { self.transmit(now, config, connection, rng, out)? } else { 0 };
        Ok((len, roam.address()))
    }

    /// Seals a packet of one frame that must leave on a path of its own.
    fn transmit_probe(
        &mut self,
        now: Instant,
        padding: Padding,
        connection: &mut Connection,
        probe: &Probe,
        out: &mut [u8],
    ) -> Result<usize, Failure> {
        if !self.may_send(connection) {
            return Ok(0);
        }
        let number = self.channel.seal.next_number();
        let most = u16::try_from(probe.most).unwrap_or(u16::MAX);
        let max = self.negotiated.max_datagram.min(BASE_DATAGRAM).min(most);
        let len = seal_frame(
            &mut self.channel.seal,
            front(self.prefix.as_deref()),
            &probe.frame,
            padding,
            max,
            out,
        )?;
        connection.pass_over(now, number);
        Ok(len)
    }

    /// Seals the CLOSE packets of this session. Its sending keys must not be used again.
    pub(super) fn say_close(
        &mut self,
        padding: Padding,
        code: u16,
        reason: &[u8],
        mut send: impl FnMut(Vec<u8>),
    ) {
        let max = self.negotiated.max_datagram.min(BASE_DATAGRAM);
        let reason = reason.get(..MAX_CLOSE_REASON).unwrap_or(reason);
        for _ in 0..CLOSES {
            let mut datagram = vec![0; max.into()];
            let frame = Frame::Close { code, reason };
            // Without numbers left there is no farewell; the peer will time out.
            let sealed = seal_frame(
                &mut self.channel.seal,
                front(self.prefix.as_deref()),
                &frame,
                padding,
                max,
                &mut datagram,
            );
            let Ok(len) = sealed else { return };
            datagram.truncate(len);
            send(datagram);
        }
    }

    /// Whether the next number is still near enough to what the peer is known to have.
    fn may_send(&self, connection: &Connection) -> bool {
        let acked = connection.largest_acked().unwrap_or(0);
        self.channel.seal.next_number().saturating_sub(acked) < MAX_AHEAD
    }
}

/// What stands before our packets.
fn front(prefix: Option<&Prefix>) -> &Prefix {
    prefix.unwrap_or(&Prefix::NONE)
}

fn step_gap(connection: &Connection) -> Duration {
    MIN_STEP.max(connection.pto() * 3)
}
