//! The networks of the table: each direction on its own has 25 ms, 5 ms more or less, and its way of losing.

use std::time::Duration;

use sealgram::sim::{Burst, Jitter, Link};

use super::relay::{self, Conditions};

const DELAY: Duration = Duration::from_millis(25);
const JITTER: Duration = Duration::from_millis(5);
/// A tick at 60 Hz: what the length of bursts is counted in.
const TICK: Duration = Duration::from_micros(16_667);

/// How datagrams get lost, and what else happens to them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Each for itself.
    Alone,
    /// All of them for a random time, on average so many ticks.
    Bursts(u32),
    /// Each for itself; others come twice or late.
    Messy,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The average share of datagrams lost.
    pub(crate) loss: f64,
}

const fn network(name: &'static str, kind: Kind, loss: f64) -> Network {
    Network { name, kind, loss }
}

pub(crate) const NETWORKS: [Network; 9] = [
    network("iid", Kind::Alone, 0.0),
    network("iid", Kind::Alone, 0.02),
    network("iid", Kind::Alone, 0.05),
    network("iid", Kind::Alone, 0.2),
    network("burst3", Kind::Bursts(3), 0.05),
    network("burst3", Kind::Bursts(3), 0.1),
    network("burst8", Kind::Bursts(8), 0.05),
    network("burst8", Kind::Bursts(8), 0.1),
    network("dup_reorder", Kind::Messy, 0.02),
];

impl Network {
    /// One direction in the simulator.
    pub(crate) fn link(&self) -> Link {
        let mut link = Link::default();
        (link.delay, link.jitter) = (DELAY, Jitter::Uniform(JITTER));
        match self.kind {
            Kind::Alone => link.loss = self.loss,
            Kind::Bursts(_) => {
                let (good, bad) = self.states();
                link.burst = Some(Burst { good, bad, loss: 1.0 });
            }
            Kind::Messy => {
                link.loss = self.loss;
                link.duplicate = 0.02;
                (link.reorder, link.reorder_delay) = (0.05, Duration::from_millis(20));
            }
        }
        link
    }

    /// Both directions of the relay.
    pub(crate) fn conditions(&self, seed: u64) -> Conditions {
        let quiet = Conditions { seed, delay: DELAY, jitter: JITTER, ..Conditions::default() };
        match self.kind {
            Kind::Alone => Conditions { loss: self.loss, ..quiet },
            Kind::Bursts(_) => {
                let (good, bad) = self.states();
                Conditions { bursts: Some(relay::Bursts { good, bad }), ..quiet }
            }
            Kind::Messy => Conditions { loss: self.loss, duplicate: 0.02, reorder: 0.05, ..quiet },
        }
    }

    /// Mean times without and with loss, so that `loss` comes out.
    fn states(&self) -> (Duration, Duration) {
        let Kind::Bursts(ticks) = self.kind else { return (Duration::MAX, Duration::ZERO) };
        let bad = TICK * ticks;
        (bad.mul_f64((1.0 - self.loss) / self.loss), bad)
    }
}
