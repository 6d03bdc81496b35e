//! What a session costs once it runs: no allocation per message, in either direction.

#[path = "common/clock.rs"]
mod clock;

use std::time::Duration;

use clock::Clock;
use sealgram::{
    Config, Credentials, Endpoint, Guarantee, LaneId, SealedEndpoint, SecretKey, SendOptions, Session,
    Strategy, UdpLike, memory_pair,
};

type Failure = Box<dyn std::error::Error>;

/// A tick at 60 Hz is two steps.
const STEP: Duration = Duration::from_millis(8);

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
    let clock = Clock::new(STEP);
    let end = |socket, own: &SecretKey, peer: &SecretKey, node| -> Result<_, Failure> {
        let credentials = Credentials::paired(own, peer.public_key())?;
        Ok(SealedEndpoint::with_environment(socket, credentials, Config::default(), clock.environment(node))?)
    };
    check(&clock, [end(one, &alice, &bob, 0)?, end(two, &bob, &alice, 1)?])
}

#[test]
fn a_plain_session_allocates_nothing_per_message() -> Result<(), Failure> {
    let (one, two) = memory_pair();
    let clock = Clock::new(STEP);
    let end =
        |socket, node| Endpoint::plain_with_environment(socket, Config::default(), clock.environment(node));
    check(&clock, [end(one, 0)?, end(two, 1)?])
}

/// Sends with every option and fetches the notices.
fn optional_round<U: UdpLike, S: Session>(
    clock: &Clock,
    ends: &mut [Endpoint<U, S>; 2],
    tick: u32,
    counts: &mut (usize, usize),
) -> Result<(), Failure> {
    let life = Duration::from_millis(100);
    for strategy in [Strategy::RealTime, Strategy::TimeSensitive, Strategy::Reliable, Strategy::Critical] {
        ends[0].send_payload(strategy, &[7; 60])?;
    }
    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
        let options = SendOptions::new(guarantee).expires(life).drop_late().notice();
        ends[0].send_payload(options.lane(LaneId(1)), &[7; 60])?;
        ends[0].send_payload(options.lane(LaneId(2)).slot(tick % 4).copies(2, life / 10), &[7; 60])?;
        // Replaced at once, so that something is superseded unsent.
        ends[0].send_payload(options.lane(LaneId(2)).slot(tick % 4), &[7; 60])?;
    }
    let large = SendOptions::new(Guarantee::Order).lane(LaneId(3)).parity();
    ends[0].send_payload(large, &[7; 4_000])?;
    ends[0].send_payload(SendOptions::new(Guarantee::Order).lane(LaneId(4)), &[7; 4_000])?;
    ends[0].flush()?;
    for _ in 0..2 {
        clock.advance();
        for end in ends.iter_mut() {
            while end.recv()?.is_some() {
                counts.0 += 1;
            }
            end.maintain()?;
            while end.poll_event().is_some() {
                counts.1 += 1;
            }
        }
    }
    Ok(())
}

#[test]
fn options_allocate_nothing_per_message() -> Result<(), Failure> {
    let (one, two) = memory_pair();
    let clock = Clock::new(STEP);
    let end =
        |socket, node| Endpoint::plain_with_environment(socket, Config::default(), clock.environment(node));
    let mut ends = [end(one, 0)?, end(two, 1)?];
    ends[0].connect()?;
    let mut counts = (0, 0);
    for tick in 0..3_000 {
        optional_round(&clock, &mut ends, tick, &mut counts)?;
    }
    let warm = counts;
    let mut result = Ok(());
    let info = allocation_counter::measure(|| {
        result = (0..1_000).try_for_each(|tick| optional_round(&clock, &mut ends, tick, &mut counts));
    });
    result?;
    assert_eq!((counts.0 - warm.0, counts.1 - warm.1), (4_000 + 3_000 + 1_000 + 2_000, 9_000));
    assert_eq!(info.count_total, 0, "{info:?}");
    Ok(())
}
