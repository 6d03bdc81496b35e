//! Whether who dialled may follow a server's redirect. PROTOCOL.md, "Following a redirect". Changes nothing itself.

use std::fmt;

use super::{Ticket, TicketAddress, TicketProfile};
use crate::crypto::PublicKey;

/// What a player dialled with, which bounds where he can be sent: a server may pass him on only to servers that he
/// trusted from the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Dialled<'a> {
    /// The application of the dial.
    pub app_id: &'a [u8],
    /// Its profile.
    pub profile: TicketProfile,
    /// The servers that the ticket or the configuration named. After a redirect these stay those of the first dial.
    pub servers: &'a [PublicKey],
}

impl<'a> From<&'a Ticket> for Dialled<'a> {
    fn from(ticket: &'a Ticket) -> Self {
        Self { app_id: ticket.app_id(), profile: ticket.profile(), servers: ticket.server_keys() }
    }
}

impl Dialled<'_> {
    /// Whether `redirect` may be followed without asking the application.
    ///
    /// # Errors
    /// [`RedirectError`] says which rule forbids it. The application may still decide to dial with that ticket itself.
    pub fn may_follow(&self, redirect: &Ticket) -> Result<(), RedirectError> {
        let is_address = |address: &TicketAddress| address.socket_addr().is_some();
        for (fits, error) in [
            (redirect.app_id() == self.app_id, RedirectError::OtherApp),
            (redirect.profile() == self.profile, RedirectError::OtherProfile),
            (redirect.server_keys().iter().all(|key| self.servers.contains(key)), RedirectError::OtherServer),
            (redirect.addresses().iter().any(is_address), RedirectError::NoAddress),
        ] {
            if !fits {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Why a redirect is only told to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectError {
    /// It leads to another application.
    OtherApp,
    /// It leads to servers that speak another profile.
    OtherProfile,
    /// It names a server that was not among those of the dial.
    OtherServer,
    /// It names no address, or only names, which the library does not resolve.
    NoAddress,
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherApp => "the redirect leads to another application",
            Self::OtherProfile => "the redirect leads to another profile",
            Self::OtherServer => "the redirect names a server that was not dialled",
            Self::NoAddress => "the redirect names no address",
        })
    }
}

impl std::error::Error for RedirectError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{crypto::SecretKey, ticket::TicketBuilder};

    fn key(byte: u8) -> PublicKey {
        SecretKey::from_bytes([byte; 32]).public_key()
    }

    fn ticket(servers: &[u8]) -> TicketBuilder {
        let first = Ticket::builder(TicketProfile::ClientAuth, key(servers[0])).app_id(b"game");
        let address = TicketAddress::Ip("203.0.113.5:7777".parse().unwrap());
        servers[1..].iter().fold(first.address(address), |builder, byte| builder.server(key(*byte)))
    }

    #[test]
    fn a_redirect_leads_only_to_servers_that_were_dialled() {
        let dialled = ticket(&[1, 2, 3]).build().unwrap();
        let dialled = Dialled::from(&dialled);
        for servers in [&[2][..], &[1], &[3, 2], &[1, 2, 3]] {
            assert_eq!(dialled.may_follow(&ticket(servers).build().unwrap()), Ok(()), "{servers:?}");
        }
        for servers in [&[4][..], &[2, 4], &[4, 2], &[1, 2, 3, 4]] {
            let redirect = ticket(servers).build().unwrap();
            assert_eq!(dialled.may_follow(&redirect), Err(RedirectError::OtherServer), "{servers:?}");
        }
    }

    #[test]
    fn a_redirect_changes_neither_application_nor_profile_and_says_where() {
        let dialled = ticket(&[1]).build().unwrap();
        let may_follow =
            |builder: TicketBuilder| Dialled::from(&dialled).may_follow(&builder.build().unwrap());
        assert_eq!(may_follow(ticket(&[1]).route(b"other").expires(9)), Ok(()), "a new route is the purpose");
        assert_eq!(may_follow(ticket(&[1]).app_id(b"gamf")), Err(RedirectError::OtherApp));
        assert_eq!(may_follow(ticket(&[1]).app_id(b"")), Err(RedirectError::OtherApp));
        let plain = |profile| Ticket::builder(profile, key(1)).app_id(b"game");
        for profile in [TicketProfile::Client, TicketProfile::Tofu, TicketProfile::ClientAuthPsk] {
            assert_eq!(may_follow(plain(profile)), Err(RedirectError::OtherProfile));
        }
        let nowhere = plain(TicketProfile::ClientAuth);
        assert_eq!(may_follow(nowhere.clone()), Err(RedirectError::NoAddress));
        let named = nowhere.address("play.example.org:1".parse::<TicketAddress>().unwrap());
        assert_eq!(may_follow(named), Err(RedirectError::NoAddress));
    }
}
