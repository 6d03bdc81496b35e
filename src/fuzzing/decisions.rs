//! The comparisons that must take the same time whatever they compare, one by one, for tools that watch them. The
//! packets' cipher is [`PacketCipher`](super::PacketCipher).

use std::net::SocketAddr;

use crate::{crypto::Secret, sealed};

/// Whether `cookie` is the one that this secret makes for a sender and his message.
#[must_use]
pub fn cookie(mut secret: [u8; 32], from: SocketAddr, id: &[u8; 32], cookie: &[u8; 16]) -> bool {
    sealed::is_cookie(&Secret::take(&mut secret), from, id, cookie)
}

/// Whether an answer to a path challenge has the bytes of the question.
#[must_use]
pub fn path_answer(asked: [u8; 8], data: [u8; 8]) -> bool {
    sealed::is_answer(asked, data)
}
