//! A network in memory for tests: seeded, in virtual time, as bad as you ask for.
//!
//! A [`Net`] joins any number of sockets by links that lose, delay, reorder, repeat and damage datagrams. It knows
//! nothing of what it carries. The same seed and the same calls give the same trace, byte for byte and on every
//! machine ([`Net::trace_hash`]); calls from several threads are safe, but their order is then not the seed's.
//!
//! ```
//! use std::time::Duration;
//! use sealgram::sim::{Link, Net};
//!
//! # fn main() -> std::io::Result<()> {
//! let net = Net::seed(7);
//! net.set_default(Link::wifi());
//! let (here, there) = (([10, 0, 0, 1], 9000).into(), ([10, 0, 0, 2], 9000).into());
//! let (a, b) = (net.socket(here), net.socket(there));
//! a.send_to(b"hello", there)?;
//! net.advance(Duration::from_secs(1));
//! let mut buffer = [0; 1500];
//! assert_eq!(b.recv_from(&mut buffer)?, (5, here));
//! # Ok(())
//! # }
//! ```

mod link;
mod nat;
mod net;
mod path;
mod rng;
mod socket;
mod state;
#[cfg(test)]
mod tests;

pub use link::{Burst, Jitter, Link};
pub use nat::{Filter, Mapping, Nat};
pub use net::{Datagram, Net, Verdict};
pub use path::Counts;
pub use rng::Rng;
pub use socket::{Connected, Socket};
