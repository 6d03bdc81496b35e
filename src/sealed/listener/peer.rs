//! One peer of a server: its session, its address, its ids, and where it stands in the server's queues. Idle it costs
//! its keys and a few hundred bytes; queues exist only while something is in flight.

use std::{net::SocketAddr, time::Instant};

use super::{cids::Cids, gate::Share};
use crate::{
    connection::Connection,
    event::PeerId,
    sealed::{budget::Bucket, live::Live},
};

/// How far a join has come.
#[derive(Debug)]
pub(super) enum Standing {
    /// Confirmed; the application has not said yes yet.
    Asks {
        until: Instant,
    },
    Open,
    /// Over; what it has left to yield is kept for a while.
    Ended {
        until: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) live: Box<Live>,
    pub(super) connection: Box<Connection>,
    pub(super) address: SocketAddr,
    pub(super) cids: Cids,
    pub(super) standing: Standing,
    /// Its place among the sessions of where it joined from.
    pub(super) share: Option<Share>,
    /// Datagrams from elsewhere that its ids may cause to be opened.
    pub(super) strangers: Bucket,
    /// The round of reading in which it was heard last, and how many of its datagrams were opened in it.
    pub(super) reads: (u32, u32),
    /// Stands in the queue of those that may have something to send.
    pub(super) is_ready: bool,
    /// Stands in the queue of those whose partly filled datagrams leave at the next flush.
    pub(super) is_touched: bool,
    /// Stands in the queue of those with notices.
    pub(super) is_noted: bool,
}

impl Peer {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Open)
    }

    pub(super) fn asks(&self) -> bool {
        matches!(self.standing, Standing::Asks { .. })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended { .. })
    }
}

/// Peers by index. A place that becomes free is used again under another generation.
#[derive(Debug, Default)]
pub(super) struct Peers {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    peer: Option<Peer>,
}

impl Peers {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// `None` only when 2^32 places are taken.
    pub(super) fn insert(&mut self, peer: Peer) -> Option<PeerId> {
        if let Some(index) = self.free.pop() {
            let place = self.places.get_mut(index as usize)?;
            place.peer = Some(peer);
            return Some(PeerId { index, generation: place.generation });
        }
        let index = u32::try_from(self.places.len()).ok()?;
        self.places.push(Place { generation: 0, peer: Some(peer) });
        Some(PeerId { index, generation: 0 })
    }

    pub(super) fn remove(&mut self, id: PeerId) -> Option<Peer> {
        let place =
            self.places.get_mut(id.index as usize).filter(|place| place.generation == id.generation)?;
        let peer = place.peer.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(peer)
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&Peer> {
        let place = self.places.get(id.index as usize).filter(|place| place.generation == id.generation)?;
        place.peer.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation == id.generation { place.peer.as_mut() } else { None }
    }

    /// The name of whoever has this place now.
    pub(super) fn at(&self, index: u32) -> Option<PeerId> {
        let place = self.places.get(index as usize).filter(|place| place.peer.is_some())?;
        Some(PeerId { index, generation: place.generation })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        let ids = self.places.iter().zip(0_u32..);
        ids.filter(|(place, _)| place.peer.is_some())
            .map(|(place, index)| PeerId { index, generation: place.generation })
    }
}
