//! The same loads over sealgram and over what a game would use instead.
//!
//! `cargo run --release --manifest-path crates/versus/Cargo.toml -- --out docs/versus.md` measures all of them and writes a
//! page of tables, and a picture beside it. Each figure is that of a process of its own, in which the two ends, or the server
//! and its players, are two threads, so that each side's processor time is known. The peers of a load take turns, and the
//! ratios are those within one turn. Linux only.

mod cipher;
mod end;
mod loads;
mod machine;
mod peers;
mod report;
mod run;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Sealgram beside other transports, under the same loads.
#[derive(Debug, Parser)]
pub struct Args {
    /// Write the tables here, and a picture with the same name and the ending `svg`. Else the tables are printed.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Everything once, and short: to see that it runs. Its figures say nothing.
    #[arg(long)]
    quick: bool,
    /// Only these loads, by the beginnings of their names: `w1,w3`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only peers with one of these in their names: `sealgram,quinn`. The ruler of a load is always measured.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// How often the peers take turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    turns: u32,
    /// Print every figure of every turn as JSON.
    #[arg(long)]
    json: bool,
    /// This program once more, built with `--features sealgram/ring`; it measures rows of its own in the same turns.
    #[arg(long)]
    ring: Option<PathBuf>,
    /// Stay in the network that everybody uses, and count what only the system can count not at all.
    #[arg(long)]
    shared_network: bool,
    /// For the processes that measure: a load and a peer.
    #[arg(long, num_args = 2, hide = true)]
    cell: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.cell {
        Some(cell) => run::measure(cell, args.quick),
        None => run::all(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
