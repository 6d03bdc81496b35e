//! The loads: what is sent, how it is paced, and what is counted.

mod crowd;
mod exchange;
mod flood;
mod handshakes;
mod ping;
mod seals;
mod ticks;
mod two;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{end::Outcome, peers::Peer};

/// What one measurement found, by the names of columns.
pub type Figures = BTreeMap<String, f64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Load {
    #[serde(rename = "w1-1200")]
    FloodLarge,
    #[serde(rename = "w1-64")]
    FloodSmall,
    #[serde(rename = "w2")]
    Bulk,
    #[serde(rename = "w3")]
    Ping,
    #[serde(rename = "w4")]
    Ticks,
    #[serde(rename = "w5")]
    Crowd,
    #[serde(rename = "w7")]
    Handshakes,
    #[serde(rename = "w8-64")]
    SealsSmall,
    #[serde(rename = "w8-1200")]
    SealsLarge,
}

impl Load {
    pub const ALL: [Self; 9] = [
        Self::FloodLarge,
        Self::FloodSmall,
        Self::Bulk,
        Self::Ping,
        Self::Ticks,
        Self::Crowd,
        Self::Handshakes,
        Self::SealsSmall,
        Self::SealsLarge,
    ];

    /// As on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Self::FloodLarge => "w1-1200",
            Self::FloodSmall => "w1-64",
            Self::Bulk => "w2",
            Self::Ping => "w3",
            Self::Ticks => "w4",
            Self::Crowd => "w5",
            Self::Handshakes => "w7",
            Self::SealsSmall => "w8-64",
            Self::SealsLarge => "w8-1200",
        }
    }

    /// The peers that have it. A kind of message that a peer does not have is a dash in the table.
    pub fn peers(self) -> Vec<Peer> {
        use Peer::*;
        let transports = [Sealgram, SealgramRing, SealgramPlain, QuinnAes, QuinnChacha, Renet, Enet, Kcp];
        let without = self.without().iter().map(|(peer, _)| *peer).collect::<Vec<_>>();
        let mut peers = match self {
            Self::Handshakes => vec![
                Sealgram,
                SealgramServerKeyOnly,
                SealgramPlain,
                QuinnAes,
                QuinnChacha,
                Renet,
                Enet,
                FourAgreements,
                TwoAgreements,
            ],
            Self::SealsSmall | Self::SealsLarge => {
                vec![CipherOwn, CipherOwnRing, CipherCrate, CipherRing, CipherRingAes]
            }
            _ => [&transports[..], &[BareOwn, BareRing, UdpChacha, Udp]].concat(),
        };
        // Where there are full datagrams enough to join, or where it must not cost to be ready for that.
        if matches!(self, Self::FloodLarge | Self::FloodSmall | Self::Bulk | Self::Ping) {
            peers.insert(1, SealgramOneByOne);
        }
        peers.retain(|peer| !without.contains(peer));
        peers
    }

    /// Peers without this load, and why.
    pub fn without(self) -> &'static [(Peer, &'static str)] {
        match self {
            Self::FloodLarge | Self::FloodSmall => &[(Peer::Kcp, "has reliable messages only")],
            Self::Crowd => &[(Peer::Renet, "holds 1,024 players at most")],
            Self::Handshakes => &[(Peer::Kcp, "has no handshake")],
            _ => &[],
        }
    }

    /// What the others are measured by.
    pub fn ruler(self) -> Peer {
        match self {
            Self::Ping => Peer::Udp,
            Self::Handshakes => Peer::FourAgreements,
            Self::SealsSmall | Self::SealsLarge => Peer::CipherRing,
            _ => Peer::UdpChacha,
        }
    }

    /// One measurement of one peer.
    pub fn measure(self, peer: Peer, quick: bool) -> Outcome<Figures> {
        match self {
            Self::FloodLarge => flood::unreliable(peer, 1_200, 512, quick),
            Self::FloodSmall => flood::unreliable(peer, 64, 2_048, quick),
            Self::Bulk => flood::bulk(peer, quick),
            Self::Ping => ping::measure(peer, quick),
            Self::Ticks => ticks::measure(peer, quick),
            Self::Crowd => crowd::measure(peer, quick),
            Self::Handshakes if matches!(peer, Peer::TwoAgreements | Peer::FourAgreements) => {
                Ok(exchange::measure(if peer == Peer::TwoAgreements { 2 } else { 4 }, quick))
            }
            Self::Handshakes => handshakes::measure(peer, quick),
            Self::SealsSmall => seals::measure(peer, 64, quick),
            Self::SealsLarge => seals::measure(peer, 1_200, quick),
        }
    }
}

/// Figures by their names.
pub fn figures<const N: usize>(figures: [(&str, f64); N]) -> Figures {
    figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_measures_its_ruler_and_no_peer_twice() {
        for load in Load::ALL {
            let peers = load.peers();
            assert!(peers.contains(&load.ruler()), "{load:?}");
            for (at, peer) in peers.iter().enumerate() {
                assert!(!peers[..at].contains(peer), "{load:?}: {peer:?}");
            }
        }
    }

    /// Short, and on a machine that is busy with other tests, so nothing is said of figures but that there are some.
    #[test]
    fn every_peer_carries_every_load_that_is_measured_with_it() {
        for load in Load::ALL {
            for peer in load.peers() {
                let found =
                    load.measure(peer, true).unwrap_or_else(|error| panic!("{load:?} {peer:?}: {error}"));
                assert!(found["cpu"] > 0.0, "{load:?} {peer:?}: {found:?}");
                assert!(found.get("wrong").is_none_or(|wrong| *wrong == 0.0), "{load:?} {peer:?}: {found:?}");
            }
        }
    }
}
