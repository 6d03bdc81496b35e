//! Networks drawn from a seed, fair and unfair: one session comes of it at both ends, and stays.

use super::*;

fn simultaneous(profile: &str, seeds: std::ops::Range<u64>) {
    let mut slow = Vec::new();
    let total = seeds.end - seeds.start;
    for seed in seeds {
        let mut net = Chance(seed ^ 0xabcd);
        let mut world = World::pair(profile, seed);
        for peer in [0, 1] {
            let least = ms(net.below(100));
            let most = least + ms(net.below(100));
            world.link[peer] = Link { least, most, loss: net.below(301), twice: net.below(100) };
        }
        world.closed_nat = vec![seed % 3 == 0; 2];
        world.connect(0);
        let later = ms(net.below(300));
        world.run(later);
        world.connect(1);
        let took = world.run_until(Duration::from_secs(31), World::agreed);
        let took = took.unwrap_or_else(|| panic!("{profile}, seed {seed}: {:?}", world.events));
        if took > Duration::from_secs(12) {
            slow.push(seed);
        }
        // It stays one session: nobody is told of another.
        let hash = world.peers[0].handshake_hash();
        for link in &mut world.link {
            link.loss = 0;
        }
        world.run(Duration::from_secs(20));
        assert!(world.agreed(), "{profile}, seed {seed}");
        assert_eq!(world.peers[0].handshake_hash(), hash, "{profile}, seed {seed}");
        for peer in [0, 1] {
            assert!(!closed(&world, peer), "{profile}, seed {seed}: {:?}", world.events);
        }
        assert_eq!(
            (world.sessions(0), world.sessions(1)),
            (1, 1),
            "{profile}, seed {seed}: {:?}",
            world.events
        );
    }
    assert!(slow.len() as u64 * 200 <= total, "{profile}: slow seeds {slow:?}");
}

#[test]
fn simultaneous_open_makes_one_session_paired() {
    simultaneous("paired", 0..500);
}

#[test]
fn simultaneous_open_makes_one_session_invite() {
    simultaneous("invite", 0..500);
}

#[test]
fn simultaneous_open_makes_one_session_in_every_symmetric_profile() {
    for profile in SYMMETRIC {
        simultaneous(profile, 1_000..1_100);
    }
}

/// An unfair network for a while: every datagram may be lost, doubled, held back for seconds, or come back much later;
/// peers restart, close their eyes, dial again. Then a fair one: the same session comes about at both ends and stays.
fn walk(profile: &str, seed: u64) {
    let mut chance = Chance(seed.wrapping_mul(77) ^ 0xfeed);
    let mut world = World::pair(profile, seed);
    world.to = vec![None; 2];
    let mut kept: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut seen = 0;
    for _ in 0..chance.below(120) {
        while seen < world.sent.len() {
            let (_, from, datagram) = world.sent[seen].clone();
            seen += 1;
            kept.push((1 - from, datagram));
        }
        match chance.below(100) {
            // An old or a new datagram arrives, and may come again.
            0..60 if !kept.is_empty() => {
                let newest = chance.below(2) == 0;
                let index = if newest { kept.len() - 1 } else { chance.index(kept.len()) };
                let (to, datagram) = kept[index].clone();
                if chance.below(4) != 0 {
                    kept.remove(index);
                }
                world.deliver(to, &datagram);
            }
            60..80 => world.run(ms(chance.below(400))),
            80..90 => world.run(ms(chance.below(7_000))),
            90..98 => {
                let peer = chance.index(2);
                world.connect(peer);
            }
            98 => {
                let peer = chance.index(2);
                world.restart(peer, credentials(profile, u8::from(peer == 1)), Config::default());
                world.connect(peer);
            }
            _ => {}
        }
    }
    world.to = vec![Some(1), Some(0)];
    for peer in [0, 1] {
        world.connect(peer);
        // Something to be answered, else a session whose other end is gone stays unnoticed until the keep-alive.
        let now = world.now;
        world.peers[peer].connection_mut().ping(now);
        world.flush(peer);
    }
    // An application whose dial gave up, because it began long before, dials again.
    let fair = world.now + Duration::from_secs(30);
    while !world.agreed() && world.step(fair) {
        for peer in [0, 1] {
            if world.peers[peer].closed().is_some() {
                world.connect(peer);
            }
        }
    }
    let took = world.agreed().then_some(());
    assert!(
        took.is_some(),
        "{profile}, seed {seed}: {:?}\n{}\n{}",
        world.events,
        world.peers[0].digest(),
        world.peers[1].digest()
    );
    // A renewal that was answered while one side doubted may still be confirmed.
    world.run(Duration::from_secs(8));
    assert!(world.agreed(), "{profile}, seed {seed}: {:?}", world.events);
    let hash = world.peers[0].handshake_hash();
    // Late copies of everything change nothing any more.
    for (to, datagram) in kept {
        world.deliver(to, &datagram);
        world.run(ms(3));
    }
    world.run(Duration::from_secs(25));
    assert!(world.agreed(), "{profile}, seed {seed}: {:?}", world.events);
    assert_eq!(world.peers[0].handshake_hash(), hash, "{profile}, seed {seed}: {:?}", world.events);
}

/// `SEALGRAM_WALKS=5000 cargo test --lib from_every_state` is the full form.
#[test]
fn from_every_state_the_same_session_is_reached() {
    let walks = std::env::var("SEALGRAM_WALKS").ok().and_then(|walks| walks.parse().ok()).unwrap_or(80);
    for profile in SYMMETRIC {
        for seed in 0..walks {
            walk(profile, seed);
        }
    }
}
