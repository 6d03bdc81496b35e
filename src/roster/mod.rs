//! What keeping many peers needs, sealed or plain: a place for each, who is due next, and who counts as one stranger.
//! Knows nothing of sessions.

mod heap;
mod origin;

pub(crate) use self::{
    heap::Deadlines,
    origin::{Origin, ip16},
};
use crate::event::PeerId;

/// Peers by index. A place that becomes free is used again under another generation.
#[derive(Debug)]
pub(crate) struct Roster<P> {
    places: Vec<Place<P>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<P> {
    generation: u32,
    peer: Option<P>,
}

impl<P> Default for Roster<P> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<P> Roster<P> {
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// `None` only when 2^32 places are taken.
    pub(crate) fn insert(&mut self, peer: P) -> Option<PeerId> {
        if let Some(index) = self.free.pop() {
            let place = self.places.get_mut(index as usize)?;
            place.peer = Some(peer);
            return Some(PeerId { index, generation: place.generation });
        }
        let index = u32::try_from(self.places.len()).ok()?;
        self.places.push(Place { generation: 0, peer: Some(peer) });
        Some(PeerId { index, generation: 0 })
    }

    pub(crate) fn remove(&mut self, id: PeerId) -> Option<P> {
        let place =
            self.places.get_mut(id.index as usize).filter(|place| place.generation == id.generation)?;
        let peer = place.peer.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(peer)
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&P> {
        let place = self.places.get(id.index as usize).filter(|place| place.generation == id.generation)?;
        place.peer.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut P> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation == id.generation { place.peer.as_mut() } else { None }
    }

    /// The name of whoever has this place now.
    pub(crate) fn at(&self, index: u32) -> Option<PeerId> {
        let place = self.places.get(index as usize).filter(|place| place.peer.is_some())?;
        Some(PeerId { index, generation: place.generation })
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        let ids = self.places.iter().zip(0_u32..);
        ids.filter(|(place, _)| place.peer.is_some())
            .map(|(place, index)| PeerId { index, generation: place.generation })
    }
}
