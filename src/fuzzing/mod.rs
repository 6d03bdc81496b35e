//! The bodies of the fuzz targets, as plain functions: each takes the fuzzer's bytes and panics when a promise breaks.
//! A stable test runs them on seeded inputs; the fuzz folder wraps them. No part of the stable interface.

mod adversary;
mod alone;
mod crypto;
pub mod decisions;
mod epochs;
mod evil;
mod kind;
mod noise;
mod pair;
mod parts;
mod rogue;
mod script;
mod session;
mod wire;
mod world;

use std::time::Instant;

#[cfg(feature = "ring")]
pub use self::parts::DefaultCipher;
pub use self::{
    alone::endpoint_fsm,
    crypto::{cipher, datagram_open},
    epochs::key_schedule,
    noise::{NoiseCase, noise_read, noise_read_structured},
    pair::{plain_fsm, two_endpoints},
    parts::{PacketCipher, PacketPair, ReplayWindow, UsualFrames, UsualPayload},
    rogue::{EvilHandshake, EvilSession, reference},
    session::{reassembly, sealed_frames},
    wire::{ack_ranges, cookie, envelope_body, frames, hello_params, pn_decode, replay_window, ticket},
};

/// Any fixed moment does: only differences count.
#[expect(clippy::disallowed_methods, reason = "no session's time, only a starting point for one")]
fn start() -> Instant {
    Instant::now()
}
