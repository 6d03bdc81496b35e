//! A place for each peer, and the names of the places. Knows nothing of peers.

use crate::event::PeerId;

/// Peers by index. A place that becomes free is used again under another generation.
#[derive(Debug)]
pub(super) struct Places<P> {
    places: Vec<Place<P>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<P> {
    generation: u32,
    peer: Option<P>,
}

impl<P> Default for Places<P> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<P> Places<P> {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Gives the peer back when 2^32 places are taken.
    pub(super) fn insert(&mut self, peer: P) -> Result<PeerId, P> {
        let free = self.free.pop();
        if let Some((index, place)) =
            free.and_then(|index| Some((index, self.places.get_mut(index as usize)?)))
        {
            place.peer = Some(peer);
            return Ok(PeerId { index, generation: place.generation });
        }
        let Ok(index) = u32::try_from(self.places.len()) else { return Err(peer) };
        self.places.push(Place { generation: 0, peer: Some(peer) });
        Ok(PeerId { index, generation: 0 })
    }

    pub(super) fn remove(&mut self, id: PeerId) -> Option<P> {
        let place =
            self.places.get_mut(id.index as usize).filter(|place| place.generation == id.generation)?;
        let peer = place.peer.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(peer)
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&P> {
        let place = self.places.get(id.index as usize).filter(|place| place.generation == id.generation)?;
        place.peer.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: PeerId) -> Option<&mut P> {
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
