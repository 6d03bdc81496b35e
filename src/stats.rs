//! What an endpoint counts and measures. Nothing secret inside, and nothing here changes what the endpoint does.

use std::{io, time::Duration};

use crate::{error::Dropped, wire::Guarantee};

/// Counters and measurements of an endpoint, as of one moment.
///
/// Counters start at 0 with the endpoint, grow over all its sessions and saturate. Measurements belong to the session.
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
    /// Of those, the ones that turned out needless.
    pub spurious_resends: u64,
    /// Failures of the socket, by kind.
    pub socket_errors: SocketErrors,
    /// Round-trip times of the session; `None` before the first measurement.
    pub rtt: Option<Rtt>,
    /// Bytes on their way, unacknowledged.
    pub flight_bytes: u64,
    /// Bytes that may be on their way, as the rate control sees it.
    pub window_bytes: u64,
    /// Bytes per second that may leave, without UDP and IP headers; `None` without a limit.
    pub rate: Option<u64>,
    /// Bytes in the send queue, 64 added for each message.
    pub queued_bytes: u64,
    /// Messages in the send queue, unsent or unacknowledged.
    pub queued_messages: u64,
    /// Generation of the keys that this side sends with; 0 at first, and always for a plain endpoint.
    pub epoch_send: u64,
    /// Generation of the keys that the peer was last seen sending with.
    pub epoch_recv: u64,
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
            },
            1,
        );
    }

    /// Adds the counters of another room.
    pub(crate) fn merge(&mut self, more: &Self) {
        let Self { length, unopened, duplicate, too_old, epoch, handshake, reflected } = more;
        for (sum, more) in [
            (&mut self.length, length),
            (&mut self.unopened, unopened),
            (&mut self.duplicate, duplicate),
            (&mut self.too_old, too_old),
            (&mut self.epoch, epoch),
            (&mut self.handshake, handshake),
            (&mut self.reflected, reflected),
        ] {
            *sum = sum.saturating_add(*more);
        }
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
    /// A datagram was too large for the path or the socket.
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

    /// All failures together, `send_blocked` left out.
    #[must_use]
    pub fn total(&self) -> u64 {
        let all =
            [self.refused, self.unreachable, self.too_large, self.permission, self.interrupted, self.other];
        all.iter().fold(0, |sum, &each| sum.saturating_add(each))
    }
}

/// `EMSGSIZE` has no kind of its own in `std`.
fn is_too_large(error: &io::Error) -> bool {
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
}
