//! What the shell does about a core that asks too much of it.

use std::{net::SocketAddr, time::Duration};

use rand_core::TryCryptoRng;

use super::{core::ServerCore, *};
use crate::{error::Dropped, roster::Roster};

/// Has something to say to somebody, always, unless it is quiet: then one answer to each datagram, if it answers.
#[derive(Default)]
struct Talker {
    peers: Roster<()>,
    said: usize,
    quiet: bool,
    /// Datagrams that it was shown before their turn, and those of which it was handed the turn.
    shown: usize,
    handed: usize,
    /// Answers that wait, if it answers at all, and how many waited at most.
    waiting: Option<usize>,
    most: usize,
    /// The last datagram may be another worker's.
    stray: bool,
}

/// So many answers are too many.
const PRESSED: usize = 5;
/// Who begins its datagrams with this has reached the wrong worker.
const STRAY: u8 = 9;

impl ServerSession for Talker {}

impl ServerCore for Talker {
    type Own = ();

    fn peers(&self) -> &Roster<()> {
        &self.peers
    }

    fn peers_mut(&mut self) -> &mut Roster<()> {
        &mut self.peers
    }

    fn look_ahead(&mut self, _: Instant, _: SocketAddr, _: &mut [u8]) -> Ahead {
        self.shown += 1;
        Ahead::Strange
    }

    fn take_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        _: Instant,
        _: &mut R,
        _: SocketAddr,
        _: Ahead,
        datagram: &mut [u8],
    ) -> Result<Option<PeerId>, Dropped> {
        self.handed += 1;
        self.stray = datagram.first() == Some(&STRAY);
        if let Some(waiting) = &mut self.waiting {
            *waiting += 1;
            self.most = self.most.max(*waiting);
        }
        Err(Dropped::Unopened)
    }

    fn take_stray(&mut self) -> bool {
        std::mem::take(&mut self.stray)
    }

    fn is_pressed(&self) -> bool {
        self.waiting.is_some_and(|waiting| waiting >= PRESSED)
    }

    fn poll_transmit<R: TryCryptoRng + ?Sized>(
        &mut self,
        _: Instant,
        _: &mut R,
        out: &mut [u8],
    ) -> Option<(usize, SocketAddr)> {
        if self.quiet {
            let waiting = self.waiting.as_mut()?;
            *waiting = waiting.checked_sub(1)?;
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
#[derive(Default)]
struct Source {
    vain: bool,
    asked: usize,
    /// Length and first byte of what it gives, all at once, instead of that.
    waiting: Vec<(usize, u8)>,
    misdirected: Vec<(usize, SocketAddr)>,
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
        for (len, first) in self.waiting.drain(..) {
            batch.room().unwrap()[0] = first;
            assert!(batch.push(len, peer(first)));
        }
        if !batch.is_empty() {
            return Ok(batch.len());
        }
        let (len, from) = self.recv_from(batch.room().unwrap_or_default())?;
        batch.push(len, from);
        Ok(1)
    }

    fn misdirected(&mut self, datagram: &[u8], from: SocketAddr) {
        self.misdirected.push((datagram.len(), from));
    }
}

fn peer(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 1).into()
}

fn server(vain: bool) -> Server<Source, Talker> {
    let core = Talker::default();
    let config = crate::ServerConfig { reads_per_call: 64, ..crate::ServerConfig::default() };
    let source = Source { vain, ..Source::default() };
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

/// A quiet server to which these came together; then the socket gives nothing more.
fn given(reads_per_call: usize, waiting: Vec<(usize, u8)>) -> Server<Source, Talker> {
    let mut server = server(false);
    server.core.quiet = true;
    server.reads_per_call = reads_per_call;
    server.socket.waiting = waiting;
    server
}

#[test]
fn of_a_batch_only_as_many_are_looked_at_as_the_round_will_take() {
    for left in [1, 17, 63, 64] {
        let mut server = given(left, vec![(100, 1); 64]);
        for rounds in 1..=64 / left {
            assert!(server.recv().is_none());
            let Talker { shown, handed, .. } = server.core;
            assert_eq!((shown, handed), (rounds * left, rounds * left), "{left} left");
        }
        assert_eq!(server.incoming.len(), 64 % left, "the rest is still there");
    }
}

#[test]
fn what_is_too_long_or_empty_is_shown_to_nobody_and_moves_nothing_out_of_its_place() {
    let longest = usize::from(crate::Config::default().max_datagram_bytes);
    let mut server =
        given(6, vec![(longest, 1), (longest + 1, 1), (40, STRAY), (0, 1), (longest + 1, 1), (1, 1)]);
    assert!(server.recv().is_none());
    assert_eq!((server.core.shown, server.core.handed), (3, 3));
    let drops = server.stats().drops;
    assert_eq!((drops.length, drops.unopened), (3, 3));
    assert_eq!(server.socket.misdirected, [(40, peer(STRAY))], "it was the third");
}

#[test]
fn what_is_another_workers_is_handed_back_to_the_socket_once_with_its_sender() {
    let mut server =
        given(64, (0..64).map(|each| (100 + each, if each % 8 == 3 { STRAY } else { 1 })).collect());
    assert!(server.recv().is_none());
    let expected: Vec<_> = (0..8).map(|each| (100 + each * 8 + 3, peer(STRAY))).collect();
    assert_eq!(server.socket.misdirected, expected);
}

#[test]
fn answers_to_newcomers_leave_before_too_many_wait_although_all_of_them_came_together() {
    let mut server = given(64, vec![(100, 1); 64]);
    server.core.waiting = Some(0);
    assert!(server.recv().is_none());
    let Talker { most, said, waiting, .. } = server.core;
    assert_eq!((most, said, waiting), (PRESSED, 64, Some(0)));
}
