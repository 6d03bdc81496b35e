//! Who is compared: one file for each crate and one for each kind of bare socket.

mod bare;
mod enet;
mod kcp;
mod players;
mod quinn;
mod quinn_server;
mod raw;
mod renet;
mod sealgram;
mod sealgram_server;

use serde::{Deserialize, Serialize};

use self::sealgram::OneByOne;
use crate::{
    cipher::{Crate, Own, Ring},
    end::{Demand, Outcome, Pair, Scene},
};

/// What an Ethernet frame with IPv6 and UDP has room for. Whoever can be told is told.
const LARGEST_DATAGRAM: usize = 1_452;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    Sealgram,
    /// The same program with the library's feature `ring`; see `--ring`.
    SealgramRing,
    SealgramOneByOne,
    /// Of players who prove no key of their own.
    SealgramServerKeyOnly,
    SealgramPlain,
    QuinnAes,
    QuinnChacha,
    Renet,
    Enet,
    Kcp,
    BareOwn,
    BareRing,
    UdpChacha,
    Udp,
    /// Key exchanges and nothing else: a fresh key pair and this many agreements.
    TwoAgreements,
    FourAgreements,
    CipherOwn,
    CipherOwnRing,
    CipherCrate,
    CipherRing,
    CipherRingAes,
}

impl Peer {
    /// As it stands in the tables; the second says whether what it sends is sealed.
    pub fn names(self) -> (&'static str, bool) {
        match self {
            Self::Sealgram => ("sealgram", true),
            Self::SealgramRing => ("sealgram, feature ring", true),
            Self::SealgramOneByOne => ("sealgram, one by one", true),
            Self::SealgramServerKeyOnly => ("sealgram, players without keys", true),
            Self::SealgramPlain => ("sealgram, plain", false),
            Self::QuinnAes => ("quinn, AES-128-GCM", true),
            Self::QuinnChacha => ("quinn, ChaCha20", true),
            Self::Renet => ("renet, netcode secure", true),
            Self::Enet => ("rusty_enet", false),
            Self::Kcp => ("kcp", false),
            Self::BareOwn => ("bare loop, sealgram's cipher", true),
            Self::BareRing => ("bare loop, ring", true),
            Self::UdpChacha => ("UDP + chacha20poly1305 (R)", true),
            Self::Udp => ("UDP", false),
            Self::TwoAgreements => ("x25519-dalek, key pair + 2", true),
            Self::FourAgreements => ("x25519-dalek, key pair + 4", true),
            Self::CipherOwn => ("sealgram's packets", true),
            Self::CipherOwnRing => ("sealgram's packets, feature ring", true),
            Self::CipherCrate => ("chacha20poly1305", true),
            Self::CipherRing => ("ring, ChaCha20-Poly1305", true),
            Self::CipherRingAes => ("ring, AES-128-GCM", true),
        }
    }

    pub fn is_ours(self) -> bool {
        self.names().0.starts_with("sealgram")
    }

    /// Whether it is measured by another build of this program.
    pub fn needs_ring(self) -> bool {
        matches!(self, Self::SealgramRing | Self::CipherOwnRing)
    }

    /// Two ends of one connection.
    pub fn pair(self, demand: Demand) -> Outcome<Pair> {
        match self {
            Self::Sealgram | Self::SealgramRing => sealgram::sealed(demand, |socket| socket),
            Self::SealgramOneByOne => sealgram::sealed(demand, OneByOne),
            Self::SealgramPlain => sealgram::plain(demand, |socket| socket),
            Self::QuinnAes => quinn::pair(quinn::Suite::Aes, demand),
            Self::QuinnChacha => quinn::pair(quinn::Suite::ChaCha, demand),
            Self::Renet => renet::pair(demand),
            Self::Enet => enet::pair(demand),
            Self::Kcp => kcp::pair(),
            Self::BareOwn => bare::pair(|| Ok(Box::new(Own::new())), demand),
            Self::BareRing => bare::pair(|| Ok(Box::new(Ring::chacha()?)), demand),
            Self::UdpChacha => raw::pair(|| Ok(Some(Box::new(Crate::new())))),
            Self::Udp => raw::pair(|| Ok(None)),
            other => Err(format!("{other:?} makes no pairs").into()),
        }
    }

    /// A server and its players.
    pub fn scene(self, players: usize) -> Outcome<Scene> {
        match self {
            Self::Sealgram | Self::SealgramRing => sealgram_server::sealed(players, true),
            Self::SealgramServerKeyOnly => sealgram_server::sealed(players, false),
            Self::SealgramPlain => sealgram_server::plain(players),
            Self::QuinnAes => quinn_server::scene(quinn::Suite::Aes),
            Self::QuinnChacha => quinn_server::scene(quinn::Suite::ChaCha),
            Self::Renet => renet::scene(players),
            Self::Enet => enet::scene(players),
            Self::Kcp => kcp::scene(),
            Self::BareOwn => bare::scene(|| Ok(Box::new(Own::new()))),
            Self::BareRing => bare::scene(|| Ok(Box::new(Ring::chacha()?))),
            Self::UdpChacha => raw::scene(|| Ok(Some(Box::new(Crate::new())))),
            Self::Udp => raw::scene(|| Ok(None)),
            other => Err(format!("{other:?} has no server").into()),
        }
    }
}
