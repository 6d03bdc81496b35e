//! How fast packets may leave: a window of bytes on their way and a pacer that spreads them over time. Knows bytes and
//! times, no packets and no messages. What calls it decides what need not wait: acknowledgements, control and probes.
//! PROTOCOL.md, "Rate".

mod adaptive;
mod base;
mod fresh;
mod pacer;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use adaptive::Adaptive;
use fresh::Fresh;
use pacer::Pacer;

use crate::{
    config::{Config, Rate},
    stats,
};

/// A round trip that is shorter counts as so long.
const SHORTEST: Duration = Duration::from_micros(100);

/// What acknowledgements and losses have told since it was last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) acked_bytes: usize,
    pub(crate) acked_packets: u32,
    pub(crate) lost_packets: u32,
    /// The latest round trip: as measured, and without the time for which the peer says it held the answer back.
    pub(crate) sample: Option<(Duration, Duration)>,
    /// For how long nothing had been acknowledged, although something was on its way, when something was.
    pub(crate) silence: Duration,
    /// Packets larger than any path takes: whether one arrived, how many were lost.
    pub(crate) large_acked: bool,
    pub(crate) large_lost: u32,
}

#[derive(Debug)]
enum Control {
    Adaptive(Box<Adaptive>),
    Fixed(u64),
    Off,
}

/// What is kept at rest: what was learnt of the path, and what a fixed rate must not forget.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// No queue was ever met.
    Fresh(Fresh),
    Adaptive(Box<Adaptive>),
    /// When all that was sent will have left at the rate that was asked for. A rest would else be a way to send more.
    Fixed(Option<Instant>),
    Off,
}

impl Kept {
    pub(crate) fn wake(self, config: &Config) -> RateControl {
        let adaptive = match self {
            Self::Fresh(fresh) => Box::new(Adaptive::after_rest(config.flight_bytes, fresh)),
            Self::Adaptive(adaptive) => adaptive,
            Self::Fixed(free_at) => return RateControl::new(config).owing(free_at),
            Self::Off => return RateControl::new(config),
        };
        RateControl {
            control: Control::Adaptive(adaptive),
            pacer: Pacer::default(),
            max_flight: config.flight_bytes,
            wake: None,
        }
    }
}

/// The rate of one session.
#[derive(Debug)]
pub(crate) struct RateControl {
    control: Control,
    pacer: Pacer,
    max_flight: usize,
    /// When the pacer lets go of what waits for it.
    wake: Option<Instant>,
}

impl RateControl {
    pub(crate) fn new(config: &Config) -> Self {
        let control = match config.rate {
            Rate::Adaptive => Control::Adaptive(Box::new(Adaptive::new(config.flight_bytes))),
            Rate::Fixed(rate) => Control::Fixed(rate),
            Rate::Off => Control::Off,
        };
        Self { control, pacer: Pacer::default(), max_flight: config.flight_bytes, wake: None }
    }

    /// With what left before a rest.
    fn owing(self, free_at: Option<Instant>) -> Self {
        let Control::Fixed(rate) = self.control else { return self };
        Self { pacer: Pacer::owing(free_at, rate, pacer::least_burst(rate)), ..self }
    }

    pub(crate) fn rest(&mut self) -> Kept {
        let Self { control, pacer, max_flight: _, wake: _ } = self;
        match std::mem::replace(control, Control::Off) {
            Control::Adaptive(adaptive) => adaptive.fresh().map_or(Kept::Adaptive(adaptive), Kept::Fresh),
            Control::Fixed(_) => Kept::Fixed(pacer.free_at()),
            Control::Off => Kept::Off,
        }
    }

    /// Whether a packet with messages may leave while `flight` bytes are on their way. `waiting`: there are messages
    /// for one; nothing has been acknowledged for `silence`, although something was on its way.
    pub(crate) fn may_send(
        &mut self,
        now: Instant,
        flight: usize,
        waiting: bool,
        (silence, smoothed): (Duration, Duration),
    ) -> bool {
        self.wake = None;
        let allowed = match &mut self.control {
            Control::Adaptive(adaptive) => adaptive.allowed(silence, smoothed),
            Control::Fixed(_) | Control::Off => self.max_flight,
        };
        let room = flight < allowed;
        let paced = self.pacer.next_send().filter(|&next| next > now);
        let open = room && paced.is_none();
        if waiting && !open {
            if let Control::Adaptive(adaptive) = &mut self.control {
                adaptive.limited();
            }
            // Else an acknowledgement opens the window.
            self.wake = paced.filter(|_| room);
        }
        open
    }

    /// `bytes` have left, whether they had to ask or not.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: usize, smoothed: Duration) {
        let (rate, burst) = match &self.control {
            Control::Adaptive(adaptive) => (adaptive.rate(smoothed), adaptive.burst(smoothed)),
            Control::Fixed(rate) => (*rate, pacer::least_burst(*rate)),
            Control::Off => return,
        };
        self.pacer.on_sent(now, bytes, rate, burst);
    }

    /// Digests news of packets; `flight` is what is still on its way.
    pub(crate) fn on_progress(
        &mut self,
        now: Instant,
        progress: &Progress,
        smoothed: Duration,
        flight: usize,
    ) {
        if let Control::Adaptive(adaptive) = &mut self.control {
            adaptive.on_progress(now, progress, smoothed, flight);
        }
    }

    /// When `may_send` changes its mind although nothing arrives; `None` if nothing waits for that.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// The wake-up call was heard.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        self.wake = self.wake.filter(|&wake| wake > now);
    }

    /// Bytes that may be on their way.
    pub(crate) fn window(&self) -> usize {
        match &self.control {
            Control::Adaptive(adaptive) => adaptive.window(),
            Control::Fixed(_) | Control::Off => self.max_flight,
        }
    }

    /// Bytes per second that the session may send in the long run, where round trips take so long; `None` if that was not
    /// measured and it depends on it.
    pub(crate) fn rate(&self, round_trip: Option<Duration>) -> Option<u64> {
        if let Control::Fixed(rate) = self.control {
            return Some(rate);
        }
        Some(stats::per_second(self.window() as u64, round_trip?.max(SHORTEST)))
    }
}
