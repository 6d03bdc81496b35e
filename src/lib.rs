//! Sealed datagrams for games: an encrypted, header-authenticated session over UDP in which every
//! message chooses its own guarantee.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::print_stdout,
        clippy::dbg_macro
    )
)]

mod config;
mod connection;
#[cfg(test)]
#[path = "../tests/common/contract.rs"]
mod contract;
mod crypto;
mod delivery;
mod endpoint;
mod error;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod os;
mod plain;
mod sealed;
#[cfg(feature = "sim")]
pub mod sim;
mod socket;
mod stats;
mod window;
mod wire;

pub use config::{Config, NewSetUnsent, Padding};
pub use crypto::{EntropyError, InvalidKey, Invite, Psk, PublicKey, SecretKey};
pub use delivery::{Guarantee, LaneId, MessageId};
pub use endpoint::{Endpoint, Message, SealedEndpoint, Session, Set, StartError};
pub use error::{CloseReason, ConfigError, ConnectError, Hint, SendError};
pub use event::Event;
#[cfg(feature = "sim")]
pub use os::Environment;
pub use plain::Plain;
pub use sealed::{Credentials, Sealed, Trust};
pub use socket::{MemorySocket, UdpLike, memory_pair};
pub use stats::{Drops, PerGuarantee, Rtt, SocketErrors, Stats};
