//! What the tests of whole endpoints share: two endpoints in one simulated network with one clock.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_core::TryRng;
use sealgram::sim::{Connected, Link, Net};
use sealgram::{CloseReason, Config, Credentials, Endpoint, Environment, Event, Guarantee, Plain, Sealed};
use sealgram::{SecretKey, Session, UdpLike};

/// The address of the pair's first end.
pub(crate) fn here() -> SocketAddr {
    ([10, 0, 0, 1], 4_000).into()
}

/// The address of the pair's second end.
pub(crate) fn there() -> SocketAddr {
    ([10, 0, 0, 2], 4_000).into()
}

/// The clock and the chances of one node: all that an endpoint needs to be repeatable.
pub(crate) fn environment(net: &Net, node: SocketAddr) -> Environment {
    let clock = net.clone();
    Environment::new(move || clock.now(), net.rng(node))
}

/// Two keys that follow from the seed.
pub(crate) fn keys(seed: u64) -> [SecretKey; 2] {
    let mut rng = sealgram::sim::Rng::seed(seed);
    [(); 2].map(|()| {
        let mut bytes = [0; 32];
        rng.try_fill_bytes(&mut bytes).unwrap();
        SecretKey::from_bytes(bytes)
    })
}

/// One end with what it has heard so far.
pub(crate) struct End<S: Session, U = Connected> {
    pub(crate) endpoint: Endpoint<U, S>,
    pub(crate) heard: Vec<(Guarantee, Vec<u8>)>,
    pub(crate) events: Vec<Event>,
    pub(crate) closed: Option<CloseReason>,
}

impl<S: Session, U: UdpLike> End<S, U> {
    pub(crate) fn new(endpoint: Endpoint<U, S>) -> Self {
        Self { endpoint, heard: Vec::new(), events: Vec::new(), closed: None }
    }

    /// Receives everything and runs what is due.
    pub(crate) fn step(&mut self) -> Option<Instant> {
        let deadline = loop {
            match self.endpoint.recv() {
                Ok(Some(message)) => self.heard.push((message.guarantee(), message.to_vec())),
                Ok(None) => break self.endpoint.maintain(),
                Err(reason) => break Err(reason),
            }
        };
        self.events.extend(std::iter::from_fn(|| self.endpoint.poll_event()));
        self.closed = deadline.err();
        deadline.ok().flatten()
    }

    /// What was heard under one guarantee, in the order of arrival.
    pub(crate) fn heard_as(&self, guarantee: Guarantee) -> Vec<&[u8]> {
        self.heard
            .iter()
            .filter(|(as_what, _)| *as_what == guarantee)
            .map(|(_, bytes)| bytes.as_slice())
            .collect()
    }
}

/// Two endpoints, one network, one clock. Says its seed when a test fails.
pub(crate) struct Pair<S: Session> {
    pub(crate) seed: u64,
    pub(crate) net: Net,
    pub(crate) a: End<S>,
    pub(crate) b: End<S>,
}

impl Pair<Sealed> {
    /// Paired by keys that follow from the seed.
    pub(crate) fn sealed(seed: u64, link: Link, config: &Config) -> Self {
        let keys = keys(seed);
        let credentials = |own: usize| Credentials::paired(&keys[own], keys[1 - own].public_key()).unwrap();
        Self::with_credentials(seed, link, config, [credentials(0), credentials(1)])
    }

    /// With any profile.
    pub(crate) fn with_credentials(
        seed: u64,
        link: Link,
        config: &Config,
        credentials: [Credentials; 2],
    ) -> Self {
        let net = Net::seed(seed);
        net.set_default(link);
        let [a, b] = credentials;
        let a = sealed_end(&net, here(), there(), a, config);
        let b = sealed_end(&net, there(), here(), b, config);
        Self { seed, net, a, b }
    }
}

/// A sealed endpoint at `at`; taken anew, it is the node after a restart.
pub(crate) fn sealed_end(
    net: &Net,
    at: SocketAddr,
    to: SocketAddr,
    credentials: Credentials,
    config: &Config,
) -> End<Sealed> {
    let socket = net.socket(at).connect(to);
    End::new(Endpoint::with_environment(socket, credentials, config.clone(), environment(net, at)).unwrap())
}

/// A plain endpoint at `at`; taken anew, it is the node after a restart.
pub(crate) fn plain_end(net: &Net, at: SocketAddr, to: SocketAddr, config: &Config) -> End<Plain> {
    let socket = net.socket(at).connect(to);
    End::new(Endpoint::plain_with_environment(socket, config.clone(), environment(net, at)).unwrap())
}

impl Pair<Plain> {
    pub(crate) fn plain(seed: u64, link: Link, config: &Config) -> Self {
        let net = Net::seed(seed);
        net.set_default(link);
        let (a, b) = (plain_end(&net, here(), there(), config), plain_end(&net, there(), here(), config));
        Self { seed, net, a, b }
    }
}

impl<S: Session> Pair<S> {
    /// Goes on until `done` or for `limit` of virtual time; whether it was done.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&mut End<S>, &mut End<S>) -> bool,
    ) -> bool {
        let end = self.net.now() + limit;
        loop {
            let deadlines = [self.a.step(), self.b.step()];
            if done(&mut self.a, &mut self.b) {
                return true;
            }
            if self.net.now() >= end {
                return false;
            }
            // A deadline in the past would stop time.
            let soon = self.net.now() + Duration::from_micros(100);
            let next = deadlines.into_iter().flatten().min().map_or(end, |next| next.max(soon).min(end));
            self.net.advance_to_next_or(next);
        }
    }

    /// Goes on for `time`.
    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(time, |_, _| false);
    }

    /// The first end dials; fails the test when there is no session within 30 s.
    pub(crate) fn connect(&mut self) {
        self.a.endpoint.connect().unwrap();
        let both = |a: &mut End<S>, b: &mut End<S>| a.endpoint.is_connected() && b.endpoint.is_connected();
        assert!(self.run_until(Duration::from_secs(30), both), "no session, seed {}", self.seed);
    }
}

impl<S: Session> Drop for Pair<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, {:?} of virtual time", self.seed, self.net.elapsed());
        }
    }
}
