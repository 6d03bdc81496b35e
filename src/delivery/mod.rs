//! Messages to frames and back: queues, sets, order, fragments, acknowledgements, loss. Knows no keys and no
//! addresses; takes `now` as an argument.

pub(crate) mod ack;
mod content;
mod copies;
mod counts;
mod expiry;
mod intake;
mod mend;
pub(crate) mod notices;
mod on_demand;
pub(crate) mod options;
pub(crate) mod outgoing;
pub(crate) mod pack;
pub(crate) mod parity;
mod path;
mod payload;
pub(crate) mod ranges;
pub(crate) mod rate;
pub(crate) mod recovery;
pub(crate) mod recv;
pub(crate) mod resend;
pub(crate) mod rest;
pub(crate) mod rtt;
mod schedule;
pub(crate) mod send;
pub(crate) mod send_lane;
mod skips;
mod slots;

pub use self::{
    notices::Outcome,
    options::{LaneOptions, LanePolicy, LaneStats, SendOptions, Strategy},
};
pub use crate::wire::Guarantee;

/// Names a message that this endpoint sent, in its events. Counts up from 1 over the endpoint's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(crate) u64);

/// An independent order inside a session. Lane 0 is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u8);
