//! What a session costs once it runs: no allocation per message, in either direction.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sealgram::{
    Config, Credentials, Endpoint, Environment, Guarantee, SealedEndpoint, SecretKey, Session, UdpLike,
    memory_pair, sim::Net,
};

type Failure = Box<dyn std::error::Error>;

/// Virtual time, so that the machine's pauses do not show: a tick at 60 Hz is two steps.
struct Clock {
    origin: Instant,
    steps: Arc<AtomicU64>,
    net: Net,
}

impl Clock {
    fn new() -> Self {
        let net = Net::seed(1);
        Self { origin: net.now(), steps: Arc::default(), net }
    }

    fn advance(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn environment(&self, port: u16) -> Environment {
        let (origin, steps) = (self.origin, Arc::clone(&self.steps));
        let now = move || origin + Duration::from_millis(8 * steps.load(Ordering::Relaxed));
        Environment::new(now, self.net.rng(([10, 0, 0, 1], port).into()))
    }
}

/// Sends one message of each guarantee and lets both ends run until everything has arrived.
fn round<U: UdpLike, S: Session>(
    clock: &Clock,
    ends: &mut [Endpoint<U, S>; 2],
    payload: &[u8],
    yielded: &mut usize,
) -> Result<(), Failure> {
    for end in ends.iter_mut() {
        for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
            end.send_payload(guarantee, payload)?;
        }
        end.flush()?;
    }
    for _ in 0..2 {
        clock.advance();
        for end in ends.iter_mut() {
            while let Some(message) = end.recv()? {
                *yielded += 1;
                assert_eq!(message.len(), payload.len());
            }
            end.maintain()?;
        }
    }
    Ok(())
}

fn check<U: UdpLike, S: Session>(clock: &Clock, mut ends: [Endpoint<U, S>; 2]) -> Result<(), Failure> {
    ends[0].connect()?;
    while !(ends[0].is_connected() && ends[1].is_connected()) {
        for end in &mut ends {
            assert!(end.recv()?.is_none());
            end.maintain()?;
        }
    }
    for len in [64, 1_000] {
        let payload = vec![7; len];
        let mut yielded = 0;
        for _ in 0..2_000 {
            round(clock, &mut ends, &payload, &mut yielded)?;
        }
        let warm = yielded;
        let mut result = Ok(());
        let info = allocation_counter::measure(|| {
            result = (0..1_000).try_for_each(|_| round(clock, &mut ends, &payload, &mut yielded));
        });
        result?;
        assert_eq!(yielded - warm, 6_000, "all messages of the measured rounds were yielded");
        assert_eq!(info.count_total, 0, "allocations in 6,000 messages of {len} bytes: {info:?}");
    }
    Ok(())
}

#[test]
fn a_sealed_session_allocates_nothing_per_message() -> Result<(), Failure> {
    let (one, two) = memory_pair();
    let (alice, bob) = (SecretKey::generate()?, SecretKey::generate()?);
    let clock = Clock::new();
    let end = |socket, own: &SecretKey, peer: &SecretKey, node| -> Result<_, Failure> {
        let credentials = Credentials::paired(own, peer.public_key())?;
        Ok(SealedEndpoint::with_environment(socket, credentials, Config::default(), clock.environment(node))?)
    };
    check(&clock, [end(one, &alice, &bob, 0)?, end(two, &bob, &alice, 1)?])
}

#[test]
fn a_plain_session_allocates_nothing_per_message() -> Result<(), Failure> {
    let (one, two) = memory_pair();
    let clock = Clock::new();
    let end =
        |socket, node| Endpoint::plain_with_environment(socket, Config::default(), clock.environment(node));
    check(&clock, [end(one, 0)?, end(two, 1)?])
}
