//! Making tickets: the public part, and the sealed part that a game's backend adds. PROTOCOL.md, "Tickets".

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use super::{
    Ticket, TicketAddress, TicketError, TicketKey, TicketProfile,
    public::{MAX_TICKET, Public},
};
use crate::{
    crypto::{
        PublicKey,
        aead::{TAG_LEN, open_wide_in_place, seal_wide_in_place},
        random,
    },
    wire::codec::Reader,
};

const LABEL: &[u8] = b"sealgram/1 ticket";
const NONCE_LEN: usize = 24;
const PLAYER_LEN: u8 = 32;
/// What a sealed part takes at least: nonce, id, time, no player, no data, tag.
pub(super) const SEALED_OVERHEAD: usize = NONCE_LEN + 16 + 8 + 1 + TAG_LEN;

/// The ticket under construction. What is out of its range shows when the ticket is built.
#[derive(Clone, Debug)]
pub struct TicketBuilder {
    public: Public,
}

impl TicketBuilder {
    pub(super) fn new(profile: TicketProfile, server: PublicKey) -> Self {
        Self {
            public: Public {
                profile,
                expires: 0,
                app_id: Vec::new(),
                route: Vec::new(),
                keys: vec![server],
                addresses: Vec::new(),
                data: Vec::new(),
            },
        }
    }

    /// The application, as in [`Config::app_id`](crate::Config::app_id). 0 to 32 bytes, default none.
    #[must_use]
    pub fn app_id(mut self, app_id: &[u8]) -> Self {
        self.public.app_id = app_id.to_vec();
        self
    }

    /// Another server that the player may join instead, and to which he may be sent on. At most 4 in all.
    #[must_use]
    pub fn server(mut self, key: PublicKey) -> Self {
        self.public.keys.push(key);
        self
    }

    /// A place where the servers can be reached. At most 8; one that is there already is passed over.
    #[must_use]
    pub fn address(mut self, address: impl Into<TicketAddress>) -> Self {
        let address = address.into().canonical();
        if !self.public.addresses.contains(&address) {
            self.public.addresses.push(address);
        }
        self
    }

    /// The token by which a balancer finds the server. 0 to 20 bytes, default none.
    #[must_use]
    pub fn route(mut self, route: &[u8]) -> Self {
        self.public.route = route.to_vec();
        self
    }

    /// When the ticket ends, in seconds since 1970. Default: never, which a sealed ticket must not have.
    #[must_use]
    pub fn expires(mut self, unix_seconds: u64) -> Self {
        self.public.expires = unix_seconds;
        self
    }

    /// What its reader shall know, such as the name of the game. Everybody can read it: no secret belongs here.
    #[must_use]
    pub fn public_data(mut self, data: &[u8]) -> Self {
        self.public.data = data.to_vec();
        self
    }

    /// The ticket without a sealed part: it says where the game is and grants nothing.
    ///
    /// # Errors
    /// [`TicketError::Malformed`] names the part that is out of its range or holds something twice;
    /// [`TicketError::TooLong`] if all together passes 1,024 bytes.
    pub fn build(&self) -> Result<Ticket, TicketError> {
        let mut bytes = Vec::new();
        self.public.write(false, &mut bytes)?;
        Ok(Ticket { public: self.public.clone(), bytes, is_sealed: false })
    }

    pub(crate) fn seal_with<R: TryCryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        key: &TicketKey,
        grant: &TicketGrant<'_>,
    ) -> Result<Ticket, TicketError> {
        if grant.player.is_some() && !self.public.profile.names_player() {
            return Err(TicketError::Malformed("player"));
        }
        // Each of several servers could take it from a player and use it at the others.
        if grant.player.is_none() && self.public.keys.len() != 1 {
            return Err(TicketError::SharedBearer);
        }
        if grant.issued > self.public.expires {
            return Err(TicketError::Malformed("expiry"));
        }
        self.seal_bytes(rng, key, &grant.to_bytes()?)
    }

    /// Seals whatever `grant` is.
    pub(crate) fn seal_bytes<R: TryCryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        key: &TicketKey,
        grant: &[u8],
    ) -> Result<Ticket, TicketError> {
        let mut bytes = Vec::with_capacity(MAX_TICKET);
        self.public.write(true, &mut bytes)?;
        if bytes.len() + NONCE_LEN + grant.len() + TAG_LEN > MAX_TICKET {
            return Err(TicketError::TooLong);
        }
        let nonce = random::<NONCE_LEN, R>(rng)?;
        let mut sealed = Zeroizing::new(grant.to_vec());
        let tag = seal_wide_in_place(&key.0, &nonce, &associated(&bytes), &mut sealed)
            .ok_or(TicketError::TooLong)?;
        for part in [&nonce[..], &sealed, &tag] {
            bytes.extend_from_slice(part);
        }
        Ok(Ticket { public: self.public.clone(), bytes, is_sealed: true })
    }
}

fn associated(public: &[u8]) -> Vec<u8> {
    [LABEL, public].concat()
}

/// What a backend grants with a sealed ticket. Only servers with its key can read it.
#[derive(Clone, Copy, Debug)]
pub struct TicketGrant<'a> {
    /// A number of this ticket alone, by which it can be revoked; a random one or a UUID.
    pub id: [u8; 16],
    /// The player that may use it. `None` makes a bearer ticket: whoever holds it gets in, at the one server that it
    /// names.
    pub player: Option<PublicKey>,
    /// When it begins, in seconds since 1970.
    pub issued: u64,
    /// What the server shall know of the player. What room the 1,024 bytes leave.
    pub user_data: &'a [u8],
}

impl<'a> TicketGrant<'a> {
    fn to_bytes(self) -> Result<Zeroizing<Vec<u8>>, TicketError> {
        if self.user_data.len() > MAX_TICKET {
            return Err(TicketError::TooLong);
        }
        // Room for everything, so that no growing leaves a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 + 8 + 1 + 32 + self.user_data.len()));
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.issued.to_le_bytes());
        match &self.player {
            Some(player) => {
                bytes.push(PLAYER_LEN);
                bytes.extend_from_slice(player.as_bytes());
            }
            None => bytes.push(0),
        }
        bytes.extend_from_slice(self.user_data);
        Ok(bytes)
    }

    pub(super) fn from_bytes(bytes: &'a [u8]) -> Result<Self, TicketError> {
        let part = |part| move |_| TicketError::Malformed(part);
        let mut reader = Reader::new(bytes);
        let id = reader.array().map_err(part("id"))?;
        let issued = reader.u64().map_err(part("time of issue"))?;
        let player = match reader.u8() {
            Ok(0) => None,
            Ok(PLAYER_LEN) => {
                let key = reader.array().map_err(part("player"))?;
                Some(PublicKey::from_bytes(key).map_err(|_| TicketError::Malformed("player"))?)
            }
            _ => return Err(TicketError::Malformed("player")),
        };
        Ok(Self { id, player, issued, user_data: reader.take_rest() })
    }
}

/// Opens the part behind the public one with the first of the keys that does.
pub(super) fn open(
    keys: &[TicketKey],
    public: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, TicketError> {
    let parts = sealed
        .split_first_chunk::<NONCE_LEN>()
        .and_then(|(nonce, rest)| rest.split_last_chunk::<TAG_LEN>().map(|(grant, tag)| (nonce, grant, tag)));
    let (nonce, grant, tag) = parts.ok_or(TicketError::Malformed("sealed part"))?;
    let associated = associated(public);
    let mut grant = Zeroizing::new(grant.to_vec());
    // A key that does not open it leaves the bytes as they were.
    if keys.iter().any(|key| open_wide_in_place(&key.0, nonce, &associated, &mut grant, tag)) {
        Ok(grant)
    } else {
        Err(TicketError::WrongSeal)
    }
}
