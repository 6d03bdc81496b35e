//! Virtual time that goes on by steps, so that the machine's pauses do not show, and the chances of each node.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sealgram::{Environment, sim::Net};

pub(crate) struct Clock {
    origin: Instant,
    step: Duration,
    steps: Arc<AtomicU64>,
    net: Net,
}

impl Clock {
    pub(crate) fn new(step: Duration) -> Self {
        let net = Net::seed(1);
        Self { origin: net.now(), step, steps: Arc::default(), net }
    }

    pub(crate) fn advance(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// What the node of this number lives by.
    pub(crate) fn environment(&self, node: u16) -> Environment {
        let (origin, step, steps) = (self.origin, self.step, Arc::clone(&self.steps));
        let now = move || origin + step * u32::try_from(steps.load(Ordering::Relaxed)).unwrap();
        Environment::new(now, self.net.rng(([10, 0, 0, 1], node).into()))
    }
}
