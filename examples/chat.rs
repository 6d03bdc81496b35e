//! A chat between two terminals, sealed by an invite or by two keys, whichever you paste.
//!
//! With an invite: one side runs `chat listen 0.0.0.0:4000` and gives the line it prints to the other side. With keys:
//! both add `--keys`, show each other what is printed, and paste the other's key when asked.

use std::error::Error;
use std::io::{BufRead, Write};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use clap::{Parser, Subcommand};
use sealgram::{
    CloseReason, Config, Credentials, Event, Guarantee, Invite, PublicKey, SealedEndpoint, SecretKey,
};

/// A sealed chat for two.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Wait for the other side.
    Listen {
        /// Own address, for example 0.0.0.0:4000.
        address: SocketAddr,
        /// Exchange public keys instead of using an invite.
        #[arg(long)]
        keys: bool,
    },
    /// Call the other side.
    Connect {
        /// The other side's host and port.
        address: String,
        /// What the other side printed; without it, public keys are exchanged.
        #[arg(long)]
        invite: Option<String>,
        /// Exchange public keys instead of using an invite.
        #[arg(long)]
        keys: bool,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let lines = typed_lines();
    let mut config = Config::default();
    config.app_id = b"chat/1".to_vec();
    let mut endpoint = match Args::parse().role {
        Role::Listen { address, keys } => {
            let credentials = if keys {
                exchange_keys(&lines)?
            } else {
                let invite = Invite::generate()?;
                let port = address.port();
                println!(
                    "on the other side: chat connect HOST:{port} --invite {}",
                    invite.expose_hex().as_str()
                );
                Credentials::invite(&invite)
            };
            println!("waiting ...");
            let socket = UdpSocket::bind(address)?;
            // The first that knocks gets the socket. If it does not hold the secret, nothing comes about.
            let (_, peer) = socket.peek_from(&mut [0; 65_536])?;
            socket.connect(peer)?;
            SealedEndpoint::with_credentials(socket, credentials, config)?
        }
        Role::Connect { address, invite, keys } => {
            let credentials = match invite {
                Some(hex) if !keys => Credentials::invite(&hex.parse()?),
                _ => exchange_keys(&lines)?,
            };
            let peer = address.to_socket_addrs()?.next().ok_or("no such host")?;
            let any: SocketAddr = if peer.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
            let socket = UdpSocket::bind(any)?;
            socket.connect(peer)?;
            let mut endpoint = SealedEndpoint::with_credentials(socket, credentials, config)?;
            endpoint.connect()?;
            endpoint
        }
    };
    match chat(&mut endpoint, &lines) {
        Err(CloseReason::ClosedHere) => Ok(()),
        Err(reason) => {
            println!("* {reason}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Until one of the two has enough.
fn chat(endpoint: &mut SealedEndpoint<UdpSocket>, lines: &Receiver<String>) -> Result<(), CloseReason> {
    loop {
        while let Some(message) = endpoint.recv()? {
            println!("> {}", printable(&message));
        }
        while let Some(event) = endpoint.poll_event() {
            match event {
                Event::Connected { handshake_hash, .. } => {
                    let hash = handshake_hash.map(hex::encode).unwrap_or_default();
                    println!("* connected; both see {} ...", hash.get(..16).unwrap_or_default());
                }
                Event::PeerReconnected { .. } => println!("* the other side came back"),
                _ => {}
            }
        }
        endpoint.maintain()?;
        match lines.recv_timeout(Duration::from_millis(10)) {
            Ok(line) => {
                if let Err(error) = endpoint.send_payload(Guarantee::Delivery, line.as_bytes()) {
                    println!("* not sent: {error}");
                }
                endpoint.flush()?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                // What was typed last shall still arrive.
                while endpoint.is_connected() && endpoint.queued_messages() > 0 {
                    endpoint.recv()?;
                    endpoint.maintain()?;
                }
                endpoint.close(0, b"bye");
                return Ok(());
            }
        }
    }
}

/// A peer may send anything; a terminal shall not obey it.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|letter| !letter.is_control()).collect()
}

fn exchange_keys(lines: &Receiver<String>) -> Result<Credentials, Box<dyn Error>> {
    let own = SecretKey::generate()?;
    println!("my key:    {}", own.public_key());
    print!("their key: ");
    std::io::stdout().flush()?;
    let peer: PublicKey = lines.recv()?.trim().parse()?;
    Ok(Credentials::paired(&own, peer)?)
}

/// A terminal can only be waited for, so a thread does that.
fn typed_lines() -> Receiver<String> {
    let (typed, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if typed.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
