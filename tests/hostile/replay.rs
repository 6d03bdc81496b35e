//! What was honest once, again: packets, every message of a handshake, CONFIRM, CLOSE; in the same session, in the next,
//! and after either side has restarted. PROTOCOL.md, "Handshake" ("a replayed INIT"), "Receiving", "Close".

use std::time::Duration;

use sealgram::sim::Link;
use sealgram::{Credentials, Invite, Sealed, Trust};

use crate::common::{Pair, here, keys, sealed_end, there};
use crate::held::{Held, recorded, small};

const PROFILES: [&str; 3] = ["paired", "invite", "tofu"];

fn credentials(profile: &str, own: usize) -> Credentials {
    let keys = keys(2);
    match profile {
        "paired" => Credentials::paired(&keys[own], keys[1 - own].public_key()).unwrap(),
        "invite" => Credentials::invite(&Invite::from_bytes([5; 32])),
        _ => Credentials::tofu(&keys[own], Trust::Anyone),
    }
}

fn pair(profile: &str, seed: u64) -> Pair<Sealed> {
    Pair::with_credentials(seed, Link::default(), &small(), [0, 1].map(|own| credentials(profile, own)))
}

/// A new instance with the same keys, and no memory.
fn restart(held: &mut Held<Sealed>, profile: &str, which: usize) {
    let [at, to] = if which == 0 { [here(), there()] } else { [there(), here()] };
    let end = sealed_end(&held.pair.net, at, to, credentials(profile, which), &small());
    *held.end(which) = end;
}

#[test]
fn a_whole_session_again_changes_nothing_in_it() {
    for (seed, profile) in (51..).zip(PROFILES) {
        let (mut held, log) = recorded(pair(profile, seed));
        for (number, (to, datagram)) in log.iter().enumerate() {
            held.assert_nothing(*to, datagram, &format!("{profile}, datagram {number}"));
        }
        held.assert_delivers(profile);
    }
}

#[test]
fn a_whole_session_again_makes_no_session_after_a_restart() {
    for (seed, profile) in (54..).zip(PROFILES) {
        let (mut held, log) = recorded(pair(profile, seed));
        for which in [1, 0] {
            restart(&mut held, profile, which);
            for (number, (to, datagram)) in log.iter().enumerate().filter(|(_, (to, _))| *to == which) {
                held.assert_only_answered(*to, datagram, &format!("{profile}, datagram {number}"));
            }
            let end = held.end(which);
            assert!(
                !end.endpoint.is_connected() && end.events.is_empty() && end.heard.is_empty(),
                "{profile}"
            );
        }
        // A handshake that was begun by a ghost is gone after five seconds; one of the living needs none of them.
        held.pair.a.endpoint.connect().unwrap();
        held.settle();
        held.assert_delivers(profile);
        // And none of it counts in the new session, however often it comes.
        for (number, (to, datagram)) in log.iter().chain(&log).enumerate() {
            held.assert_only_answered(
                *to,
                datagram,
                &format!("{profile}, datagram {number} of the old session"),
            );
        }
        held.assert_delivers(profile);
    }
}

#[test]
fn a_close_ends_the_session_that_it_was_said_in_and_no_other() {
    for (seed, profile) in (57..).zip(PROFILES) {
        let mut held = Held::new(pair(profile, seed));
        held.pair.a.endpoint.connect().unwrap();
        held.settle();
        held.pair.a.endpoint.close(7, b"bye");
        let closes = held.said();
        assert_eq!(closes.len(), 3);
        held.hand(1, &closes[0]);
        assert!(held.pair.b.closed.is_some());
        let events = held.pair.b.events.len();
        held.hand(1, &closes[1]);
        assert_eq!(held.pair.b.events.len(), events, "said once");
        held.pair.net.advance(Duration::from_secs(5));
        // The next session of the two: while it is dialled, and when it is live.
        held.pair.a.endpoint.connect().unwrap();
        let init = held.said().remove(0);
        for close in &closes {
            held.assert_only_answered(0, close, "while it dials");
            held.assert_only_answered(1, close, "before it is dialled");
        }
        held.hand(1, &init);
        held.settle();
        assert!(held.pair.b.endpoint.is_connected(), "{profile}");
        for close in closes.iter().chain(&closes) {
            held.assert_nothing(0, close, "its own CLOSE of the session before");
            held.assert_nothing(1, close, "CLOSE of the session before");
        }
        held.assert_delivers(profile);
    }
}

/// Nobody without the keys has a CLOSE: whatever looks like one is noise. There is no reset of any other kind.
#[test]
fn no_datagram_of_a_stranger_ends_a_session() {
    use rand_core::TryRng;
    let mut held = Held::new(pair("paired", 60));
    held.pair.a.endpoint.connect().unwrap();
    held.settle();
    let mut dice = sealgram::sim::Rng::seed(61);
    // A CLOSE without a reason is 24 bytes long; of every length around it a few hundred, and zeros and ones.
    for len in 0..64 {
        for _ in 0..100 {
            let mut noise = vec![0; len];
            dice.try_fill_bytes(&mut noise).unwrap();
            if len > 0 {
                held.assert_nothing(1, &noise, &format!("noise of {len}"));
            }
        }
        for filler in [0, 0xff] {
            if len > 0 {
                held.assert_nothing(1, &vec![filler; len], &format!("{filler} of {len}"));
            }
        }
    }
    held.assert_delivers("after the noise");
}
