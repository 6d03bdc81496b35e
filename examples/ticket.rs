//! Tickets by hand, as a game's backend makes them and its servers check them.
//!
//! ```sh
//! cargo run --example ticket -- keys
//! cargo run --example ticket -- seal --ticket-key HEX --server HEX --player HEX --address play.example.org:7777
//! cargo run --example ticket -- show sg1...
//! cargo run --example ticket -- check --ticket-key HEX --server HEX --player HEX sg1...
//! ```
//!
//! Secrets on a command line can be seen by others on the machine: this is for trying things out.

use std::{
    error::Error,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use sealgram::{
    PublicKey, SecretKey, Ticket, TicketAddress, TicketGrant, TicketKey, TicketKeys, TicketProfile,
    TicketScope,
};

#[derive(Parser)]
enum Command {
    /// Makes a ticket key, and the keys of a server and a player.
    Keys,
    /// Seals a ticket for a player, or for whoever holds it.
    Seal {
        #[arg(long)]
        ticket_key: String,
        #[arg(long, required = true)]
        server: Vec<PublicKey>,
        #[arg(long)]
        player: Option<PublicKey>,
        #[arg(long)]
        address: Vec<TicketAddress>,
        #[arg(long, default_value = "")]
        app_id: String,
        #[arg(long, default_value = "")]
        user_data: String,
        /// How long it is good for.
        #[arg(long, default_value_t = 3_600)]
        seconds: u64,
    },
    /// Shows what everybody can read in a ticket.
    Show { ticket: Ticket },
    /// Checks a ticket as a server does.
    Check {
        #[arg(long)]
        ticket_key: String,
        #[arg(long)]
        server: PublicKey,
        #[arg(long)]
        player: Option<PublicKey>,
        #[arg(long, default_value = "")]
        app_id: String,
        ticket: Ticket,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    #[expect(clippy::disallowed_methods, reason = "a program may read the clock; the library may not")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let unix_now = now.as_secs();
    match Command::parse() {
        Command::Keys => {
            println!("ticket key     {}", hex::encode(*TicketKey::generate()?.expose_bytes()));
            for who in ["server", "player"] {
                let key = SecretKey::generate()?;
                println!(
                    "{who} secret  {}\n{who} public  {}",
                    hex::encode(*key.expose_bytes()),
                    key.public_key()
                );
            }
        }
        Command::Seal { ticket_key, server, player, address, app_id, user_data, seconds } => {
            // Any number that no other ticket has; the key of a table's row would do.
            let id = now.as_nanos().to_le_bytes();
            let grant = TicketGrant { id, player, issued: unix_now, user_data: user_data.as_bytes() };
            let profile = TicketProfile::ClientAuth;
            let first = *server.first().ok_or("no server")?;
            let mut builder =
                Ticket::builder(profile, first).app_id(app_id.as_bytes()).expires(unix_now + seconds);
            builder = server.into_iter().skip(1).fold(builder, |builder, key| builder.server(key));
            builder = address.into_iter().fold(builder, |builder, address| builder.address(address));
            println!("{}", builder.seal(&parse_key(&ticket_key)?, &grant)?);
        }
        Command::Show { ticket } => {
            println!("profile   {:?}\napp id    {}", ticket.profile(), ticket.app_id().escape_ascii());
            println!("route     {}", hex::encode(ticket.route()));
            ticket.server_keys().iter().for_each(|key| println!("server    {key}"));
            ticket.addresses().iter().for_each(|address| println!("address   {address}"));
            match ticket.expires() {
                Some(time) => {
                    println!("expires   {time}, {} s from now", i128::from(time) - i128::from(unix_now))
                }
                None => println!("expires   never"),
            }
            println!("sealed    {}\nbytes     {}", ticket.is_sealed(), ticket.as_bytes().len());
        }
        Command::Check { ticket_key, server, player, app_id, ticket } => {
            let here = TicketScope {
                app_id: app_id.as_bytes(),
                profile: ticket.profile(),
                server: &server,
                route: ticket.route(),
            };
            let keys = TicketKeys::new(parse_key(&ticket_key)?);
            let admission = keys.check(ticket.as_bytes(), &here, player.as_ref(), unix_now, |_| false)?;
            println!("welcome   {}", admission.user_data.escape_ascii());
        }
    }
    Ok(())
}

fn parse_key(text: &str) -> Result<TicketKey, Box<dyn Error>> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes)?;
    Ok(TicketKey::from_bytes(bytes))
}
