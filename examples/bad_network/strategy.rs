//! What can be asked of `send`. The one place that says which names there are and what they mean.

use std::time::Duration;

use sealgram::{Guarantee, SendOptions};

/// A name and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Nothing: the library repairs what is lost.
    Default,
    /// A second time with the next datagram that leaves anyway.
    Copy,
    /// A second time 4 ms later, in a datagram of its own if need be.
    Spaced,
    /// As often as the measured loss makes worth while.
    Adaptive,
    /// The library's preset: up to four times, 5 ms apart.
    Critical,
    /// With a parity among the pieces of a large state. For `Order` and `None`.
    Parity,
}

pub(crate) const STRATEGIES: [Strategy; 5] =
    [Strategy::Default, Strategy::Copy, Strategy::Spaced, Strategy::Adaptive, Strategy::Critical];

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Copy => "copy",
            Self::Spaced => "spaced",
            Self::Adaptive => "adaptive",
            Self::Critical => "critical",
            Self::Parity => "parity",
        }
    }

    /// What to hand to `send` for a `guarantee`; a preset brings its own.
    pub(crate) fn options(self, guarantee: Guarantee) -> SendOptions {
        let plain = SendOptions::new(guarantee);
        match self {
            Self::Default => plain,
            Self::Copy => plain.copies(2, Duration::ZERO),
            Self::Spaced => plain.copies(2, Duration::from_millis(4)),
            Self::Adaptive => plain.adaptive(),
            Self::Critical => sealgram::Strategy::Critical.options(),
            Self::Parity => plain.parity(),
        }
    }
}

pub(crate) fn guarantee_name(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::None => "none",
        Guarantee::Order => "order",
        Guarantee::Delivery => "delivery",
    }
}
