//! The command line, and the end that it describes.

use std::net::{SocketAddr, UdpSocket};

use clap::{Parser, ValueEnum};
use sealgram::{
    Config, Credentials, Invite, Psk, PublicKey, SealedEndpoint, SealedServer, SecretKey, ServerConfig, Trust,
};

use crate::{End, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Connect,
    Accept,
}

/// By the names of PROTOCOL.md, "Profiles".
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    Paired,
    PairedPsk,
    Invite,
    InviteTofu,
    Tofu,
    Client,
    ClientAuth,
    ClientAuthPsk,
}

/// A peer for another implementation of the protocol.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Settings {
    #[arg(long)]
    pub(crate) role: Role,
    #[arg(long)]
    profile: Profile,
    /// A server of many peers, with connection ids; only where it accepts a client's profile.
    #[arg(long)]
    server: bool,
    #[arg(long, default_value = "127.0.0.1:0")]
    bind: SocketAddr,
    /// Where the other side is; a server hears everybody.
    #[arg(long)]
    peer: Option<SocketAddr>,
    /// Our secret key, 32 bytes in hexadecimal digits, like all that follow.
    #[arg(long)]
    own_key: Option<String>,
    #[arg(long)]
    peer_key: Option<String>,
    /// A PSK, or an invite where the profile has one.
    #[arg(long)]
    psk: Option<String>,
    #[arg(long)]
    network_key: Option<String>,
    #[arg(long, default_value = "")]
    app_id: String,
    #[arg(long, default_value = "")]
    route: String,
    /// Packets of one epoch, after which the next begins; at least 16.
    #[arg(long)]
    ratchet_packets: Option<u64>,
    /// Sends each message back from the start.
    #[arg(long)]
    pub(crate) echo: bool,
}

fn key(text: Option<&String>, what: &str) -> Outcome<[u8; 32]> {
    let text = text.ok_or_else(|| format!("this profile needs --{what}"))?;
    let bytes = hex::decode(text)?;
    bytes.try_into().map_err(|_| format!("--{what} has 32 bytes").into())
}

impl Settings {
    fn credentials(&self) -> Outcome<Credentials> {
        let own = || {
            Ok::<_, Box<dyn std::error::Error>>(SecretKey::from_bytes(key(self.own_key.as_ref(), "own-key")?))
        };
        let peer = || -> Outcome<_> { Ok(PublicKey::from_bytes(key(self.peer_key.as_ref(), "peer-key")?)?) };
        let psk = || key(self.psk.as_ref(), "psk");
        let accepts = self.role == Role::Accept;
        let credentials = match self.profile {
            Profile::Paired => Credentials::paired(&own()?, peer()?)?,
            Profile::PairedPsk => Credentials::paired_psk(&own()?, peer()?, &Psk::from_bytes(psk()?))?,
            Profile::Invite => Credentials::invite(&Invite::from_bytes(psk()?)),
            Profile::InviteTofu => {
                Credentials::invite_tofu(&own()?, &Invite::from_bytes(psk()?), Trust::Anyone)
            }
            Profile::Tofu => Credentials::tofu(&own()?, Trust::Anyone),
            Profile::Client if accepts => Credentials::server(&own()?),
            Profile::Client => Credentials::client(peer()?),
            Profile::ClientAuth if accepts => Credentials::server_auth(&own()?, Trust::Anyone),
            Profile::ClientAuth => Credentials::client_auth(&own()?, peer()?)?,
            Profile::ClientAuthPsk if accepts => {
                Credentials::server_auth_psk(&own()?, &Psk::from_bytes(psk()?), Trust::Anyone)
            }
            Profile::ClientAuthPsk => {
                Credentials::client_auth_psk(&own()?, peer()?, &Psk::from_bytes(psk()?))?
            }
        };
        // A server has it in its configuration; an end with a route of its own only dials.
        let credentials =
            if self.server { credentials } else { credentials.with_route(&hex::decode(&self.route)?)? };
        Ok(match &self.network_key {
            Some(_) => {
                let network = Psk::from_bytes(key(self.network_key.as_ref(), "network-key")?);
                credentials.with_network_key(&network)
            }
            None => credentials,
        })
    }

    /// Says where it listens.
    pub(crate) fn start(&self) -> Outcome<End> {
        let mut config = Config::default();
        config.app_id = hex::decode(&self.app_id)?;
        config.ratchet_packets = self.ratchet_packets.unwrap_or(config.ratchet_packets);
        let socket = UdpSocket::bind(self.bind)?;
        println!("listening {}", socket.local_addr()?);
        if self.server {
            let mut server = ServerConfig::default();
            server.session = config;
            server.route = hex::decode(&self.route)?;
            return Ok(End::Server(Box::new(SealedServer::new(socket, self.credentials()?, server)?), None));
        }
        socket.connect(self.peer.ok_or("an endpoint needs --peer")?)?;
        Ok(End::One(Box::new(SealedEndpoint::with_credentials(socket, self.credentials()?, config)?)))
    }
}
