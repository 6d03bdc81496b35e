//! What an endpoint counts and measures. Nothing secret inside, and nothing here changes what the endpoint does.

mod packets;
mod tally;

use std::{io, time::Duration};

use crate::{error::Dropped, wire::Guarantee};

pub use packets::Packets;
pub(crate) use packets::Seen;
pub(crate) use tally::Tally;

/// Counters and measurements of an endpoint, as of one moment.
///
/// Counters start at 0 with the endpoint, grow over all its sessions and saturate. Measurements belong to the session.
/// To draw them, take a snapshot every so often and ask [`since`](Self::since) what came between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Whether datagrams are sealed: true for `SealedEndpoint`, false for a plain `Endpoint`.
    pub sealed: bool,
    /// Datagrams that the socket took.
    pub datagrams_sent: u64,
    /// Datagrams that the socket gave, whatever became of them.
    pub datagrams_received: u64,
    /// Bytes of the datagrams sent, without UDP and IP headers.
    pub bytes_sent: u64,
    /// Bytes of the datagrams received, without UDP and IP headers.
    pub bytes_received: u64,
    /// Messages that `send_*` took.
    pub messages_sent: PerGuarantee,
    /// Messages that `recv` yielded.
    pub messages_yielded: PerGuarantee,
    /// Bytes of the messages that `send_*` took.
    pub message_bytes_sent: u64,
    /// Bytes of the messages that `recv` yielded.
    pub message_bytes_yielded: u64,
    /// Received datagrams that were dropped, by reason.
    pub drops: Drops,
    /// Authenticated packets of the peer that broke the protocol.
    pub violations: u64,
    /// `Order` messages dropped at arrival because something newer had been yielded.
    pub stale_messages: u64,
    /// Messages dropped at arrival because they had arrived before.
    pub duplicate_messages: u64,
    /// Messages and fragments that were sent again.
    pub resends: u64,
    /// Of those, messages and fragments that were not lost: their first copy arrived after all.
    pub spurious_resends: u64,
    /// Parities that were sent ([`SendOptions::parity`](crate::SendOptions::parity)).
    pub parities_sent: u64,
    /// Pieces of messages that were restored from a parity of the peer, because they were lost or came later than it.
    pub restored_pieces: u64,
    /// Parities of the peer that nothing was missing for or for which there was no memory, and late pieces that had been
    /// restored.
    pub unneeded_parities: u64,
    /// Messages told as [`Outcome::Lost`](crate::Outcome::Lost) whose acknowledgement came later.
    pub late_acks: u64,
    /// What became of the packets of this side and of the peer: loss and reordering both ways.
    pub packets: Packets,
    /// Failures of the socket, by kind.
    pub socket_errors: SocketErrors,
    /// Round-trip times of the session; `None` before the first measurement.
    pub rtt: Option<Rtt>,
    /// Bytes on their way, unacknowledged.
    pub flight_bytes: u64,
    /// Bytes that may be on their way, as the rate control sees it.
    pub window_bytes: u64,
    /// Bytes in the send queue, 64 added for each message.
    pub queued_bytes: u64,
    /// Messages in the send queue, unsent or unacknowledged.
    pub queued_messages: u64,
    /// Bytes of the messages in the send queue that have not left once, with a little for their heads.
    pub unsent_bytes: u64,
    /// Bytes per second that the session may send at present, as far as it knows; `None` before the first round trip.
    pub rate: Option<u64>,
    /// How long what is unsent will take at that rate.
    pub queue_time: Option<Duration>,
    /// Largest datagram that the session sends, in bytes with everything inside the UDP header; 0 without a session.
    pub mtu: u64,
    /// What `mtu` starts at and never falls below in this session; 0 without a session.
    pub min_mtu: u64,
    /// Generation of the keys that this side sends with; 0 at first, and always for a plain endpoint.
    pub epoch_send: u64,
    /// Generation of the keys that the peer was last seen sending with.
    pub epoch_recv: u64,
}

impl Stats {
    /// What was counted since an `earlier` snapshot of the same endpoint; what is measured and not counted (`rtt`, the
    /// bytes on their way and in the queue, rate, mtu, epochs) stays as it is now. Counters of snapshots given in the
    /// wrong order become 0.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let less = u64::saturating_sub;
        Self {
            datagrams_sent: less(self.datagrams_sent, earlier.datagrams_sent),
            datagrams_received: less(self.datagrams_received, earlier.datagrams_received),
            bytes_sent: less(self.bytes_sent, earlier.bytes_sent),
            bytes_received: less(self.bytes_received, earlier.bytes_received),
            messages_sent: self.messages_sent.since(&earlier.messages_sent),
            messages_yielded: self.messages_yielded.since(&earlier.messages_yielded),
            message_bytes_sent: less(self.message_bytes_sent, earlier.message_bytes_sent),
            message_bytes_yielded: less(self.message_bytes_yielded, earlier.message_bytes_yielded),
            drops: self.drops.since(&earlier.drops),
            violations: less(self.violations, earlier.violations),
            stale_messages: less(self.stale_messages, earlier.stale_messages),
            duplicate_messages: less(self.duplicate_messages, earlier.duplicate_messages),
            resends: less(self.resends, earlier.resends),
            spurious_resends: less(self.spurious_resends, earlier.spurious_resends),
            parities_sent: less(self.parities_sent, earlier.parities_sent),
            restored_pieces: less(self.restored_pieces, earlier.restored_pieces),
            unneeded_parities: less(self.unneeded_parities, earlier.unneeded_parities),
            late_acks: less(self.late_acks, earlier.late_acks),
            packets: self.packets.since(&earlier.packets),
            socket_errors: self.socket_errors.since(&earlier.socket_errors),
            // What is measured.
            sealed: self.sealed,
            rtt: self.rtt,
            flight_bytes: self.flight_bytes,
            window_bytes: self.window_bytes,
            min_mtu: self.min_mtu,
            queued_bytes: self.queued_bytes,
            queued_messages: self.queued_messages,
            unsent_bytes: self.unsent_bytes,
            rate: self.rate,
            queue_time: self.queue_time,
            mtu: self.mtu,
            epoch_send: self.epoch_send,
            epoch_recv: self.epoch_recv,
        }
    }

    /// What it costs to send: bytes of the datagrams sent, with 28 bytes of IPv4 and UDP headers for each, per byte of
    /// the messages sent. `None` before the first of these.
    #[must_use]
    pub fn overhead(&self) -> Option<f64> {
        let wire = self.bytes_sent.saturating_add(self.datagrams_sent.saturating_mul(28));
        share(wire, self.message_bytes_sent)
    }
}

/// One counter for each guarantee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerGuarantee {
    /// Messages with the guarantee `None`.
    pub none: u64,
    /// Messages with the guarantee `Order`.
    pub order: u64,
    /// Messages with the guarantee `Delivery`.
    pub delivery: u64,
}

impl PerGuarantee {
    pub(crate) fn count(&mut self, guarantee: Guarantee) {
        add(
            match guarantee {
                Guarantee::None => &mut self.none,
                Guarantee::Order => &mut self.order,
                Guarantee::Delivery => &mut self.delivery,
            },
            1,
        );
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            none: self.none.saturating_sub(earlier.none),
            order: self.order.saturating_sub(earlier.order),
            delivery: self.delivery.saturating_sub(earlier.delivery),
        }
    }

    /// The sum of the three.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.none.saturating_add(self.order).saturating_add(self.delivery)
    }
}

/// Received datagrams that were dropped without an answer, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// Shorter or longer than any datagram of ours.
    pub length: u64,
    /// No key opened it (plain: the checksum or the session id did not match).
    pub unopened: u64,
    /// Its packet number was seen before.
    pub duplicate: u64,
    /// Its packet number is older than the replay window.
    pub too_old: u64,
    /// It opened, but its epoch does not fit its number.
    pub epoch: u64,
    /// A handshake message that fits no attempt, fails to read, or comes too often.
    pub handshake: u64,
    /// A handshake message of this endpoint that came back.
    pub reflected: u64,
    /// Only at a server: beyond what one round reads of one peer.
    pub share: u64,
}

impl Drops {
    pub(crate) fn count(&mut self, why: Dropped) {
        add(
            match why {
                Dropped::Length => &mut self.length,
                Dropped::Unopened => &mut self.unopened,
                Dropped::Duplicate => &mut self.duplicate,
                Dropped::TooOld => &mut self.too_old,
                Dropped::Epoch => &mut self.epoch,
                Dropped::Handshake => &mut self.handshake,
                Dropped::Reflected => &mut self.reflected,
                Dropped::Share => &mut self.share,
            },
            1,
        );
    }

    fn each(&mut self, other: &Self, change: fn(u64, u64) -> u64) {
        let Self { length, unopened, duplicate, too_old, epoch, handshake, reflected, share } = other;
        for (own, other) in [
            (&mut self.length, length),
            (&mut self.unopened, unopened),
            (&mut self.duplicate, duplicate),
            (&mut self.too_old, too_old),
            (&mut self.epoch, epoch),
            (&mut self.handshake, handshake),
            (&mut self.reflected, reflected),
            (&mut self.share, share),
        ] {
            *own = change(*own, *other);
        }
    }

    /// Adds the counters of another room.
    pub(crate) fn merge(&mut self, more: &Self) {
        self.each(more, u64::saturating_add);
    }

    fn since(mut self, earlier: &Self) -> Self {
        self.each(earlier, u64::saturating_sub);
        self
    }

    /// All drops together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let all = [
            self.length,
            self.unopened,
            self.duplicate,
            self.too_old,
            self.epoch,
            self.handshake,
            self.reflected,
            self.share,
        ];
        all.iter().fold(0, |sum, &each| sum.saturating_add(each))
    }
}

/// Failures of the socket, by kind. None of them ends a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketErrors {
    /// Sends for which the socket had no room. The datagram was kept and tried again.
    pub send_blocked: u64,
    /// Nobody listens at the peer's address (reported by the peer's host).
    pub refused: u64,
    /// The network or the host is down or unreachable.
    pub unreachable: u64,
    /// A datagram was too large for the path or the socket. While the session looks for the path's size this is its
    /// ordinary answer.
    pub too_large: u64,
    /// A firewall or the operating system's policy forbade it.
    pub permission: u64,
    /// A signal interrupted the call.
    pub interrupted: u64,
    /// Anything else.
    pub other: u64,
    /// The latest failure other than `send_blocked`.
    pub last: Option<io::ErrorKind>,
}

impl SocketErrors {
    /// Counts a failure. `WouldBlock` on receiving is no failure and must not come here.
    pub(crate) fn count(&mut self, error: &io::Error) {
        use io::ErrorKind as Kind;
        let counter = match error.kind() {
            Kind::WouldBlock => return add(&mut self.send_blocked, 1),
            _ if is_too_large(error) => &mut self.too_large,
            // An ICMP "port unreachable" shows up as a reset on Windows and as a refusal elsewhere.
            Kind::ConnectionRefused | Kind::ConnectionReset => &mut self.refused,
            Kind::NetworkDown | Kind::NetworkUnreachable | Kind::HostUnreachable => &mut self.unreachable,
            Kind::PermissionDenied => &mut self.permission,
            Kind::Interrupted => &mut self.interrupted,
            _ => &mut self.other,
        };
        add(counter, 1);
        self.last = Some(error.kind());
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            send_blocked: self.send_blocked.saturating_sub(earlier.send_blocked),
            refused: self.refused.saturating_sub(earlier.refused),
            unreachable: self.unreachable.saturating_sub(earlier.unreachable),
            too_large: self.too_large.saturating_sub(earlier.too_large),
            permission: self.permission.saturating_sub(earlier.permission),
            interrupted: self.interrupted.saturating_sub(earlier.interrupted),
            other: self.other.saturating_sub(earlier.other),
            last: self.last,
        }
    }

    /// All failures together, `send_blocked` left out.
    #[must_use]
    pub fn total(&self) -> u64 {
        let all =
            [self.refused, self.unreachable, self.too_large, self.permission, self.interrupted, self.other];
        all.iter().fold(0, |sum, &each| sum.saturating_add(each))
    }
}

/// `EMSGSIZE` has no kind of its own in `std`.
/// Whether the system says that a datagram is larger than the path, or the socket, takes.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    const EMSGSIZE: i32 = if cfg!(windows) {
        10_040
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        90
    } else {
        40
    };
    error.raw_os_error() == Some(EMSGSIZE)
}

/// Round-trip times of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rtt {
    /// The latest measurement.
    pub latest: Duration,
    /// The smallest measurement.
    pub min: Duration,
    /// The running mean.
    pub smoothed: Duration,
    /// The running mean deviation.
    pub variance: Duration,
    /// The running mean of what one measurement differs from the one before.
    pub jitter: Duration,
}

/// Bytes per second when so many take so long.
pub(crate) fn per_second(bytes: u64, time: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / time.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// How long so many bytes take at a rate per second; `None` when it stands still.
pub(crate) fn takes(bytes: u64, rate: u64) -> Option<Duration> {
    let nanos = (u128::from(bytes) * 1_000_000_000).checked_div(rate.into())?;
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

pub(crate) fn add(counter: &mut u64, more: usize) {
    *counter = counter.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_failures_are_counted_by_kind() {
        let mut errors = SocketErrors::default();
        for kind in [
            io::ErrorKind::WouldBlock,
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::NetworkDown,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::Interrupted,
            io::ErrorKind::BrokenPipe,
        ] {
            errors.count(&kind.into());
        }
        errors.count(&io::Error::from_raw_os_error(if cfg!(target_os = "linux") { 90 } else { 40 }));
        assert_eq!((errors.send_blocked, errors.refused, errors.unreachable), (1, 2, 2));
        assert_eq!((errors.too_large, errors.permission, errors.interrupted, errors.other), (1, 1, 1, 1));
        assert_eq!(errors.total(), 8);
    }

    #[test]
    fn a_delta_counts_what_came_between_and_keeps_what_is_measured() {
        let earlier = Stats {
            datagrams_sent: 10,
            bytes_sent: 1_000,
            message_bytes_sent: 500,
            packets: Packets { sent: 10, lost: 2, late: 1, ..Packets::default() },
            mtu: 1_200,
            ..Stats::default()
        };
        let mut later =
            Stats { datagrams_sent: 15, bytes_sent: 1_500, message_bytes_sent: 700, ..earlier.clone() };
        later.messages_yielded.none = 3;
        later.drops.epoch = 1;
        later.socket_errors.refused = 4;
        (later.packets.sent, later.packets.lost) = (30, 4);
        let delta = later.since(&earlier);
        assert_eq!((delta.datagrams_sent, delta.bytes_sent, delta.mtu), (5, 500, 1_200));
        assert_eq!((delta.messages_yielded.none, delta.drops.epoch, delta.socket_errors.refused), (3, 1, 4));
        assert_eq!((delta.packets.sent, delta.packets.lost, delta.packets.late), (20, 2, 0));
        assert_eq!(delta.overhead(), Some((500.0 + 5.0 * 28.0) / 200.0));
        assert_eq!(delta.packets.loss_out(), Some(0.1));
        assert_eq!(later.since(&later).datagrams_sent, 0);
    }

    #[test]
    fn rates_and_times_are_each_other_s_inverse() {
        assert_eq!(per_second(1_000, Duration::from_millis(100)), 10_000);
        assert_eq!(takes(1_000, 10_000), Some(Duration::from_millis(100)));
        assert_eq!((takes(1, 0), per_second(u64::MAX, Duration::ZERO)), (None, u64::MAX));
    }
}
