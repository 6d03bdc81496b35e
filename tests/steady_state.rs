//! What a session costs once it runs: no allocation per message, in either direction.

use sealgram::{Config, Endpoint, Guarantee, SealedEndpoint, SecretKey, Session, UdpLike, memory_pair};

type Failure = Box<dyn std::error::Error>;

/// Sends one message of each guarantee and lets both ends run until everything has arrived.
fn round<U: UdpLike, S: Session>(
    ends: &mut [Endpoint<U, S>; 2],
    payload: &[u8],
    yielded: &mut usize,
) -> Result<(), Failure> {
    for end in ends.iter_mut() {
        for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
            end.send_payload(guarantee, payload)?;
        }
        end.flush();
    }
    for _ in 0..2 {
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

fn check<U: UdpLike, S: Session>(mut ends: [Endpoint<U, S>; 2]) -> Result<(), Failure> {
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
            round(&mut ends, &payload, &mut yielded)?;
        }
        let warm = yielded;
        let mut result = Ok(());
        let info = allocation_counter::measure(|| {
            result = (0..1_000).try_for_each(|_| round(&mut ends, &payload, &mut yielded));
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
    check([
        SealedEndpoint::paired(one, &alice, bob.public_key(), Config::default())?,
        SealedEndpoint::paired(two, &bob, alice.public_key(), Config::default())?,
    ])
}

#[test]
fn a_plain_session_allocates_nothing_per_message() -> Result<(), Failure> {
    let (one, two) = memory_pair();
    check([Endpoint::plain(one, Config::default())?, Endpoint::plain(two, Config::default())?])
}
