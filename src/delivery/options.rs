//! How a message is to be sent, and how a lane treats what waits in it: plain values that an application chooses.
//! Knows no queue; every number is brought into its range here, so that nothing below must doubt it.

use std::time::Duration;

use super::{Guarantee, LaneId};
use crate::error::ConfigError;

/// Datagrams in which one message rides at most, however many copies are asked for.
const MOST_COPIES: u8 = 8;

/// The middle of the priorities: that of messages and lanes which name none.
const MIDDLE: u8 = 128;

/// How one message is to be sent. A [`Guarantee`] alone is the plain case; a [`Strategy`] is a ready-made choice.
///
/// ```
/// use std::time::Duration;
/// use sealgram::{Guarantee, LaneId, SendOptions};
///
/// let shot = SendOptions::new(Guarantee::Delivery).lane(LaneId(2)).expires(Duration::from_millis(250)).notice();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOptions {
    pub(crate) guarantee: Guarantee,
    pub(crate) lane: LaneId,
    pub(crate) expires: Option<Duration>,
    pub(crate) drop_late: bool,
    pub(crate) copies: u8,
    pub(crate) spacing: Duration,
    pub(crate) adaptive: bool,
    pub(crate) parity: bool,
    pub(crate) notice: bool,
    pub(crate) priority: u8,
    pub(crate) slot: Option<u32>,
}

impl SendOptions {
    /// Lane 0, no expiry, one copy, no notice, the middle priority, no slot.
    #[must_use]
    pub const fn new(guarantee: Guarantee) -> Self {
        Self {
            guarantee,
            lane: LaneId(0),
            expires: None,
            drop_late: false,
            copies: 1,
            spacing: Duration::ZERO,
            adaptive: false,
            parity: false,
            notice: false,
            priority: MIDDLE,
            slot: None,
        }
    }

    /// The lane: messages of different lanes never wait for each other. Default lane 0.
    #[must_use]
    pub const fn lane(mut self, lane: LaneId) -> Self {
        self.lane = lane;
        self
    }

    /// After this time, counted from the call that sends, the message is neither sent nor sent again. Default never.
    ///
    /// A `Delivery` that was sent in part or in whole is taken back: what comes after it no longer waits. If the peer
    /// had it already, it is yielded there all the same. What was lost of a `None` in several datagrams is sent again
    /// until then.
    #[must_use]
    pub const fn expires(mut self, after: Duration) -> Self {
        self.expires = Some(after);
        self
    }

    /// The message takes its remaining life along, and the peer does not yield it after that either: neither when it
    /// comes out of a hole, nor when it waited there for an earlier one. Without [`expires`](Self::expires) it does
    /// nothing. Costs up to 6 bytes a frame.
    #[must_use]
    pub const fn drop_late(mut self) -> Self {
        self.drop_late = true;
        self
    }

    /// Sends the message in `count` datagrams in all, 1 to 8; 0 counts as 1 and more as 8. It is yielded once.
    ///
    /// With a `spacing` of zero the copies ride in datagrams that leave anyway within a second, each in one that
    /// leaves later than the one before; otherwise one follows every `spacing`, in a datagram of its own if no other
    /// leaves then. Copies end when the message is acknowledged or expires. Default 1.
    #[must_use]
    pub const fn copies(mut self, count: u8, spacing: Duration) -> Self {
        self.copies = match count {
            0 => 1,
            1..=MOST_COPIES => count,
            _ => MOST_COPIES,
        };
        self.spacing = spacing;
        self
    }

    /// Lets the measured loss of the path decide in how many datagrams the message rides when it first leaves: in one
    /// without loss, in two from 0.5 % on, in three from 11 % on, the copies in datagrams that leave anyway. Costs at most
    /// three times the bytes. What [`copies`](Self::copies) asks for no longer counts. Default off.
    #[must_use]
    pub const fn adaptive(mut self) -> Self {
        self.adaptive = true;
        self.spacing = Duration::ZERO;
        self
    }

    /// Forward error correction (FEC) for a `None` or `Order` that is larger than a datagram: it leaves in four to seven
    /// pieces of one size and a parity of them (more of both if it is very large), and any one of these may be lost.
    ///
    /// Costs about a fifth more bytes, and no time. A large state in five datagrams of which 2 % are lost arrives in 90 %
    /// of cases, with parity in 99 %. Smaller messages are better off with [`copies`](Self::copies); they and a
    /// `Delivery`, whose lost parts are sent again, leave as without it. Default off.
    #[must_use]
    pub const fn parity(mut self) -> Self {
        self.parity = true;
        self
    }

    /// Asks for exactly one [`Event::Notice`](crate::Event::Notice) about what became of the message.
    #[must_use]
    pub const fn notice(mut self) -> Self {
        self.notice = true;
        self
    }

    /// Inside an open set, messages of a higher priority leave first; elsewhere it does nothing, because the order of
    /// a lane is the order of sending. 0 to 255, default 128. For lanes see [`LaneOptions::priority`].
    #[must_use]
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// The message replaces the one with the same key on its lane: an unsent one goes, and one that was sent and is
    /// not acknowledged is not sent again. The new one takes its place at the end of the lane. Default no key.
    #[must_use]
    pub const fn slot(mut self, key: u32) -> Self {
        self.slot = Some(key);
        self
    }
}

impl From<Guarantee> for SendOptions {
    fn from(guarantee: Guarantee) -> Self {
        Self::new(guarantee)
    }
}

/// Four ready-made choices for the usual needs of a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// State that the next tick makes worthless: `None`, in two datagrams, for 50 ms.
    RealTime,
    /// What is worth repairing while it is young: `Delivery`, given up after 250 ms.
    TimeSensitive,
    /// What should arrive: `Delivery`, in two datagrams, given up after 5 s.
    Reliable,
    /// What must arrive, and soon: `Delivery`, never given up, in up to four datagrams 5 ms apart.
    Critical,
}

impl Strategy {
    /// The options that the strategy stands for, to be used as they are or changed further.
    #[must_use]
    pub const fn options(self) -> SendOptions {
        match self {
            Self::RealTime => {
                SendOptions::new(Guarantee::None).expires(Duration::from_millis(50)).copies(2, Duration::ZERO)
            }
            Self::TimeSensitive => SendOptions::new(Guarantee::Delivery).expires(Duration::from_millis(250)),
            Self::Reliable => SendOptions::new(Guarantee::Delivery)
                .expires(Duration::from_secs(5))
                .copies(2, Duration::ZERO),
            Self::Critical => SendOptions::new(Guarantee::Delivery).copies(4, Duration::from_millis(5)),
        }
    }
}

impl From<Strategy> for SendOptions {
    fn from(strategy: Strategy) -> Self {
        strategy.options()
    }
}

/// What a lane does with a message for which its queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LanePolicy {
    /// The call fails with [`SendError::Full`](crate::SendError::Full). The default.
    #[default]
    Block,
    /// The oldest unsent `None` or `Order` of the lane is dropped, and counted in [`LaneStats::dropped`]; a `Delivery`
    /// never is, so that the call fails when nothing else waits.
    DropOldest,
}

/// How a lane shares the line and bounds its queue. Start from [`LaneOptions::default`] and change what you need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneOptions {
    /// Lanes of a higher priority go first, whatever others have waiting. 0 to 255, default 128.
    pub priority: u8,
    /// Share of the line, in bytes, among lanes of the same priority that have something to send. 1 to 65,535,
    /// default 16.
    pub weight: u16,
    /// Bytes that may wait on the lane, unsent or unacknowledged, each message counted with 64 bytes more than its
    /// length. 128 to 2^40; `None`, the default, is `Config::send_queue_bytes`. A longer message is `TooLarge`.
    pub queue_bytes: Option<usize>,
    /// Messages that may wait on the lane. 1 to 1,000,000; `None`, the default, is `Config::send_queue_messages`.
    pub queue_messages: Option<usize>,
    /// What happens when the queue is full. Default: the call fails.
    pub policy: LanePolicy,
}

impl Default for LaneOptions {
    fn default() -> Self {
        Self {
            priority: MIDDLE,
            weight: 16,
            queue_bytes: None,
            queue_messages: None,
            policy: LanePolicy::Block,
        }
    }
}

impl LaneOptions {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let range = |field: &'static str, given: u64, min: u64, max: u64| {
            if (min..=max).contains(&given) { Ok(()) } else { Err(ConfigError { field, given, min, max }) }
        };
        range("weight", self.weight.into(), 1, u16::MAX.into())?;
        range("queue_bytes", self.queue_bytes.map_or(128, |bytes| bytes as u64), 128, 1 << 40)?;
        range("queue_messages", self.queue_messages.map_or(1, |count| count as u64), 1, 1_000_000)
    }
}

/// The sending side of one lane, as of one moment. Counters grow over all sessions of the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStats {
    /// Bytes unsent or unacknowledged, 64 added for each message.
    pub queued_bytes: usize,
    /// Messages unsent or unacknowledged.
    pub queued_messages: usize,
    /// Bytes that were never sent.
    pub unsent_bytes: usize,
    /// How long a message sent now would wait before it leaves: the bytes ahead of it by the session's
    /// [rate](crate::Stats::rate); `None` before that is known. Zero when nothing is ahead of it.
    pub queue_time: Option<Duration>,
    /// Messages taken in.
    pub sent: u64,
    /// Messages dropped unsent by [`LanePolicy::DropOldest`].
    pub dropped: u64,
    /// Messages given up because their time was over, unless the peer turned out to have them.
    pub expired: u64,
    /// Messages replaced through their slot, unless the peer turned out to have them.
    pub superseded: u64,
    /// Copies that were sent beyond the first.
    pub copies: u64,
    /// Parts of messages that counted as lost; those of a `Delivery` were sent again.
    pub lost_parts: u64,
}
