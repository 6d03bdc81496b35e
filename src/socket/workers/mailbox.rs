//! Where a worker's datagrams wait that came to others.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// Datagrams that may wait for a worker in memory.
pub(super) const MAX_PARCELS: usize = 512;

/// What others hand to one worker.
#[derive(Default)]
pub(super) struct Mailbox {
    parcels: Mutex<Parcels>,
    /// How many wait, so that an empty box costs no lock.
    waiting: AtomicUsize,
    pub(super) lost: AtomicU64,
}

#[derive(Default)]
pub(super) struct Parcels {
    pub(super) waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Buffers that were read and wait for reuse.
    spare: Vec<Vec<u8>>,
    pub(super) wake: Option<Box<dyn Fn() + Send>>,
}

impl Mailbox {
    /// The parcels are whole between any two statements, so a panic elsewhere does not spoil them.
    pub(super) fn lock(&self) -> MutexGuard<'_, Parcels> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post(&self, datagram: &[u8], from: SocketAddr) {
        let mut parcels = self.lock();
        if parcels.waiting.len() >= MAX_PARCELS {
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        let mut bytes = parcels.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        parcels.waiting.push_back((from, bytes));
        self.waiting.store(parcels.waiting.len(), Relaxed);
        if let Some(wake) = parcels.wake.as_ref().filter(|_| parcels.waiting.len() == 1) {
            wake();
        }
    }

    /// Shows `read` what waits, so many at most, and says how many.
    pub(super) fn take(&self, most: usize, mut read: impl FnMut(&[u8], SocketAddr)) -> usize {
        if self.waiting.load(Relaxed) == 0 {
            return 0;
        }
        let mut parcels = self.lock();
        let count = most.min(parcels.waiting.len());
        for _ in 0..count {
            let Some((from, bytes)) = parcels.waiting.pop_front() else { break };
            read(&bytes, from);
            parcels.spare.push(bytes);
        }
        self.waiting.store(parcels.waiting.len(), Relaxed);
        count
    }
}
