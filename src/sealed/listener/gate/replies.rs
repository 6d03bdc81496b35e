//! Answers to strangers that wait for the socket. Bounded; each is the answer to one INIT and no longer than it, so
//! that nobody makes us send more to an address than came from it.

use std::{collections::VecDeque, net::SocketAddr};

use super::cookie::COOKIE_LEN;
use crate::wire::frame::CID_LEN;

/// Answers that may wait; beyond, an INIT gets none and comes again.
const MAX_REPLIES: usize = 256;

/// What a stranger is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sealed::listener) enum Reply {
    /// COOKIE, in answer to the message 1 with this reference.
    Cookie {
        /// Where the INIT came from.
        to: SocketAddr,
        /// BLAKE2s of message 1, cut.
        reference: [u8; 16],
        /// What the next INIT has to bring.
        cookie: [u8; COOKIE_LEN],
    },
    /// RESP of the half-open entry with this id, if it is still there.
    Response {
        /// Where the INIT came from.
        to: SocketAddr,
        /// The entry's id.
        cid: [u8; CID_LEN],
    },
}

#[derive(Debug, Default)]
pub(in crate::sealed::listener) struct Replies {
    queue: VecDeque<Reply>,
}

impl Replies {
    /// Whether there was room.
    pub(in crate::sealed::listener) fn push(&mut self, reply: Reply) -> bool {
        let fits = self.queue.len() < MAX_REPLIES;
        if fits {
            self.queue.push_back(reply);
        }
        fits
    }

    /// Whether another one would find no place.
    pub(in crate::sealed::listener) fn is_full(&self) -> bool {
        self.queue.len() >= MAX_REPLIES
    }

    pub(in crate::sealed::listener) fn pop(&mut self) -> Option<Reply> {
        self.queue.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_wait_in_order_and_are_bounded() {
        let mut replies = Replies::default();
        let reply =
            |port| Reply::Response { to: SocketAddr::from(([192, 0, 2, 1], port)), cid: [1; CID_LEN] };
        let taken = (0..1_000).filter(|&port| replies.push(reply(port))).count();
        assert_eq!(taken, MAX_REPLIES);
        for port in 0..256 {
            assert_eq!(replies.pop(), Some(reply(port)));
        }
        assert_eq!(replies.pop(), None);
        let cookie = Reply::Cookie { to: ([192, 0, 2, 1], 1).into(), reference: [1; 16], cookie: [2; 16] };
        assert!(replies.push(cookie));
        assert_eq!(replies.pop(), Some(cookie));
    }
}
