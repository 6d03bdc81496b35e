//! Whole games drawn from a seed, judged by the contract alone.

use super::*;

/// A whole game between two ends, drawn from a seed: mixes of guarantees, sets of any size, fragments, loss,
/// duplicates, reordering and perhaps a blackout. Judged by the contract alone.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    loss: u64,
    duplicates: u64,
    jitter_ms: u64,
    blackout: bool,
    largest_set: u64,
    largest_message: u64,
    messages: usize,
}

fn plans() -> impl Strategy<Value = Plan> {
    let sizes = prop_oneof![Just(1_u64), Just(5), Just(100), Just(2_000)];
    let lens = prop_oneof![Just(40_u64), Just(1_500), Just(30_000)];
    (any::<u64>(), 0..300_u64, 0..100_u64, 0..60_u64, any::<bool>(), sizes, lens).prop_map(
        |(seed, loss, duplicates, jitter_ms, blackout, largest_set, largest_message)| Plan {
            seed,
            loss,
            duplicates,
            jitter_ms,
            blackout,
            largest_set,
            largest_message,
            messages: if largest_message > 2_000 { 150 } else { 600 },
        },
    )
}

/// The bytes of message `id`: its name, then a pattern that belongs to it.
fn letter(id: u64, len: u64) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|at| (at ^ id.wrapping_mul(37)).to_le_bytes()[0]));
    bytes
}

fn play(plan: &Plan) {
    let link = Link { loss: plan.loss, duplicates: plan.duplicates, delay_ms: 20, jitter_ms: plan.jitter_ms };
    let config = Config { unreliable_memory_bytes: 8 << 20, ..Config::default() };
    let mut pair = Pair::new(plan.seed, link, &config);
    let mut dice = Dice(plan.seed ^ 0x5eed);
    let mut logs: [Vec<Sent>; PEERS] = Default::default();
    let mut sets = [0_u64; PEERS];
    let mut left_in_set = [0_u64; PEERS];
    for round in 0..plan.messages {
        pair.blocked = plan.blackout && (100..290).contains(&round);
        for end in 0..PEERS {
            if left_in_set[end] == 0 && plan.largest_set > 1 && dice.chance(100) {
                left_in_set[end] = 1 + dice.next() % plan.largest_set;
                pair.ends[end].open_set(0).unwrap();
            }
            let promise = match dice.next() % 3 {
                0 => Promise::None,
                1 => Promise::Order,
                _ => Promise::Delivery,
            };
            let guarantee = [Guarantee::None, Guarantee::Order, Guarantee::Delivery][promise as usize];
            let id = logs[end].len() as u64;
            let len = if dice.chance(100) { dice.next() % plan.largest_message } else { dice.next() % 40 };
            match pair.ends[end].send(0, guarantee, &letter(id, len)) {
                Ok(_) => logs[end].push(Sent { promise, lane: 0, set: sets[end], id }),
                Err(SendError::Full { .. }) => {}
                Err(other) => panic!("{other}"),
            }
            let alone = left_in_set[end] == 0;
            left_in_set[end] = left_in_set[end].saturating_sub(1);
            if alone {
                sets[end] += u64::from(promise != Promise::None);
            } else if left_in_set[end] == 0 {
                pair.ends[end].close_set(0).unwrap();
                sets[end] += 1;
            }
            if dice.chance(700) {
                pair.flush(end);
            }
        }
        pair.run(16 * MS);
    }
    pair.blocked = false;
    pair.run(Duration::from_secs(40));
    for (end, log) in logs.iter().enumerate() {
        let yields: Vec<Yielded> = pair.yielded[1 - end]
            .iter()
            .map(|(guarantee, bytes)| {
                let id = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                assert_eq!(*bytes, letter(id, bytes.len() as u64 - 8), "the bytes are those that were sent");
                let promise = [Promise::None, Promise::Order, Promise::Delivery][*guarantee as usize];
                Yielded { promise, lane: 0, id }
            })
            .collect();
        let verdict = contract::check(log, &yields, &End::Dry { skipped: Vec::new() });
        assert!(verdict.is_ok(), "{plan:?}, from end {end}: {verdict:?}");
        assert_eq!(
            pair.ends[end].queued_messages(),
            0,
            "{plan:?}: everything that was acknowledged is let go"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn two_ends_keep_the_contract_whatever_the_network_does(plan in plans()) {
        play(&plan);
    }
}
