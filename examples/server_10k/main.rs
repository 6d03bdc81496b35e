//! What a player costs a server: memory while nothing happens, and processor time while everybody sends 100 bytes 20
//! times a second and hears them again, beside a bare loop that only receives, opens, seals and sends with the same
//! cipher. Both look at their sockets at the ticks of a game, so that both find the same number of datagrams there.
//!
//! The server is this process; all players are one other process, which it starts itself, so that each side's memory and
//! time are its own. Players are whole sealed endpoints. They share one socket, and each has an address of its own in
//! 127.0.0.0/8. Linux only, because of how the socket is shared and where the figures are read.

#![expect(clippy::disallowed_methods, reason = "an example runs in real time and waits for it")]

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod figures;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod players;
#[cfg(target_os = "linux")]
mod shared;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// A guarantee by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Promise {
    None,
    #[default]
    Order,
    Delivery,
}

#[cfg(target_os = "linux")]
impl Promise {
    /// As on the command line.
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What a player costs a server.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Players; all of them echo.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    peers: u32,
    /// Seconds of echoes, and as many of the bare loop.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Messages per second and player. Default: 20, or less where that makes more than 40,000 in all.
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes of each message, at least 8.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(8..=1_000))]
    bytes: u16,
    /// What the messages and their echoes are promised. Positions are `order` or `none`; `delivery` is acknowledged within
    /// 25 ms, so below 40 Hz each costs a datagram more.
    #[arg(long, value_enum, default_value_t)]
    promise: Promise,
    /// How often the server and the bare loop look at their sockets, a second, as a game with ticks does. 0: whenever
    /// something comes; then the slower one of two meets larger batches, and the comparison says less.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    tick_hz: u32,
    /// One line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// For the second process: where the server is, where the bare loop is, and the server's key.
    #[arg(long, num_args = 3, hide = true)]
    play: Option<Vec<String>>,
}

impl Args {
    fn rate(&self) -> f64 {
        self.rate.unwrap_or_else(|| (40_000.0 / f64::from(self.peers)).min(20.0))
    }
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.play {
        Some(at) => players::run(&args, at),
        None => host::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    let args = Args::parse();
    eprintln!("{} players at {} Hz need Linux", args.peers, args.rate());
    ExitCode::FAILURE
}
