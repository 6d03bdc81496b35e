//! Two servers and their players behind one address, with a real UDP balancer between them: Quilkin, which reads the
//! first bytes of each datagram and knows from them which server is meant. Players come with tickets, the balancer is
//! killed in the middle of the game and started anew, and one server goes out of service and sends its players to the
//! other. Exits with 1 if anybody was disconnected or any message was lost.
//!
//! ```sh
//! bash examples/fleet/run                         # builds Quilkin once, which takes minutes
//! cargo run --release --example fleet             # with a stand-in for it
//! ```
//!
//! docs/fleet.md says what this has to do with a fleet of your own.

#![expect(clippy::disallowed_methods, reason = "an example runs in real time and waits for it")]

mod quilkin;
mod story;

use std::{net::IpAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use sealgram::Flood;

use quilkin::Quilkin;
use story::{Figures, Outcome, Plan, StandIn};

/// A fleet of two servers behind a balancer that fails.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The program `quilkin`; without it a stand-in in this process is the balancer.
    #[arg(long)]
    quilkin: Option<PathBuf>,
    /// The address of this machine where players and balancer meet. Quilkin wants another one than loopback.
    #[arg(long, default_value_t = IpAddr::from([127, 0, 0, 1]))]
    home: IpAddr,
    /// Players, half of them on each server.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(2..=4_000))]
    players: u16,
    /// Messages per second and player.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    rate: u32,
    /// Seconds of each part of the story.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Milliseconds without a balancer.
    #[arg(long, default_value_t = 500)]
    dark: u64,
    /// Where files of the run go. Default: the system's folder for such files.
    #[arg(long)]
    folder: Option<PathBuf>,
}

fn run(args: &Args) -> Outcome<Figures> {
    let plan = Plan {
        players: args.players.into(),
        home: args.home,
        interval: Duration::from_secs(1) / args.rate,
        words: usize::try_from(args.seconds * u64::from(args.rate))?,
        dark: Duration::from_millis(args.dark),
        flood: Flood::default(),
    };
    let Some(program) = &args.quilkin else {
        return story::run(plan, |places| StandIn::before(args.home, places));
    };
    let folder = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    story::run(plan, |places| Quilkin::before(program, &folder, args.home, places))
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(figures) => {
            println!("{}", figures.json());
            let broken = figures.broken();
            broken.iter().for_each(|promise| eprintln!("{promise}"));
            if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
