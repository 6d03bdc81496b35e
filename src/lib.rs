//! Sealed datagrams for games: an encrypted, header-authenticated session over UDP in which every
//! message chooses its own guarantee.
//!
//! ```
//! use sealgram::{Config, Event, Guarantee, Invite, SealedEndpoint, memory_pair};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let invite = Invite::generate()?; // reaches the other player by a private channel
//! let (here, there) = memory_pair(); // or two connected UDP sockets
//! let mut alice = SealedEndpoint::invite(here, &invite, Config::default())?;
//! let mut bob = SealedEndpoint::invite(there, &invite, Config::default())?;
//! alice.connect()?;
//! alice.send_payload(Guarantee::Delivery, b"hello")?; // waits until the session is there
//!
//! let mut heard = None;
//! while heard.is_none() {
//!     for endpoint in [&mut alice, &mut bob] {
//!         while let Some(message) = endpoint.recv()? {
//!             heard = Some(message.to_vec());
//!         }
//!         endpoint.maintain()?;
//!     }
//! }
//! assert_eq!(heard.as_deref(), Some(&b"hello"[..]));
//! assert!(matches!(bob.poll_event(), Some(Event::Connected { .. })));
//! assert_eq!(alice.handshake_hash(), bob.handshake_hash());
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! An **endpoint** owns one socket and talks to one peer. [`SealedEndpoint`] is the encrypted one; the plain
//! [`Endpoint`] keeps the same contract and protects nothing. Two types, and nothing turns one into the other.
//!
//! A **session** begins when one side calls [`connect`](Endpoint::connect); both may, at once too. It ends by
//! [`close`](Endpoint::close), by silence, or because the same peer began a new one. [`Event`] tells of all three, and
//! names every `Delivery` message that was not acknowledged.
//!
//! [`Credentials`] say how the two know each other: by public keys, by an invite, or not at all. Both ends choose the
//! same; nothing is negotiated.
//!
//! A **message** is any number of bytes up to [`Config::max_message_bytes`]. Small ones share a datagram, large ones
//! are cut into fragments ([`SendOptions::parity`] lets one of them be lost). Each is sent with one of three guarantees.
//! A **set** is a group of messages without an order among themselves.
//!
//! # The loop
//!
//! There is no thread inside, and no call blocks or sleeps. Once a frame:
//!
//! 1. [`recv`](Endpoint::recv) until it gives `Ok(None)`. A message is lent in place until the next call.
//! 2. [`send_payload`](Endpoint::send_payload), or [`write`](std::io::Write) into the endpoint and then
//!    [`send_written`](Endpoint::send_written). This only queues; a full datagram leaves at once, or
//!    with others over a socket that carries several by one call ([`UdpLike::largest_run`]).
//! 3. [`maintain`](Endpoint::maintain). It runs the timers, sends what is queued, and returns when it wants to be called
//!    next. Without frames of your own, wait for that moment or for the socket to be readable.
//!
//! Look at [`poll_event`](Endpoint::poll_event) after `recv` or `maintain`.
//!
//! # What a message is promised
//!
//! | guarantee | arrives | twice | order |
//! |---|---|---|---|
//! | [`None`](Guarantee::None) | maybe | never | none; waits for nobody, nobody waits for it |
//! | [`Order`](Guarantee::Order) | maybe | never | never after something newer; waits for every earlier `Delivery`; nobody waits for it |
//! | [`Delivery`](Guarantee::Delivery) | yes, or the session ends and says which did not | never | after every earlier `Delivery`; every later `Order` and `Delivery` waits for it |
//!
//! Five messages are sent. On the way number 2 is lost, and number 4 overtakes number 3:
//!
//! ```text
//! sent                       1   2   3   4   5
//! arrives                    1   4   3   5           2, when it is sent again
//!                            |   |   |   |           |
//! None       yields          1   4   3   5           .             2 is never sent again
//! Order      yields          1   4   .   5           .             3 is older than 4: dropped
//! Delivery   yields          1   .   .   .           2  3  4  5    3, 4 and 5 wait for 2
//! Delivery,
//! set {2 3 4} yields         1   4   3   .           2  5          inside the set nothing waits; 5 waits for the set
//! ```
//!
//! [`as_set`](Endpoint::as_set) sends a set from a closure. [`open_set`](Endpoint::open_set) and
//! [`close_set`](Endpoint::close_set) hold one open across `recv` and `maintain`, so that a large one flows meanwhile. A
//! map in many pieces is a set of `Delivery` messages; what you send after it waits for all of it.
//!
//! [`SendOptions`] say more about a message: how long it is worth anything, in how many datagrams it rides, whether you
//! want to know what became of it, which older value it replaces. A [`Strategy`] is a ready-made choice. Messages on
//! different **lanes** ([`LaneId`]) never wait for each other; [`set_lane`](Endpoint::set_lane) gives a lane its
//! priority, its share of the line and its bounds.
//!
//! Every queue has a bound in [`Config`]. [`SendError::Full`] says that the peer does not keep up: drive the endpoint,
//! and try again or drop what is out of date.
//!
//! # Many players, and players who move
//!
//! A [`SealedServer`] holds many sessions on one port. It yields the messages of all players, asks by [`Event::Join`] whom
//! to let in, and lends each of them as a [`Peer`] with the calls of an endpoint; its loop is the same. Its socket is any
//! [`AddressedUdp`]; [`ServerSocket`] serves IPv4 and IPv6 on one port, and [`bind_workers`] a port with several threads.
//! [`ServerConfig`] bounds what players can cost, its [`Flood`] what strangers can.
//!
//! A player whose address changes is followed once the new address has answered a challenge: [`Event::PathChanged`]. Where
//! two endpoints may move, put their sockets into [`Unconnected`].
//!
//! # Security
//!
//! Between two sealed endpoints no byte of a datagram is readable or predictable, packet numbers included. Each packet
//! is authenticated and accepted once. A session is live only when the other side has proven that it has its keys;
//! before that nothing of yours is sent. What does not authenticate is dropped without an answer and counted in
//! [`Stats::drops`].
//!
//! Not hidden are addresses, timing and (without [`Padding`]) sizes. A stolen session key opens what follows until the
//! session ends. Your peer is authenticated, not trusted: check what you parse. `SECURITY.md` has the whole list,
//! `PROTOCOL.md` every byte. Nobody outside the project has audited the crate.
//!
//! With [`Credentials::tofu`] compare [`handshake_hash`](Endpoint::handshake_hash) by another channel, at least 32
//! hexadecimal digits of it. An [`Invite`] is for two and for one session.
//!
//! # Tickets
//!
//! A [`Ticket`] is a text that a player can paste: the servers' keys, where they are, and when it ends. A game's backend
//! can seal it with a [`TicketKey`] for one player, and a server with the same key checks it with [`TicketKeys`]. It is
//! bound to keys, never to an address of the player. [`SealedEndpoint::from_ticket`] dials with one,
//! [`SealedServer::admission`] checks it at the door, and [`SealedServer::redirect`] sends a player on with another.
//!
//! ```
//! use sealgram::{SecretKey, Ticket, TicketAddress, TicketGrant, TicketKey, TicketKeys, TicketProfile, TicketScope};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (server, player, unix_now) = (SecretKey::generate()?, SecretKey::generate()?, 2_000_000_000);
//! // The backend, which shares a key with the server:
//! let key = TicketKey::generate()?;
//! let grant =
//!     TicketGrant { id: [7; 16], player: Some(player.public_key()), issued: unix_now, user_data: b"team blue" };
//! let text = Ticket::builder(TicketProfile::ClientAuth, server.public_key())
//!     .address("play.example.org:7777".parse::<TicketAddress>()?)
//!     .expires(unix_now + 3_600)
//!     .seal(&key, &grant)?
//!     .to_string();
//!
//! // The player:
//! let ticket: Ticket = text.parse()?;
//! let credentials = ticket.credentials(&ticket.server_keys()[0], &player, None)?;
//!
//! // The server, with the key that the handshake proved:
//! let here = TicketScope {
//!     app_id: b"",
//!     profile: TicketProfile::ClientAuth,
//!     server: &server.public_key(),
//!     route: b"",
//! };
//! let keys = TicketKeys::new(key);
//! let admission = keys.check(ticket.as_bytes(), &here, Some(&player.public_key()), unix_now, |_| false)?;
//! assert_eq!(admission.user_data, b"team blue");
//! # Ok(())
//! # }
//! ```
//!
//! # When it does not work
//!
//! | what you see | what it may be |
//! |---|---|
//! | [`CloseReason::HandshakeTimeout`] | Nobody is there, the network is down, or keys, invite, profile or [`app_id`](Config::app_id) differ. The wire never says which. Compare both sides; [`Stats::datagrams_received`] tells whether anything came. |
//! | ... with a [`Hint`] | One end is plain, the other sealed. |
//! | [`CloseReason::TimedOut`] | Nothing authentic came for [`Config::idle_timeout`]. Was `maintain` called? |
//! | [`CloseReason::Replaced`] | The same keys are in use on another device. |
//! | [`CloseReason::ProtocolViolation`] | The other side is a different or a faulty implementation. |
//! | [`SendError::Full`] | The peer is gone or slow, or you send more than [`Config::flight_bytes`] in a round trip. |
//! | [`SendError::TooLarge`] | `None` and `Order` have their own, smaller limit. |
//! | [`SendError::Unsent`] | Bytes were written and neither sent nor cleared. |
//! | [`StartError::Config`] | A field is out of its range; the error names it. |
//! | messages come late | Nothing leaves before `recv`, `maintain`, [`flush`](Endpoint::flush), the end of a set, or full datagrams: one, or as many as the socket carries by one call. |
//!
//! # Coming from `rudp`
//!
//! The contract is that of `rudp` 0.2: `None`, `Order`, `Delivery`, sets, `write` and `send_written`, `recv` and
//! `maintain`. What differs:
//!
//! - There is a session. Call `connect` on one side; messages wait until it is live; it ends with a [`CloseReason`].
//! - `maintain` returns the moment at which it wants to be called next.
//! - [`recv`](Endpoint::recv) gives a [`Message`], which derefs to its bytes. Errors of the socket end nothing; they are
//!   counted in [`Stats::socket_errors`].
//! - A full queue and half-written bytes are errors, not growth or a panic.
//! - `None` is never yielded twice. Acknowledgements name packets, so a lost member of a set is sent again, and a set
//!   may have any size.
//! - Ids do not wrap: a session has room for 2^62 packets.
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
mod roster;
mod sealed;
mod server;
#[cfg(feature = "sim")]
pub mod sim;
mod socket;
mod stats;
mod ticket;
mod window;
mod wire;

pub use config::{Config, Flood, NewSetUnsent, Padding, Rate, ServerConfig, Worker};
pub use crypto::{EntropyError, InvalidKey, Invite, Psk, PublicKey, SecretKey};
pub use delivery::{
    Guarantee, LaneId, LaneOptions, LanePolicy, LaneStats, MessageId, Outcome, SendOptions, Strategy,
};
pub use endpoint::{Endpoint, Message, SealedEndpoint, Session, Set, StartError};
pub use error::{CloseReason, ConfigError, ConnectError, Hint, SendError};
pub use event::{Event, PeerId, ShownTicket};
#[cfg(feature = "sim")]
pub use os::Environment;
pub use plain::{Listener as PlainListener, Plain};
pub use sealed::{Credentials, FloodStats, Listener, Sealed, Trust};
pub use server::{Peer, PlainServer, SealedServer, Server, ServerSession};
pub use socket::{
    AddressedUdp, Arrival, HubSocket, MemoryHub, MemorySocket, RecvBatch, Run, SendBatch, ServerSocket,
    UdpLike, Unconnected, WorkerSocket, bind_workers, memory_pair,
};
pub use stats::{Drops, Packets, PerGuarantee, Rtt, SocketErrors, Stats};
pub use ticket::{
    AddressError, AddressRules, Admission, Dialled, RedirectError, Ticket, TicketAddress, TicketBuilder,
    TicketError, TicketGrant, TicketKey, TicketKeys, TicketProfile, TicketScope,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
