//! What can be asked of `send`. The one place that says which names there are and what they mean.

use std::time::Duration;

use sealgram::{Guarantee, MessageId, SealedEndpoint, SendError, SendOptions, UdpLike};

/// A name and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Nothing: the library repairs what is lost.
    Default,
    /// One copy, in a later datagram that leaves anyway.
    Copy,
    /// One copy 5 ms later, in a datagram of its own.
    Spaced,
    /// Three copies 5 ms apart: what `sealgram::Strategy::Critical` does.
    Critical,
}

pub(crate) const STRATEGIES: [Strategy; 4] =
    [Strategy::Default, Strategy::Copy, Strategy::Spaced, Strategy::Critical];

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Copy => "copy",
            Self::Spaced => "spaced",
            Self::Critical => "critical",
        }
    }

    /// Queues a message.
    pub(crate) fn send<U: UdpLike>(
        self,
        endpoint: &mut SealedEndpoint<U>,
        guarantee: Guarantee,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        let plain = SendOptions::new(guarantee);
        let options = match self {
            Self::Default => plain,
            Self::Copy => plain.copies(2, Duration::ZERO),
            Self::Spaced => plain.copies(2, Duration::from_millis(5)),
            Self::Critical => plain.copies(4, Duration::from_millis(5)),
        };
        endpoint.send_payload(options, bytes)
    }
}

pub(crate) fn guarantee_name(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::None => "none",
        Guarantee::Order => "order",
        Guarantee::Delivery => "delivery",
    }
}
