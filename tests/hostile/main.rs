//! The attacks that PROTOCOL.md and the published failures of other protocols imply, one file for each kind. Every test
//! ends by showing that whoever keeps to the rules is still served. README.md beside this file says which test guards
//! which defence, and `mutations` takes each defence away and sees its test fail.

#[path = "../common/mod.rs"]
mod common;

mod authentic;
mod bombs;
mod bytes;
mod downgrade;
mod epochs;
mod forged;
mod handshakes;
mod held;
mod loopback;
mod mixing;
mod properties;
mod replay;
mod secrets;
mod server;
mod splices;
mod victim;
