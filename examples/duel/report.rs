//! What is said at the end of a duel: a verdict, a table for people, one JSON object for programs.

use serde_json::{Value, json};

use super::game::Tally;
use super::relay;

pub(crate) const GUARANTEES: [&str; 3] = ["none", "order", "delivery"];

/// Everything measured, both directions summed.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) sealed: bool,
    pub(crate) profile: String,
    pub(crate) seed: u64,
    pub(crate) hashes: [Option<[u8; 32]>; 2],
    pub(crate) sent: [u64; 3],
    pub(crate) tallies: [Tally; 3],
    pub(crate) damaged: u64,
    pub(crate) reconnects: u64,
    pub(crate) datagrams: u64,
    /// IP and UDP headers counted.
    pub(crate) wire_bytes: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) relay: relay::Counts,
    pub(crate) drops: Vec<(&'static str, u64)>,
    /// What went wrong besides broken promises: why a session ended early, for example.
    pub(crate) troubles: Vec<String>,
}

impl Summary {
    /// The promises that were broken; empty when all is well.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = self.troubles.clone();
        let (sent, delivered) = (self.sent[2], self.tallies[2].delivered);
        if delivered != sent || sent == 0 {
            broken.push(format!("{delivered} of {sent} Delivery messages arrived"));
        }
        for (name, tally) in GUARANTEES.iter().zip(&self.tallies) {
            if tally.duplicates > 0 {
                broken.push(format!("{} duplicates of {name}", tally.duplicates));
            }
            if tally.order_violations > 0 {
                broken.push(format!("{} order violations of {name}", tally.order_violations));
            }
        }
        if self.damaged > 0 {
            broken.push(format!("{} messages with a content that nobody sent", self.damaged));
        }
        if self.sealed && (self.hashes[0].is_none() || self.hashes[0] != self.hashes[1]) {
            broken.push("the handshake hashes differ or are missing".to_owned());
        }
        broken
    }

    fn per_payload(&self) -> f64 {
        self.wire_bytes as f64 / self.payload_bytes.max(1) as f64
    }

    fn hash(&self, side: usize) -> Option<String> {
        self.hashes[side].map(hex::encode)
    }

    pub(crate) fn json(&self) -> Value {
        let guarantee = |at: usize| {
            let tally = &self.tallies[at];
            json!({
                "sent": self.sent[at],
                "delivered": tally.delivered,
                "duplicates": tally.duplicates,
                "order_violations": (at > 0).then_some(tally.order_violations),
                "delay_ms_p50": percentile(&tally.delays, 0.5),
                "delay_ms_p99": percentile(&tally.delays, 0.99),
            })
        };
        let drops: serde_json::Map<_, _> =
            self.drops.iter().map(|(why, count)| ((*why).to_owned(), json!(count))).collect();
        json!({
            "sealed": self.sealed,
            "profile": self.profile,
            "seed": self.seed,
            "handshake_hashes": [self.hash(0), self.hash(1)],
            "guarantees": {"none": guarantee(0), "order": guarantee(1), "delivery": guarantee(2)},
            "damaged": self.damaged,
            "reconnects": self.reconnects,
            "datagrams": self.datagrams,
            "wire_bytes": self.wire_bytes,
            "payload_bytes": self.payload_bytes,
            "wire_per_payload": self.per_payload(),
            "relay": {
                "received": self.relay.received,
                "forwarded": self.relay.forwarded,
                "bytes": self.relay.bytes,
                "lost": self.relay.lost,
                "duplicated": self.relay.duplicated,
                "reordered": self.relay.reordered,
                "replayed": self.relay.replayed,
                "corrupted": self.relay.corrupted,
            },
            "drops": drops,
            "ok": self.broken().is_empty(),
            "problems": self.broken(),
        })
    }

    pub(crate) fn print(&self) {
        let kind = if self.sealed { "sealed" } else { "plain" };
        println!("{kind} session, profile {}, seed {}", self.profile, self.seed);
        println!();
        println!("guarantee      sent  delivered  duplicates  out of order  delay p50      p99");
        for (at, name) in GUARANTEES.iter().enumerate() {
            let tally = &self.tallies[at];
            let violations = if at == 0 { "-".to_owned() } else { tally.order_violations.to_string() };
            let delay =
                |share| percentile(&tally.delays, share).map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
            println!(
                "{name:<9} {:>9} {:>10} {:>11} {violations:>13} {:>10} {:>8}",
                self.sent[at],
                tally.delivered,
                tally.duplicates,
                delay(0.5),
                delay(0.99)
            );
        }
        println!();
        println!(
            "{} datagrams, {} bytes on the wire (headers counted) for {} of payload: {:.2} to 1",
            self.datagrams,
            self.wire_bytes,
            self.payload_bytes,
            self.per_payload()
        );
        let relay = &self.relay;
        if relay.received > 0 {
            println!(
                "the relay lost {}, duplicated {}, reordered {}, replayed {} and corrupted {} of {} datagrams",
                relay.lost,
                relay.duplicated,
                relay.reordered,
                relay.replayed,
                relay.corrupted,
                relay.received
            );
        }
        let drops: Vec<_> = self.drops.iter().filter(|(_, count)| *count > 0).collect();
        let drops = drops.iter().map(|(why, count)| format!("{count} {why}")).collect::<Vec<_>>().join(", ");
        println!("dropped on arrival: {}", if drops.is_empty() { "nothing" } else { &drops });
        println!("messages with a content that nobody sent: {}", self.damaged);
        if self.sealed {
            for (side, name) in ["a", "b"].iter().enumerate() {
                println!("handshake hash {name}: {}", self.hash(side).unwrap_or_else(|| "none".to_owned()));
            }
        }
        println!();
        match self.broken().as_slice() {
            [] => println!("ok: every promise was kept"),
            broken => println!("NOT OK: {}", broken.join("; ")),
        }
    }
}

/// In milliseconds; the nearest rank.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the list")]
fn percentile(micros: &[u64], share: f64) -> Option<f64> {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map(|micros| *micros as f64 / 1_000.0)
}
