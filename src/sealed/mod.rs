//! STUB with the agreed signatures, to be replaced at merge.
use std::time::Instant;

use rand_core::TryCryptoRng;

use crate::{config::Config, connection::Connection, crypto::{Invite, PublicKey, SecretKey}, error::{CloseReason, ConfigError, ConnectError}, event::Event, stats::Drops};

/// Stub.
#[derive(Debug)]
pub struct Credentials;

impl Credentials {
    /// Stub.
    #[must_use]
    pub fn paired(_own: &SecretKey, _peer: PublicKey) -> Self { Self }
    /// Stub.
    #[must_use]
    pub fn invite(_invite: &Invite) -> Self { Self }
}

/// Stub.
#[derive(Debug)]
pub struct Sealed { connection: Connection, drops: Drops }

impl Sealed {
    pub(crate) fn new(_credentials: Credentials, config: Config, _now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { connection: Connection::new(&config), drops: Drops::default() })
    }
    pub(crate) fn handle_datagram<R: TryCryptoRng + ?Sized>(&mut self, _now: Instant, _rng: &mut R, _datagram: &mut [u8]) {}
    pub(crate) fn poll_transmit<R: TryCryptoRng + ?Sized>(&mut self, _now: Instant, _rng: &mut R, _out: &mut [u8]) -> usize { 0 }
    pub(crate) fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, _now: Instant, _rng: &mut R) {}
    pub(crate) fn deadline(&self) -> Option<Instant> { None }
    pub(crate) fn connect<R: TryCryptoRng + ?Sized>(&mut self, _now: Instant, _rng: &mut R) -> Result<(), ConnectError> { Ok(()) }
    pub(crate) fn close(&mut self, _now: Instant, _code: u16, _reason: &[u8]) {}
    pub(crate) fn poll_event(&mut self) -> Option<Event> { None }
    pub(crate) fn connection(&self) -> &Connection { &self.connection }
    pub(crate) fn connection_mut(&mut self) -> &mut Connection { &mut self.connection }
    pub(crate) fn is_connected(&self) -> bool { false }
    pub(crate) fn closed(&self) -> Option<CloseReason> { None }
    pub(crate) fn handshake_hash(&self) -> Option<[u8; 32]> { None }
    pub(crate) fn peer_key(&self) -> Option<PublicKey> { None }
    pub(crate) fn drops(&self) -> &Drops { &self.drops }
    pub(crate) fn violations(&self) -> u8 { 0 }
    pub(crate) fn epoch(&self) -> u32 { 0 }
}
