//! How late messages come on bad networks, and what that costs: 100 bytes at 60 Hz from one end to the other, 25±5 ms
//! each way, for each network, strategy and guarantee a row; and states of 4,000 bytes at 20 Hz with and without parity.
//!
//! In virtual time, so that ten minutes take a second; `--relay` does the same over real sockets and in real time.
//! `--svg DIR` draws the table, and a graph of one session with a blackout and a change of address in it.

mod chart;
mod graph;
mod measure;
mod network;
#[path = "../common/relay.rs"]
mod relay;
mod strategy;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use measure::{Row, Task};
use network::{NETWORKS, Network, OTHERS};
use sealgram::Guarantee;
use strategy::{STRATEGIES, Strategy, guarantee_name};

/// Where large states are shown.
const LARGE_LOSS: f64 = 0.02;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Delays and costs on bad networks, by strategy.
#[derive(Debug, Parser)]
struct Args {
    /// Only the network of this name: iid, burst3, burst8, dup_reorder; and, if named, reorder3 or jitter30.
    #[arg(long)]
    network: Option<String>,
    /// Only networks with this average share of loss.
    #[arg(long)]
    loss: Option<f64>,
    /// Only the strategy of this name.
    #[arg(long)]
    strategy: Option<String>,
    /// Only this guarantee: none, order or delivery.
    #[arg(long)]
    guarantee: Option<String>,
    /// Messages per row. Default: 36,000, with --relay 1,800.
    #[arg(long)]
    messages: Option<u32>,
    /// Messages per second.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Bytes of each message, at least 4.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// All chances of the networks follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Real sockets through a relay, in real time.
    #[arg(long)]
    relay: bool,
    /// One JSON object per row instead of the table.
    #[arg(long)]
    json: bool,
    /// Rows that run at once. Default: as many as the machine has cores, with --relay 4.
    #[arg(long)]
    jobs: Option<usize>,
    /// Writes the pictures into this directory: delay.svg from the rows, session.svg from a session of its own.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bad_network: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every `Delivery` message arrived.
fn run(args: &Args) -> Outcome<bool> {
    let tasks = tasks(args);
    if tasks.is_empty() {
        return Err("there is no such row".into());
    }
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or_else(|| if args.relay { 4 } else { cores() }).max(1);
    let measure = if args.relay { measure::real } else { measure::simulated };
    if !args.json {
        println!(
            "network      loss  strategy  guarantee bytes     p50     p99   p99.9     max   wire  \
             again needless   delivered     sent"
        );
    }
    let mut rows = Vec::new();
    for batch in tasks.chunks(jobs) {
        let done: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = batch.iter().map(|task| scope.spawn(move || measure(task))).collect();
            running.into_iter().map(|row| row.join().map_err(|_| "a row panicked")).collect()
        });
        for row in done {
            let row = row??;
            if args.json {
                println!("{}", json(&row));
            } else {
                print(&row);
            }
            rows.push(row);
        }
    }
    if let Some(dir) = &args.svg {
        std::fs::create_dir_all(dir)?;
        chart::draw(&rows, &dir.join("delay.svg"))?;
        graph::draw(args.seed, &dir.join("session.svg"))?;
    }
    let whole = |row: &Row| {
        row.task.guarantee != Guarantee::Delivery || row.delivered() == row.task.messages as usize
    };
    Ok(rows.iter().all(whole))
}

/// Every strategy with `Delivery`; what asks for nothing with the other guarantees too.
fn tasks(args: &Args) -> Vec<Task> {
    let messages = args.messages.unwrap_or(if args.relay { 1_800 } else { 36_000 }).max(1);
    let wanted = |filter: &Option<String>, name: &str| filter.as_deref().is_none_or(|only| only == name);
    let mut tasks = Vec::new();
    let others = OTHERS.into_iter().filter(|_| args.network.is_some());
    for network in NETWORKS.into_iter().chain(others) {
        if !wanted(&args.network, network.name) || args.loss.is_some_and(|loss| loss != network.loss) {
            continue;
        }
        for strategy in STRATEGIES {
            for guarantee in [Guarantee::Delivery, Guarantee::Order, Guarantee::None] {
                let shown = guarantee == Guarantee::Delivery || strategy == Strategy::Default;
                if shown
                    && wanted(&args.strategy, strategy.name())
                    && wanted(&args.guarantee, guarantee_name(guarantee))
                {
                    tasks.push(Task {
                        network,
                        strategy,
                        guarantee,
                        messages,
                        rate: args.rate,
                        bytes: args.bytes.max(4),
                        seed: args.seed,
                    });
                }
            }
        }
        tasks.extend(large_states(args, network, messages));
    }
    tasks
}

/// States that need several datagrams, on one network: alone, and with a parity.
fn large_states(args: &Args, network: Network, messages: u32) -> Vec<Task> {
    let wanted = |filter: &Option<String>, name: &str| filter.as_deref().is_none_or(|only| only == name);
    let shown = network.name == "iid" && network.loss == LARGE_LOSS && wanted(&args.guarantee, "order");
    let strategies = [Strategy::Default, Strategy::Parity].into_iter();
    let strategies = strategies.filter(|strategy| shown && wanted(&args.strategy, strategy.name()));
    let task = |strategy| Task {
        network,
        strategy,
        guarantee: Guarantee::Order,
        messages: messages.min(6_000),
        rate: 20,
        bytes: 4_000,
        seed: args.seed,
    };
    strategies.map(task).collect()
}

fn json(row: &Row) -> serde_json::Value {
    serde_json::json!({
        "network": row.task.network.name,
        "loss": row.task.network.loss,
        "strategy": row.task.strategy.name(),
        "guarantee": guarantee_name(row.task.guarantee),
        "bytes": row.task.bytes,
        "rate_hz": row.task.rate,
        "p50_ms": row.percentile(0.5),
        "p99_ms": row.percentile(0.99),
        "p999_ms": row.percentile(0.999),
        "max_ms": row.percentile(1.0),
        "wire_per_payload": row.wire_per_payload(),
        "delivered": row.delivered(),
        "sent": row.task.messages,
        "seed": row.task.seed,
    })
}

fn print(row: &Row) {
    let delay = |share| row.percentile(share).map_or("-".to_owned(), |ms| format!("{ms:.1}"));
    let of_messages = |count: u64| count as f64 * 100.0 / f64::from(row.task.messages);
    println!(
        "{:<11} {:>3.0} %  {:<8}  {:<9} {:>5} {:>7} {:>7} {:>7} {:>7} {:>6.2} {:>4.1} % {:>6.1} % {:>11} {:>8}",
        row.task.network.name,
        row.task.network.loss * 100.0,
        row.task.strategy.name(),
        guarantee_name(row.task.guarantee),
        row.task.bytes,
        delay(0.5),
        delay(0.99),
        delay(0.999),
        delay(1.0),
        row.wire_per_payload(),
        of_messages(row.resends),
        of_messages(row.needless),
        row.delivered(),
        row.task.messages,
    );
}
