//! What can be asked of `send`. The one place that says which names there are and what they mean.

use sealgram::{Guarantee, MessageId, SealedEndpoint, SendError, UdpLike};

/// A name and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Nothing: the library repairs what is lost.
    Default,
}

pub(crate) const STRATEGIES: [Strategy; 1] = [Strategy::Default];

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
        }
    }

    /// Queues a message.
    pub(crate) fn send<U: UdpLike>(
        self,
        endpoint: &mut SealedEndpoint<U>,
        guarantee: Guarantee,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        match self {
            Self::Default => endpoint.send_payload(guarantee, bytes),
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
