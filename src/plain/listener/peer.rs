//! What a peer of a plain server has beyond what every peer has: its session and its address.

use std::{
    hash::{BuildHasher, Hasher},
    net::SocketAddr,
};

use crate::{plain::live::Live, roster::Origin};

#[derive(Debug)]
pub(crate) struct Peer {
    pub(super) live: Live,
    pub(super) address: SocketAddr,
    /// Among whose sessions it counts.
    pub(super) origin: Origin,
}

/// Our ids are random numbers: they are their own hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnIds;

impl BuildHasher for OwnIds {
    type Hasher = Same;

    fn build_hasher(&self) -> Same {
        Same(0)
    }
}

#[derive(Debug)]
pub(super) struct Same(u64);

impl Hasher for Same {
    /// Only numbers are hashed here.
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
