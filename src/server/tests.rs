//! What the shell does about a core that asks too much of it.

use std::{net::SocketAddr, time::Duration};

use rand_core::TryCryptoRng;

use super::{core::ServerCore, *};
use crate::{error::Dropped, roster::Roster};

/// Has something to say to somebody, always, unless it is quiet.
struct Talker {
    peers: Roster<()>,
    said: usize,
    quiet: bool,
}

impl ServerSession for Talker {}

impl ServerCore for Talker {
    type Own = ();

    fn peers(&self) -> &Roster<()> {
        &self.peers
    }

    fn peers_mut(&mut self) -> &mut Roster<()> {
        &mut self.peers
    }

    fn take_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        _: Instant,
        _: &mut R,
        _: SocketAddr,
        _: Ahead,
        _: &mut [u8],
    ) -> Result<Option<PeerId>, Dropped> {
        Err(Dropped::Unopened)
    }

    fn poll_transmit<R: TryCryptoRng + ?Sized>(
        &mut self,
        _: Instant,
        _: &mut R,
        out: &mut [u8],
    ) -> Option<(usize, SocketAddr)> {
        if self.quiet {
            return None;
        }
        self.said += 1;
        *out.first_mut()? = 1;
        Some((1, ([10, 0, 0, 1], 1).into()))
    }

    fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, _: Instant, _: &mut R) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn accept<R: TryCryptoRng + ?Sized>(&mut self, _: Instant, _: &mut R, _: PeerId) -> bool {
        false
    }

    fn close(&mut self, _: Instant, _: PeerId, _: u16, _: &[u8]) -> bool {
        false
    }

    fn finish(&mut self, _: PeerId) {}

    fn set_accepting(&mut self, _: bool) {}

    fn address(&self, _: PeerId) -> Option<SocketAddr> {
        None
    }
}

/// Takes everything, and gives one datagram after the other or nothing but calls in vain.
struct Source {
    vain: bool,
    asked: usize,
}

impl AddressedUdp for Source {
    fn send_to(&mut self, datagram: &[u8], _: SocketAddr) -> io::Result<usize> {
        Ok(datagram.len())
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.asked += 1;
        buffer.fill(0);
        Ok((100, ([10, 0, 0, 1], 1).into()))
    }

    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.asked += 1;
        if self.vain {
            return Ok(0);
        }
        let (len, from) = self.recv_from(batch.room().unwrap_or_default())?;
        batch.push(len, from);
        Ok(1)
    }
}

fn server(vain: bool) -> Server<Source, Talker> {
    let core = Talker { peers: Roster::default(), said: 0, quiet: false };
    let config = crate::ServerConfig { reads_per_call: 64, ..crate::ServerConfig::default() };
    let source = Source { vain, asked: 0 };
    Server::assemble(source, core, Environment::os(), start::Sizes::of(&config), false).unwrap()
}

#[test]
fn a_core_that_always_has_something_to_send_does_not_hold_its_caller_and_is_soon_asked_again() {
    let mut server = server(true);
    let due = server.maintain().unwrap();
    assert!(server.core.said <= MAX_SENDS && server.core.said > MAX_SENDS / 2, "{}", server.core.said);
    assert!(due <= server.environment.now() + receiving::RETRY);
}

#[test]
fn a_socket_that_is_never_empty_does_not_hold_its_caller_and_is_read_again_at_once() {
    for vain in [true, false] {
        let mut server = server(vain);
        assert!(server.recv().is_none());
        assert!(server.socket.asked <= 128, "{}", server.socket.asked);
        assert!(server.unread);
    }
}

#[test]
fn a_drain_may_take_as_long_as_it_takes() {
    for (within, ends) in [(Duration::MAX, false), (Duration::from_secs(60), true)] {
        let mut server = server(false);
        server.drain(1, b"", within);
        let drain = server.drain.as_mut().unwrap();
        assert_eq!(drain.until.is_some(), ends);
        let now = server.environment.now();
        let id = PeerId { index: 0, generation: 0 };
        drain.waiting.push_back(id);
        assert_eq!(drain.deadline(now), drain.until, "one is left");
        drain.waiting.extend(vec![id; 2_000]);
        assert!(drain.deadline(now).is_some_and(|at| at > now), "more than one call looks at");
        assert!(!server.look_after_drain(now));
    }
}

#[test]
fn a_socket_that_gives_nothing_of_use_is_not_asked_again_at_once() {
    for vain in [true, false] {
        let mut server = server(vain);
        server.core.quiet = true;
        assert!(server.recv().is_none());
        let before = server.environment.now();
        let due = server.maintain().unwrap();
        let after = server.environment.now();
        assert!(if vain { due >= before + receiving::RETRY } else { due <= after }, "{vain}");
    }
}
