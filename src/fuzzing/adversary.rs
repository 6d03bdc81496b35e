//! What the one between two endpoints does to their datagrams, beyond losing and holding them.

use std::{collections::VecDeque, net::SocketAddr};

use super::{
    kind::Kind,
    pair::{Datagram, World},
    world::address,
};
use crate::wire::plain::Checksum;

/// A stranger's address: neither end was ever there.
pub(super) const STRANGER: u8 = 200;

impl<S: Kind> World<'_, S> {
    /// What arrives is not what was sent: bits flipped, cut, longer, or put together from two.
    pub(super) fn change(&mut self, op: u8, to: usize, argument: u8) {
        let Some(Datagram { from, mut bytes }) = self.flying.get_mut(to).and_then(VecDeque::pop_front) else {
            return;
        };
        let (first, second) = (self.script.u16(), self.script.u16());
        let place = usize::from(first).checked_rem(bytes.len()).unwrap_or_default();
        match op {
            // A checksum finds two flipped bits, wherever they are.
            3 => [first, second].iter().take(1 + usize::from(argument >> 1 & 1)).for_each(|&bit| {
                let at = usize::from(bit / 8).checked_rem(bytes.len()).unwrap_or_default();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }),
            4 if argument & 2 == 0 => bytes.truncate(place),
            4 => bytes.resize(bytes.len() + usize::from(second % 1_600), argument),
            _ => {
                let other = self.remembered.get(to).and_then(|all| all.get(usize::from(argument >> 1)));
                let tail = other.map(|other| other.get(place..).unwrap_or_default().to_vec());
                bytes.truncate(place);
                bytes.extend(tail.unwrap_or_default());
            }
        }
        self.arrive(to, from, bytes);
    }

    /// Something that was under way before: again, or to its sender, or as if from elsewhere.
    pub(super) fn replay(&mut self, to: usize, argument: u8) {
        let which = self.script.byte();
        let source = if argument & 2 == 0 { to } else { 1 - to };
        let Some(all) = self.remembered.get(source) else { return };
        let at = usize::from(which).checked_rem(all.len()).unwrap_or_default();
        let Some(bytes) = all.get(at).cloned() else { return };
        let from = self.source(to, argument >> 2);
        self.arrive(to, from, bytes);
    }

    /// Who sends to this end, or seems to.
    fn source(&self, to: usize, which: u8) -> SocketAddr {
        match which {
            0 => self.ends.get(1 - to).map_or(address(STRANGER, 0), |end| end.at),
            nth => address(STRANGER, nth),
        }
    }

    /// Bytes of the script as a datagram. With a checksum, a plain endpoint believes it: then nothing is promised but
    /// survival.
    pub(super) fn invent(&mut self, to: usize, argument: u8) {
        let len = usize::from(self.script.byte()) * if argument & 2 == 0 { 1 } else { 5 };
        let mut bytes = self.script.take(len).to_vec();
        if argument & 4 != 0 {
            bytes.resize(len, 0);
        }
        if !S::SEALED {
            self.believed = true;
            // An id that was seen on the wire, so that the packet is one of the session.
            let ids = self.remembered.get(to).and_then(|all| all.back()).and_then(|last| last.get(4..12));
            let id = ids.and_then(|id| id.try_into().ok()).map_or(0, u64::from_le_bytes);
            let number = self.script.u64();
            let sealed = Checksum::new(&self.config.app_id).seal(id, number, &mut bytes);
            if sealed.is_err() && argument & 8 != 0 {
                bytes.clear();
            }
        }
        let from = self.source(to, argument >> 3);
        self.arrive(to, from, bytes);
    }
}
