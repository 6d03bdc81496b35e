//! A network in memory for tests: seeded, in virtual time, as bad as you ask for.
//!
//! A [`Net`] joins any number of sockets by links that lose, delay, reorder, repeat and damage datagrams. It knows
//! nothing of what it carries. The same seed and the same calls give the same trace, byte for byte and on every
//! machine ([`Net::trace_hash`]); calls from several threads are safe, but their order is then not the seed's.
//!
//! # Test your game in it
//!
//! An endpoint takes its socket from the network, and with an [`Environment`](crate::Environment) its clock and its
//! keys too. The loop is the game's own; instead of waiting it moves time on, to the next arrival or to the next moment
//! that anybody wants. An hour takes seconds.
//!
//! ```
//! use std::{net::SocketAddr, time::Duration};
//! use sealgram::sim::{Connected, Link, Nat, Net};
//! use sealgram::{Config, Credentials, Environment, Guarantee, Invite, SealedEndpoint};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let net = Net::seed(7);
//! net.set_default(Link::lte_bad()); // or each direction on its own: net.set_link(from, to, link)
//! let phone: SocketAddr = ([10, 0, 0, 2], 5_000).into();
//! let host: SocketAddr = ([203, 0, 113, 1], 7_777).into();
//! net.set_nat(phone, Nat::port_restricted([198, 51, 100, 1].into()));
//!
//! let invite = Invite::from_bytes([1; 32]);
//! let endpoint = |node, peer| -> Result<SealedEndpoint<Connected>, Box<dyn std::error::Error>> {
//!     let clock = net.clone();
//!     let environment = Environment::new(move || clock.now(), net.rng(node));
//!     let socket = net.socket(node).connect(peer);
//!     let credentials = Credentials::invite(&invite);
//!     Ok(SealedEndpoint::with_environment(socket, credentials, Config::default(), environment)?)
//! };
//! // The host hears the phone under the address that its NAT gives it.
//! net.socket(phone).send_to(b"knock", host)?;
//! let outside = net.seen_as(phone, host).ok_or("nothing was sent")?;
//! let (mut a, mut b) = (endpoint(phone, host)?, endpoint(host, outside)?);
//!
//! a.connect()?;
//! a.send_payload(Guarantee::Delivery, b"hello")?;
//! let mut heard = None;
//! while heard.is_none() && net.elapsed() < Duration::from_secs(10) {
//!     while a.recv()?.is_some() {}
//!     while let Some(message) = b.recv()? {
//!         heard = Some(message.to_vec());
//!     }
//!     let wake = [a.maintain()?, b.maintain()?].into_iter().flatten().min();
//!     // A deadline may be now; time must move all the same.
//!     let soon = net.now() + Duration::from_millis(1);
//!     net.advance_to_next_or(wake.map_or(soon, |wake| wake.max(soon)));
//! }
//! assert_eq!(heard.as_deref(), Some(&b"hello"[..]));
//! // The ground truth, to judge by what an endpoint believes.
//! assert!(net.counts(phone, host).delivered > 0);
//! # Ok(())
//! # }
//! ```
//!
//! What can happen to a datagram is in [`Link`] (and [`Net::share_bottleneck`]), what a node hides behind in [`Nat`]. Changes in mid-session are made
//! between two steps, or put down beforehand: [`Net::set_link_at`], [`Net::rebind_at`], [`Link::blackouts`]. A
//! [`tap`](Net::tap) sees, holds up, alters or adds single datagrams. When a test fails, print its seed: it is all that
//! it takes to see the same again.

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
