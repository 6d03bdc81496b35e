//! A handshake of each profile, and the bare Diffie-Hellman operations that it needs.

use std::time::Duration;

use sealgram::{Config, Credentials, Invite, MemorySocket, Psk, SealedEndpoint, Trust, memory_pair};

use super::{Clock, clock, key, timed};

/// Diffie-Hellman operations of one side: fresh key pairs, and agreements. What two static keys share is computed with
/// the credentials, where both are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operations {
    pub(crate) pairs: u32,
    pub(crate) agreements: u32,
}

const fn operations(agreements: u32) -> Operations {
    Operations { pairs: 1, agreements }
}

pub(crate) struct Profile {
    pub(crate) name: &'static str,
    credentials: fn() -> [Credentials; 2],
    /// Initiator and responder.
    pub(crate) operations: [Operations; 2],
}

fn psk() -> Psk {
    Psk::from_bytes([4; 32])
}

fn invite() -> Invite {
    Invite::from_bytes([5; 32])
}

fn paired(own: u32, other: u32) -> Credentials {
    Credentials::paired(&key(own), key(other).public_key()).expect("two keys")
}

fn paired_psk(own: u32, other: u32) -> Credentials {
    Credentials::paired_psk(&key(own), key(other).public_key(), &psk()).expect("two keys")
}

/// KK, KKpsk2, NNpsk0, XXpsk3, XX, NK, IK, IKpsk2. PROTOCOL.md, "Profiles".
pub(crate) const PROFILES: [Profile; 8] = [
    Profile {
        name: "paired",
        credentials: || [paired(1, 2), paired(2, 1)],
        operations: [operations(3), operations(3)],
    },
    Profile {
        name: "paired, PSK",
        credentials: || [paired_psk(1, 2), paired_psk(2, 1)],
        operations: [operations(3), operations(3)],
    },
    Profile {
        name: "invite",
        credentials: || [Credentials::invite(&invite()), Credentials::invite(&invite())],
        operations: [operations(1), operations(1)],
    },
    Profile {
        name: "invite, TOFU",
        credentials: || [1, 2].map(|own| Credentials::invite_tofu(&key(own), &invite(), Trust::Anyone)),
        operations: [operations(3), operations(3)],
    },
    Profile {
        name: "TOFU",
        credentials: || [1, 2].map(|own| Credentials::tofu(&key(own), Trust::Anyone)),
        operations: [operations(3), operations(3)],
    },
    Profile {
        name: "client",
        credentials: || [Credentials::client(key(2).public_key()), Credentials::server(&key(2))],
        operations: [operations(2), operations(2)],
    },
    Profile {
        name: "client, key",
        credentials: || {
            let client = Credentials::client_auth(&key(1), key(2).public_key()).expect("two keys");
            [client, Credentials::server_auth(&key(2), Trust::Anyone)]
        },
        operations: [operations(3), operations(4)],
    },
    Profile {
        name: "client, key, PSK",
        credentials: || {
            let client =
                Credentials::client_auth_psk(&key(1), key(2).public_key(), &psk()).expect("two keys");
            [client, Credentials::server_auth_psk(&key(2), &psk(), Trust::Anyone)]
        },
        operations: [operations(3), operations(4)],
    },
];

/// Two endpoints before their handshake.
pub(crate) struct Handshake {
    clock: Clock,
    ends: [SealedEndpoint<MemorySocket>; 2],
}

/// What an endpoint has to do now.
fn step(endpoint: &mut SealedEndpoint<MemorySocket>) {
    while endpoint.recv().expect("a session").is_some() {}
    endpoint.maintain().expect("a session");
}

impl Handshake {
    pub(crate) fn new(profile: &Profile) -> Self {
        let (clock, (here, there)) = (clock(), memory_pair());
        let [first, second] = (profile.credentials)();
        let end = |socket, credentials, node| {
            SealedEndpoint::with_environment(socket, credentials, Config::default(), clock.environment(node))
                .expect("a good configuration")
        };
        let ends = [end(here, first, 1), end(there, second, 2)];
        Self { clock, ends }
    }

    /// From `connect` until both are connected: what initiator and responder took.
    pub(crate) fn run(&mut self) -> [Duration; 2] {
        let [initiator, responder] = &mut self.ends;
        let mut took = [timed(|| initiator.connect().expect("a first call")).1, Duration::ZERO];
        for _ in 0..10 {
            took[1] += timed(|| step(responder)).1;
            took[0] += timed(|| step(initiator)).1;
            if initiator.is_connected() && responder.is_connected() {
                return took;
            }
            self.clock.advance();
        }
        panic!("no session");
    }
}
