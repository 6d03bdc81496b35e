//! What the workers of one port share: the secrets of their cookies, and word of each player that one of them let in,
//! because the session that he left may be another's. Who was told nothing takes no lock. PROTOCOL.md, "Workers".

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use rand_core::TryCryptoRng;

use super::gate::CookieSecrets;
use crate::{config::ServerConfig, crypto::EntropyError, error::ConfigError};

/// Joins that wait for one worker to hear of them. What comes then he does not hear of: the session that was left ends by
/// silence.
const MAX_JOINS: usize = 4_096;

/// A player was let in: sessions of the same key that began before are over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    pub(super) key: [u8; 32],
    /// When the answer was made that the session came of, in nanoseconds since the port was opened.
    pub(super) at: u64,
    pub(super) worker: u8,
    /// Names the message 1 of the new session to who is displaced.
    pub(super) reference: [u8; 16],
}

impl Joined {
    /// Whether a session of this worker from this moment began before. Of two at once one comes first for both workers.
    pub(super) fn displaces(&self, at: u64, worker: u8) -> bool {
        (at, worker) < (self.at, self.worker)
    }
}

/// What one worker was told.
#[derive(Debug, Default)]
struct Inbox {
    joins: Mutex<VecDeque<Joined>>,
    /// There may be some. Read without the lock.
    any: AtomicBool,
}

impl Inbox {
    /// The queue is whole between any two statements, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Joined>> {
        self.joins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, joined: Joined) {
        let mut joins = self.lock();
        if joins.len() < MAX_JOINS {
            joins.push_back(joined);
            self.any.store(true, Relaxed);
        }
    }

    fn take(&self) -> VecDeque<Joined> {
        if !self.any.load(Relaxed) {
            return VecDeque::new();
        }
        let mut joins = self.lock();
        self.any.store(false, Relaxed);
        std::mem::take(&mut *joins)
    }
}

/// One port, and the box of each of its workers.
#[derive(Debug)]
pub(crate) struct Port {
    cookies: Arc<CookieSecrets>,
    opened: Instant,
    boxes: Box<[Inbox]>,
}

fn workers(config: &ServerConfig) -> u8 {
    config.worker.map_or(1, |worker| worker.count)
}

impl Port {
    pub(super) fn new<R: TryCryptoRng + ?Sized>(
        config: &ServerConfig,
        now: Instant,
        rng: &mut R,
    ) -> Result<Self, EntropyError> {
        let cookies = Arc::new(CookieSecrets::new(now, rng)?);
        let boxes = (0..workers(config)).map(|_| Inbox::default()).collect();
        Ok(Self { cookies, opened: now, boxes })
    }

    /// Who would share the port must count its workers alike.
    pub(super) fn check(&self, config: &ServerConfig) -> Result<(), ConfigError> {
        let (given, count) = (u64::from(workers(config)), self.boxes.len() as u64);
        let error = ConfigError { field: "worker.count", given, min: count, max: count };
        if given == count { Ok(()) } else { Err(error) }
    }

    pub(super) fn cookies(&self) -> &Arc<CookieSecrets> {
        &self.cookies
    }

    /// A moment as all workers count it.
    pub(super) fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.opened).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Tells one worker.
    pub(super) fn tell(&self, worker: u8, joined: Joined) {
        if let Some(inbox) = self.boxes.get(usize::from(worker)) {
            inbox.tell(joined);
        }
    }

    /// Tells all workers but the one that let him in.
    pub(super) fn tell_others(&self, joined: Joined) {
        let others = self.boxes.iter().zip(0_u8..).filter(|(_, worker)| *worker != joined.worker);
        others.for_each(|(inbox, _)| inbox.tell(joined));
    }

    /// What this worker was told since it asked last.
    pub(super) fn take(&self, worker: u8) -> VecDeque<Joined> {
        self.boxes.get(usize::from(worker)).map(Inbox::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Worker, os::Environment, sealed::tests::Chance};

    fn joined(worker: u8, at: u64) -> Joined {
        Joined { key: [1; 32], at, worker, reference: [2; 16] }
    }

    fn port(count: u8) -> (Port, ServerConfig) {
        let config = ServerConfig { worker: Some(Worker { index: 0, count }), ..ServerConfig::default() };
        (Port::new(&config, Environment::os().now(), &mut Chance(1)).unwrap(), config)
    }

    #[test]
    fn everybody_else_is_told_and_the_box_of_who_does_not_look_has_a_bound() {
        let (port, _) = port(3);
        for at in 0..MAX_JOINS as u64 + 10 {
            port.tell_others(joined(1, at));
        }
        assert!(port.take(1).is_empty());
        for worker in [0, 2] {
            let told: Vec<_> = port.take(worker).iter().map(|joined| joined.at).collect();
            assert_eq!(told, (0..MAX_JOINS as u64).collect::<Vec<_>>());
            assert!(port.take(worker).is_empty(), "once");
        }
        port.tell(2, joined(0, 5));
        port.tell(3, joined(0, 5));
        assert_eq!((port.take(0).len(), port.take(2).len(), port.take(3).len()), (0, 1, 0));
    }

    #[test]
    fn of_two_joins_exactly_one_displaces_the_other() {
        for (a, b) in
            [(joined(0, 5), joined(1, 6)), (joined(0, 5), joined(1, 5)), (joined(2, 5), joined(1, 5))]
        {
            assert_ne!(a.displaces(b.at, b.worker), b.displaces(a.at, a.worker));
        }
        assert!(joined(0, 6).displaces(5, 1) && !joined(1, 6).displaces(6, 1));
    }

    #[test]
    fn who_counts_the_workers_otherwise_does_not_share_the_port() {
        let (port, mut config) = port(3);
        assert_eq!(port.check(&config), Ok(()));
        for worker in [None, Some(Worker { index: 0, count: 2 })] {
            config.worker = worker;
            assert_eq!(port.check(&config).unwrap_err().field, "worker.count");
        }
    }
}
