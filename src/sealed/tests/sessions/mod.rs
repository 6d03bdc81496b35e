//! The life of a session: closing, silence, restarts, replacement, ratchets, numbers left out.

mod closing;
mod limits;
mod packets;
mod replacement;
mod restarts;
mod silence;

use super::*;
use crate::{
    config::Padding,
    crypto::{SealKey, Side},
    error::CloseReason,
    sealed::{
        CODE_REPLACED,
        seal::{Prefix, seal_packet},
    },
};

fn last_reason(world: &World, peer: usize) -> Option<CloseReason> {
    match world.events[peer].last() {
        Some(Event::Closed { reason, .. }) => Some(*reason),
        _ => None,
    }
}

fn reconnected(world: &World, peer: usize) -> bool {
    matches!(world.events[peer].last(), Some(Event::PeerReconnected { .. }))
}

/// Seals any plaintext with the peer's own key.
fn seal_any(key: &mut SealKey, plaintext: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; plaintext.len() + 20];
    packet[4..4 + plaintext.len()].copy_from_slice(plaintext);
    let len = seal_packet(key, &Prefix::default(), plaintext.len(), Padding::None, &mut packet).unwrap();
    packet.truncate(len);
    packet
}

#[test]
fn a_session_has_a_role_for_each_side() {
    let mut world = World::pair("paired", 1);
    world.connect(0);
    world.settle();
    assert_eq!(world.peers[0].live.as_ref().unwrap().side, Side::Initiator);
    assert_eq!(world.peers[1].live.as_ref().unwrap().side, Side::Responder);
}
