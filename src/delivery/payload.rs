//! The bytes of a message that waits: its own, in a buffer that is recycled, or shared with the queues of other peers.

use std::{ops::Deref, sync::Arc};

#[derive(Debug)]
pub(crate) enum Payload {
    Own(Vec<u8>),
    Shared(Arc<[u8]>),
}

impl Default for Payload {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}
