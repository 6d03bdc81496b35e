//! Which Noise pattern an endpoint speaks, with which keys, and whom it trusts. Chosen by the application, never
//! negotiated. Keeps secrets out of `Config` and out of every `Debug`. PROTOCOL.md, "Profiles".

use std::fmt;

use super::local::MAX_ROUTE;
use crate::{
    crypto::{
        self, EnvelopeKeys, InvalidKey, Invite, InviteKeys, Keys, Pattern, Psk, PublicKey, Secret, SecretKey,
    },
    error::ConfigError,
    wire::frame::MAX_TICKET,
};

/// The profile byte of prologue and envelope key. PROTOCOL.md, "Profiles".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Paired = 0x01,
    PairedPsk = 0x11,
    Invite = 0x02,
    InviteTofu = 0x12,
    Tofu = 0x03,
    Client = 0x04,
    ClientAuth = 0x05,
    ClientAuthPsk = 0x15,
}

impl Profile {
    pub(crate) fn byte(self) -> u8 {
        self as u8
    }

    pub(crate) fn pattern(self) -> Pattern {
        match self {
            Self::Paired => Pattern::Kk,
            Self::PairedPsk => Pattern::KkPsk2,
            Self::Invite => Pattern::NnPsk0,
            Self::InviteTofu => Pattern::XxPsk3,
            Self::Tofu => Pattern::Xx,
            Self::Client => Pattern::Nk,
            Self::ClientAuth => Pattern::Ik,
            Self::ClientAuthPsk => Pattern::IkPsk2,
        }
    }

    /// Whether a third message (FIN) ends the handshake.
    pub(crate) fn has_fin(self) -> bool {
        matches!(self, Self::Tofu | Self::InviteTofu)
    }

    /// Whether the responder learns or knows a static key of the initiator, so that "the same peer" has a meaning.
    pub(crate) fn names_initiator(self) -> bool {
        !matches!(self, Self::Invite | Self::Client)
    }

    /// Diffie-Hellman operations (fresh key included) that an INIT costs the responder.
    pub(crate) fn init_cost(self) -> u32 {
        match self {
            Self::Invite => 2,
            Self::Client | Self::Tofu | Self::InviteTofu => 3,
            Self::Paired | Self::PairedPsk => 4,
            Self::ClientAuth | Self::ClientAuthPsk => 5,
        }
    }
}

/// The most that `Profile::init_cost` says.
pub(crate) const MAX_INIT_COST: u32 = 5;

/// Which ends of a handshake an endpoint may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Either,
    Initiator,
    Responder,
}

/// Which static keys are welcome, where the profile learns the peer's key during the handshake.
pub enum Trust {
    /// Every key. Compare handshake hashes by another channel, or use only where identity does not matter.
    Anyone,
    /// One of these keys.
    Only(Vec<PublicKey>),
    /// What this function says. It may be asked about the same key many times; it must be quick and must not block.
    Decide(Box<dyn FnMut(&PublicKey) -> bool + Send>),
}

impl Trust {
    pub(crate) fn allows(&mut self, key: &PublicKey) -> bool {
        match self {
            Self::Anyone => true,
            Self::Only(keys) => keys.contains(key),
            Self::Decide(decide) => decide(key),
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anyone => "Anyone",
            Self::Only(_) => "Only(..)",
            Self::Decide(_) => "Decide(..)",
        })
    }
}

/// The profile of a sealed endpoint with its keys. Both ends must choose the same profile; nothing on the wire says
/// which it is. Wiped when dropped.
pub struct Credentials {
    pub(crate) profile: Profile,
    pub(crate) role: Role,
    local: Option<SecretKey>,
    own: Option<PublicKey>,
    remote: Option<PublicKey>,
    psk: Option<Secret<32>>,
    static_static: Option<Secret<32>>,
    envelope_base: Option<Secret<32>>,
    network_key: Option<Secret<32>>,
    route: Vec<u8>,
    ticket: Vec<u8>,
    pub(crate) trust: Trust,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// The credentials outlive the argument they are made from.
fn copy(psk: &Psk) -> Secret<32> {
    let mut bytes = *psk.secret().as_bytes();
    Secret::take(&mut bytes)
}

impl Credentials {
    fn new(profile: Profile, role: Role) -> Self {
        Self {
            profile,
            role,
            local: None,
            own: None,
            remote: None,
            psk: None,
            static_static: None,
            envelope_base: None,
            network_key: None,
            route: Vec::new(),
            ticket: Vec::new(),
            trust: Trust::Anyone,
        }
    }

    fn local(mut self, key: &SecretKey) -> Self {
        self.own = Some(key.public_key());
        self.local = Some(SecretKey::from_bytes(*key.expose_bytes()));
        self
    }

    /// Fixes the peer's key and computes what the two static keys share, once.
    fn remote(mut self, key: PublicKey) -> Result<Self, InvalidKey> {
        if let Some(local) = &self.local {
            if self.own == Some(key) {
                return Err(InvalidKey::Unusable);
            }
            self.static_static = Some(crypto::dh(local, &key).ok_or(InvalidKey::Unusable)?);
        }
        self.remote = Some(key);
        Ok(self)
    }

    fn psk(mut self, psk: &Psk) -> Self {
        self.psk = Some(copy(psk));
        self
    }

    /// Both ends know each other's static key (profile `Paired`, `Noise_KK`).
    ///
    /// # Errors
    /// [`InvalidKey`] if the peer's key is our own or cannot be used with it.
    pub fn paired(local: &SecretKey, peer: PublicKey) -> Result<Self, InvalidKey> {
        Self::pair(Profile::Paired, local, peer)
    }

    /// As [`paired`](Self::paired), and both also know a further secret (`Noise_KKpsk2`).
    ///
    /// # Errors
    /// [`InvalidKey`] if the peer's key is our own or cannot be used with it.
    pub fn paired_psk(local: &SecretKey, peer: PublicKey, psk: &Psk) -> Result<Self, InvalidKey> {
        Ok(Self::pair(Profile::PairedPsk, local, peer)?.psk(psk))
    }

    fn pair(profile: Profile, local: &SecretKey, peer: PublicKey) -> Result<Self, InvalidKey> {
        let mut this = Self::new(profile, Role::Either).local(local).remote(peer)?;
        this.envelope_base = this.static_static.as_ref().map(crypto::paired_env_base);
        Ok(this)
    }

    /// Both ends hold the same invite and nothing else (`Noise_NNpsk0`). An invite is for two.
    #[must_use]
    pub fn invite(invite: &Invite) -> Self {
        let InviteKeys { psk, env_base } = crypto::derive_invite(invite);
        let mut this = Self::new(Profile::Invite, Role::Either);
        this.psk = Some(psk);
        this.envelope_base = Some(env_base);
        this
    }

    /// Both ends hold the same invite and learn each other's static key (`Noise_XXpsk3`).
    #[must_use]
    pub fn invite_tofu(local: &SecretKey, invite: &Invite, trust: Trust) -> Self {
        let InviteKeys { psk, env_base } = crypto::derive_invite(invite);
        let mut this = Self::new(Profile::InviteTofu, Role::Either).local(local);
        this.psk = Some(psk);
        this.envelope_base = Some(env_base);
        this.trust = trust;
        this
    }

    /// Neither end knows the other; both learn a static key (`Noise_XX`). Who dials learns the key of whoever answers,
    /// so an endpoint with this profile shows its public key to every prober.
    #[must_use]
    pub fn tofu(local: &SecretKey, trust: Trust) -> Self {
        let mut this = Self::new(Profile::Tofu, Role::Either).local(local);
        this.trust = trust;
        this
    }

    /// An anonymous client of a server whose static key is known (`Noise_NK`). Only dials.
    #[must_use]
    pub fn client(server: PublicKey) -> Self {
        let mut this = Self::new(Profile::Client, Role::Initiator);
        this.remote = Some(server);
        this
    }

    /// The server of anonymous clients (`Noise_NK`). Only answers.
    #[must_use]
    pub fn server(local: &SecretKey) -> Self {
        Self::new(Profile::Client, Role::Responder).local(local)
    }

    /// A client with a static key of its own, of a server whose static key is known (`Noise_IK`). Only dials.
    ///
    /// # Errors
    /// [`InvalidKey`] if the server's key is our own or cannot be used with it.
    pub fn client_auth(local: &SecretKey, server: PublicKey) -> Result<Self, InvalidKey> {
        Self::new(Profile::ClientAuth, Role::Initiator).local(local).remote(server)
    }

    /// The server of clients with a static key (`Noise_IK`). Only answers.
    #[must_use]
    pub fn server_auth(local: &SecretKey, trust: Trust) -> Self {
        let mut this = Self::new(Profile::ClientAuth, Role::Responder).local(local);
        this.trust = trust;
        this
    }

    /// As [`client_auth`](Self::client_auth) with a further secret (`Noise_IKpsk2`).
    ///
    /// # Errors
    /// [`InvalidKey`] if the server's key is our own or cannot be used with it.
    pub fn client_auth_psk(local: &SecretKey, server: PublicKey, psk: &Psk) -> Result<Self, InvalidKey> {
        Ok(Self::new(Profile::ClientAuthPsk, Role::Initiator).local(local).remote(server)?.psk(psk))
    }

    /// As [`server_auth`](Self::server_auth) with a further secret (`Noise_IKpsk2`).
    #[must_use]
    pub fn server_auth_psk(local: &SecretKey, psk: &Psk, trust: Trust) -> Self {
        let mut this = Self::new(Profile::ClientAuthPsk, Role::Responder).local(local).psk(psk);
        this.trust = trust;
        this
    }

    /// Adds a secret of the whole network: who does not hold it gets no answer and cannot recognise the endpoint.
    /// Profiles with a secret of their own for this (the paired ones and the invites) do not use it.
    #[must_use]
    pub fn with_network_key(mut self, key: &Psk) -> Self {
        self.network_key = Some(copy(key));
        self
    }

    /// For a client of a server that is reached by a route: these bytes stand in clear at the front of every datagram
    /// that it sends, so that a load balancer finds the server. 0 to 20 bytes, by default none; the same as at the server,
    /// else there is silence. They are public and prove nothing. An end with a route only dials.
    ///
    /// # Errors
    /// [`ConfigError`] with the field `route` if it is longer than that.
    pub fn with_route(mut self, route: &[u8]) -> Result<Self, ConfigError> {
        if route.len() > MAX_ROUTE {
            return Err(ConfigError {
                field: "route",
                given: route.len() as u64,
                min: 0,
                max: MAX_ROUTE as u64,
            });
        }
        self.route = route.to_vec();
        if !route.is_empty() && self.role == Role::Either {
            self.role = Role::Initiator;
        }
        Ok(self)
    }

    /// For a client: a ticket to show to the server when the handshake has proven who it is. At most 1,024 bytes; less
    /// where `max_datagram_bytes` is below 1,076, which is checked when an endpoint is made. None by default.
    ///
    /// # Errors
    /// [`ConfigError`] with the field `ticket` if it is longer than that.
    pub fn with_ticket(mut self, ticket: &[u8]) -> Result<Self, ConfigError> {
        self.set_ticket(ticket)?;
        Ok(self)
    }

    pub(crate) fn set_ticket(&mut self, ticket: &[u8]) -> Result<(), ConfigError> {
        if ticket.len() > MAX_TICKET {
            let (given, max) = (ticket.len() as u64, MAX_TICKET as u64);
            return Err(ConfigError { field: "ticket", given, min: 0, max });
        }
        self.ticket = ticket.to_vec();
        Ok(())
    }

    pub(crate) fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    /// The route of an endpoint with one peer: whoever may answer there has none.
    pub(crate) fn route_of_client(&self) -> Result<&[u8], ConfigError> {
        if self.role == Role::Initiator || self.route.is_empty() {
            return Ok(&self.route);
        }
        Err(ConfigError { field: "route", given: self.route.len() as u64, min: 0, max: 0 })
    }

    pub(crate) fn keys(&self) -> Keys<'_> {
        Keys {
            local: self.local.as_ref(),
            remote: self.remote.as_ref(),
            psk: self.psk.as_ref(),
            static_static: self.static_static.as_ref(),
        }
    }

    /// Our own static public key, where the profile has one.
    pub(crate) fn own(&self) -> Option<&PublicKey> {
        self.own.as_ref()
    }

    /// The peer's static key where it is known beforehand.
    pub(crate) fn known_peer(&self) -> Option<PublicKey> {
        self.remote
    }

    pub(crate) fn envelope_keys(&self, app_id: &[u8]) -> EnvelopeKeys {
        let zero = [0_u8; 32];
        let base =
            self.envelope_base.as_ref().or(self.network_key.as_ref()).map_or(&zero, |key| key.as_bytes());
        // PROTOCOL.md, "Envelope": only profiles with a fixed responder bind its key.
        let responder = match self.profile {
            Profile::Client | Profile::ClientAuth | Profile::ClientAuthPsk => {
                if self.role == Role::Responder { self.own.as_ref() } else { self.remote.as_ref() }
            }
            _ => None,
        };
        EnvelopeKeys::new(base, self.profile.byte(), app_id, responder)
    }
}
