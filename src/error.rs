//! Errors by who must act: the caller (`ConfigError`, `SendError`), the session's life (`CloseReason`), or nobody
//! (`Dropped`, which is only counted). Nothing here tells a stranger anything.

use std::fmt;

/// A configuration value is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field of [`Config`](crate::Config) or [`LaneOptions`](crate::LaneOptions), by name.
    pub field: &'static str,
    /// What was given (milliseconds for durations, bytes or counts else).
    pub given: u64,
    /// The smallest value allowed.
    pub min: u64,
    /// The largest value allowed.
    pub max: u64,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, given, min, max } = self;
        write!(f, "{field} is {given}, but must be in {min}..={max}")
    }
}

impl std::error::Error for ConfigError {}

/// A message was not taken. Nothing of it was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The message is longer than its guarantee allows.
    TooLarge {
        /// Length of the message in bytes.
        len: usize,
        /// Largest length allowed in bytes.
        max: usize,
    },
    /// The send queue is full; try again when the peer has acknowledged something.
    Full {
        /// Bytes now queued, overhead included.
        queued_bytes: usize,
        /// Messages now queued.
        queued_messages: usize,
    },
    /// Half-written bytes stand in the way of a one-shot send or a new set.
    Unsent {
        /// How many bytes are waiting for `send_written` or `clear_written`.
        len: usize,
    },
    /// A set is already open on this lane.
    SetOpen,
    /// No set is open on this lane.
    NoSetOpen,
    /// The session has ended.
    Closed(CloseReason),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, max } => write!(f, "message of {len} bytes is over the limit of {max}"),
            Self::Full { queued_bytes, queued_messages } => {
                write!(f, "send queue is full: {queued_bytes} bytes in {queued_messages} messages")
            }
            Self::Unsent { len } => write!(f, "{len} half-written bytes were neither sent nor cleared"),
            Self::SetOpen => f.write_str("a set is already open on this lane"),
            Self::NoSetOpen => f.write_str("no set is open on this lane"),
            Self::Closed(reason) => write!(f, "session has ended: {reason}"),
        }
    }
}

impl std::error::Error for SendError {}

/// A dial could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The profile fixes the roles, and this side only answers.
    RoleIsFixed,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoleIsFixed => f.write_str("this side of the profile only answers; the other one dials"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// What the silence of the other side may mean. A guess for a human, never proof: anyone can cause it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Datagrams arrived that look like those of a plain endpoint.
    PeerSeemsPlain,
    /// Datagrams arrived that look like those of a sealed endpoint.
    PeerSeemsSealed,
}

/// Why a session ended or never began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// Nothing was heard from the peer for the idle timeout.
    TimedOut,
    /// No session came about within the connect timeout. The network may be down, nobody may be there, or the keys,
    /// the invite, the profile, the app id or the route differ: the wire never says which.
    HandshakeTimeout(Option<Hint>),
    /// The application called `close`.
    ClosedHere,
    /// The peer closed the session with this code.
    ClosedByPeer {
        /// The code that the peer's application gave to `close`, 0 to 0xfeff. Larger ones are the protocol's own: 0xfffe
        /// says that this side broke it, 0xfffd that too many datagrams failed to open there,
        /// 0xfffc that the server is full.
        code: u16,
    },
    /// Another session of the same peer, on another device, took this one's place.
    Replaced,
    /// The peer broke the protocol inside authenticated packets too often.
    ProtocolViolation,
    /// Too many datagrams failed to open.
    AeadLimit,
    /// Packet numbers are used up.
    KeysExhausted,
    /// The operating system's source of randomness failed.
    Entropy,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("nothing was heard from the peer for the idle timeout"),
            Self::HandshakeTimeout(hint) => {
                f.write_str("no session within the connect timeout (unreachable, or keys, invite, profile or app id differ)")?;
                match hint {
                    Some(Hint::PeerSeemsPlain) => f.write_str("; the peer seems to be a plain endpoint"),
                    Some(Hint::PeerSeemsSealed) => f.write_str("; the peer seems to be a sealed endpoint"),
                    None => Ok(()),
                }
            }
            Self::ClosedHere => f.write_str("closed by this side"),
            Self::ClosedByPeer { code } => write!(f, "closed by the peer with code {code}"),
            Self::Replaced => f.write_str("replaced by another session of the same peer"),
            Self::ProtocolViolation => f.write_str("the peer broke the protocol"),
            Self::AeadLimit => f.write_str("too many datagrams failed to open"),
            Self::KeysExhausted => f.write_str("packet numbers are used up"),
            Self::Entropy => f.write_str("the source of randomness failed"),
        }
    }
}

impl std::error::Error for CloseReason {}

/// Why a datagram was dropped. Counted in [`Stats`](crate::Stats), never returned and never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Shorter or longer than any datagram of ours.
    Length,
    /// No key opened it: forged, corrupted, of an old session, or a stray.
    Unopened,
    /// Its packet number was seen before.
    Duplicate,
    /// Its packet number is older than the replay window.
    TooOld,
    /// It opened, but its epoch does not fit its number.
    Epoch,
    /// A handshake message that fits no attempt, fails to read, or comes too often.
    Handshake,
    /// Our own handshake message came back.
    Reflected,
    /// One of many peers sent more than its share of what one round reads.
    Share,
}

/// An authenticated peer broke the protocol. PROTOCOL.md, "Violations".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A payload that does not decode canonically. Counted; the session closes at the eighth.
    Malformed,
    /// A bound that the peer knows was passed (window, index span, fragment totals). Counted like `Malformed`.
    Bound,
    /// An acknowledgement of a packet that was never sent. The session closes at once.
    ImpossibleAck,
}
