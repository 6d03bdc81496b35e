//! From a ticket to the credentials of a dial.

use super::{Credentials, Trust};
use crate::{
    crypto::{Psk, PublicKey, SecretKey},
    ticket::{Ticket, TicketError, TicketProfile},
};

impl Ticket {
    /// The credentials with which a player who is `own` dials `server`, one of [`server_keys`](Self::server_keys). `psk`
    /// is for the profiles that take one; it reaches the player by another way than the ticket. The application id and
    /// the route are for [`Config`](crate::Config) and do not come with the credentials.
    ///
    /// # Errors
    /// [`TicketError::WrongServer`] if the ticket does not name `server`; [`TicketError::Psk`] if the profile takes a
    /// psk and there is none, or the other way round; [`TicketError::Key`] if the server's key is our own or cannot be
    /// used with it.
    pub fn credentials(
        &self,
        server: &PublicKey,
        own: &SecretKey,
        psk: Option<&Psk>,
    ) -> Result<Credentials, TicketError> {
        if !self.server_keys().contains(server) {
            return Err(TicketError::WrongServer);
        }
        Ok(match (self.profile(), psk) {
            (TicketProfile::Paired, None) => Credentials::paired(own, *server)?,
            (TicketProfile::PairedPsk, Some(psk)) => Credentials::paired_psk(own, *server, psk)?,
            (TicketProfile::Tofu, None) => Credentials::tofu(own, Trust::Only(vec![*server])),
            (TicketProfile::Client, None) => Credentials::client(*server),
            (TicketProfile::ClientAuth, None) => Credentials::client_auth(own, *server)?,
            (TicketProfile::ClientAuthPsk, Some(psk)) => Credentials::client_auth_psk(own, *server, psk)?,
            _ => return Err(TicketError::Psk),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::profile::Profile;

    const ALL: [(TicketProfile, Profile); 6] = [
        (TicketProfile::Paired, Profile::Paired),
        (TicketProfile::PairedPsk, Profile::PairedPsk),
        (TicketProfile::Tofu, Profile::Tofu),
        (TicketProfile::Client, Profile::Client),
        (TicketProfile::ClientAuth, Profile::ClientAuth),
        (TicketProfile::ClientAuthPsk, Profile::ClientAuthPsk),
    ];

    #[test]
    fn a_ticket_leads_to_the_credentials_of_its_profile_and_server() {
        let own = SecretKey::from_bytes([1; 32]);
        let server = SecretKey::from_bytes([2; 32]).public_key();
        let other = SecretKey::from_bytes([3; 32]).public_key();
        let psk = Psk::from_bytes([4; 32]);
        for (named, profile) in ALL {
            assert_eq!(named.byte(), profile.byte());
            let ticket = Ticket::builder(named, server).build().unwrap();
            let takes_psk = matches!(named, TicketProfile::PairedPsk | TicketProfile::ClientAuthPsk);
            let (right, wrong) = if takes_psk { (Some(&psk), None) } else { (None, Some(&psk)) };
            let mut credentials = ticket.credentials(&server, &own, right).unwrap();
            assert_eq!(credentials.profile, profile);
            match named {
                TicketProfile::Tofu => {
                    assert!(credentials.trust.allows(&server) && !credentials.trust.allows(&other));
                }
                _ => assert_eq!(credentials.known_peer(), Some(server)),
            }
            assert_eq!(ticket.credentials(&server, &own, wrong).err(), Some(TicketError::Psk));
            assert_eq!(ticket.credentials(&other, &own, right).err(), Some(TicketError::WrongServer));
        }
        let to_self = Ticket::builder(TicketProfile::ClientAuth, own.public_key()).build().unwrap();
        let refused = to_self.credentials(&own.public_key(), &own, None).err();
        assert_eq!(refused, Some(TicketError::Key(crate::InvalidKey::Unusable)));
    }
}
