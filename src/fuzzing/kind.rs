//! The two kinds of endpoints, sealed ones in every profile, made for a script.

use std::net::SocketAddr;

use super::world::{Clock, Wire, address, config, establish, keys};
use crate::{
    crypto::{Invite, Psk, Side},
    endpoint::{Endpoint, SealedEndpoint, Session},
    os::Environment,
    plain::Plain,
    sealed::{Credentials, Sealed, Trust},
};

/// The two kinds of endpoints.
pub(super) trait Kind: Session {
    fn endpoint(wire: Wire, environment: Environment, profile: u8, side: u8) -> Endpoint<Wire, Self>;
    /// A session without a handshake, if there is such a thing.
    fn establish(endpoint: &mut Endpoint<Wire, Self>, clock: &Clock, side: u8) -> bool;
    fn proven(endpoint: &mut Endpoint<Wire, Self>) -> Option<SocketAddr>;
}

impl Kind for Plain {
    fn endpoint(wire: Wire, environment: Environment, _: u8, _: u8) -> Endpoint<Wire, Self> {
        let made = Endpoint::plain_with_environment(wire, config(), environment);
        made.unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn establish(_: &mut Endpoint<Wire, Self>, _: &Clock, _: u8) -> bool {
        false
    }

    fn proven(_: &mut Endpoint<Wire, Self>) -> Option<SocketAddr> {
        None
    }
}

impl Kind for Sealed {
    fn endpoint(wire: Wire, environment: Environment, profile: u8, side: u8) -> Endpoint<Wire, Self> {
        let addressed = wire.addressed;
        let [first, second] = keys();
        let [own, other] = if side == 0 { [first, second] } else { [second, first] };
        let (invite, psk, peer) = (Invite::from_bytes([3; 32]), Psk::from_bytes([4; 32]), other.public_key());
        let credentials = match (profile, side) {
            (0, _) => Credentials::paired(own, peer),
            (1, _) => Credentials::paired_psk(own, peer, &psk),
            (2, _) => Ok(Credentials::tofu(own, Trust::Anyone)),
            (3, _) => Ok(Credentials::invite_tofu(own, &invite, Trust::Only(vec![peer]))),
            (4, 0) => Ok(Credentials::client(peer)),
            (4, _) => Ok(Credentials::server(own)),
            (5, 0) => Credentials::client_auth(own, peer),
            (5, _) => Ok(Credentials::server_auth(own, Trust::Anyone)),
            (6, 0) => Credentials::client_auth_psk(own, peer, &psk),
            (6, _) => Ok(Credentials::server_auth_psk(own, &psk, Trust::Anyone)),
            _ => Ok(Credentials::invite(&invite)),
        };
        let credentials = credentials.unwrap_or_else(|error| unreachable!("{error}"));
        let made = SealedEndpoint::with_environment(wire, credentials, config(), environment);
        let mut endpoint = made.unwrap_or_else(|error| unreachable!("{error}"));
        if addressed {
            assert_eq!(endpoint.core_mut().set_addresses(&[address(1 - side, 0)]), Ok(()));
        }
        endpoint
    }

    fn establish(endpoint: &mut Endpoint<Wire, Self>, clock: &Clock, side: u8) -> bool {
        let role = if side == 0 { Side::Initiator } else { Side::Responder };
        establish(endpoint, clock, role, address(1 - side, 0));
        true
    }

    fn proven(endpoint: &mut Endpoint<Wire, Self>) -> Option<SocketAddr> {
        endpoint.core_mut().path()
    }
}
