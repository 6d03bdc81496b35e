//! Both sides dial: one session comes of it, whatever the network does. The named traces are those that broke earlier
//! drafts of the rules.

mod deciding;
mod late;
mod networks;
mod recorded;

use super::*;

fn closed(world: &World, peer: usize) -> bool {
    world.events[peer].iter().any(|event| matches!(event, Event::Closed { .. }))
}
