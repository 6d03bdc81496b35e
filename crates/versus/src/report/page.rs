//! The page: what was measured on what machine, one table for each load, and how each peer was set up.

use std::fmt::Write;

use super::numbers::{Spread, figure, ratio, short};
use crate::{
    loads::Load,
    machine::description,
    run::{Report, Row, Table},
};

/// A column: its title and its figure's name.
type Column = (&'static str, &'static str);

const SHARES: [Column; 3] = [("ns a message", "cpu"), ("sender", "sender"), ("receiver", "receiver")];

impl Load {
    pub fn title(self) -> &'static str {
        match self {
            Self::FloodLarge => "W1, 1,200 B: unreliable flood",
            Self::FloodSmall => "W1, 64 B: unreliable flood",
            Self::Bulk => "W2: 64 MiB in reliable messages of 1 KiB",
            Self::Ping => "W3: ping-pong of 64 B, both ends spinning",
            Self::Ticks => "W4: 50 reliable messages of 32 B a tick, 60 ticks a second",
            Self::Crowd => "W5: 2,000 players, 100 B at 20 Hz, echoed",
            Self::Handshakes => "W7: handshakes, one after the other",
            Self::SealsSmall => "W8, 64 B: sealed and opened in memory",
            Self::SealsLarge => "W8, 1,200 B: sealed and opened in memory",
        }
    }

    /// The figure by which peers are compared, and its unit.
    pub fn main(self) -> Column {
        match self {
            Self::Ping => ("p50", "p50 of a round"),
            Self::Crowd => ("cpu", "server's processor time an echo"),
            Self::Handshakes => ("cpu", "server's processor time a handshake"),
            Self::SealsSmall | Self::SealsLarge => ("cpu", "processor time a packet"),
            _ => ("cpu", "processor time a message, both ends"),
        }
    }

    /// What sealgram set out for.
    fn wanted(self) -> &'static str {
        match self {
            Self::FloodLarge => "0.37, with the feature `ring` 0.22",
            Self::FloodSmall => "0.065, with the feature `ring` 0.055",
            Self::Bulk => "0.36, with the feature `ring` 0.24",
            Self::Ping => "1.3, with the feature `ring` 1.22",
            Self::Ticks => {
                "0.042, with the feature `ring` 0.038; 2.5 datagrams a tick and 38 wire bytes a message"
            }
            Self::Crowd => "0.62, with the feature `ring` 0.58",
            Self::Handshakes => "1.15 of its own key exchanges, or 195 µs",
            Self::SealsSmall => "1.2, with the feature `ring` 1.05",
            Self::SealsLarge => "2.3, with the feature `ring` 1.05",
        }
    }

    fn columns(self) -> Vec<Column> {
        let shares = SHARES.into_iter();
        match self {
            Self::FloodLarge | Self::FloodSmall => {
                let more = [
                    ("messages/s", "rate"),
                    ("datagrams", "datagrams"),
                    ("wire bytes", "wire"),
                    ("lost, %", "lost"),
                ];
                shares.chain(more).collect()
            }
            Self::Bulk => {
                let more = [
                    ("messages/s", "rate"),
                    ("datagrams", "datagrams"),
                    ("wire bytes", "wire"),
                    ("lost, %", "lost"),
                    ("out of place", "wrong"),
                ];
                shares.chain(more).collect()
            }
            Self::Ping => vec![
                ("p50, µs", "p50"),
                ("p99, µs", "p99"),
                ("CPU ns a round, both", "cpu"),
                ("lost, %", "lost"),
            ],
            Self::Ticks => {
                let more = [
                    ("datagrams a tick, both ways", "datagrams"),
                    ("wire bytes a message", "wire"),
                    ("lost, %", "lost"),
                    ("out of place", "wrong"),
                ];
                shares.chain(more).collect()
            }
            Self::Crowd => vec![
                ("server, ns an echo", "cpu"),
                ("server, % of a core", "load"),
                ("players, % of a core", "players"),
                ("datagrams an echo, both ways", "datagrams"),
                ("messages/s", "rate"),
                ("lost, %", "lost"),
            ],
            Self::Handshakes => {
                vec![
                    ("server, µs", "cpu"),
                    ("client, µs", "client"),
                    ("p50, µs", "p50"),
                    ("p99, µs", "p99"),
                    ("datagrams, both ways", "datagrams"),
                ]
            }
            Self::SealsSmall | Self::SealsLarge => vec![("ns a packet", "cpu")],
        }
    }
}

fn range(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "– | –".to_owned(),
        |Spread { median, least, most }| format!("{} | {} to {}", short(median), short(least), short(most)),
    )
}

fn row(out: &mut String, table: &Table, row: &Row) {
    let (name, sealed) = row.peer.names();
    let name = if row.peer.is_ours() { format!("**{name}**") } else { name.to_owned() };
    let ratio = range(ratio(table, row, table.load.main().0));
    let _ = write!(out, "| {name} | {} | {ratio} |", if sealed { "yes" } else { "no" });
    for (_, figure_name) in table.load.columns() {
        let shown = figure(row, figure_name).map_or_else(|| "–".to_owned(), short);
        let _ = write!(out, " {shown} |");
    }
    let failed = row.turns.iter().filter(|turn| turn.is_err()).count();
    if failed > 0 {
        let _ = write!(out, " {failed} of {} turns failed |", row.turns.len());
    }
    out.push('\n');
}

fn table(out: &mut String, table: &Table) {
    let load = table.load;
    let columns = load.columns();
    let _ = write!(out, "\n## {}\n\n", load.title());
    let _ = write!(out, "Ratios: {}, to that of {}. ", load.main().1, load.ruler().names().0);
    let _ = write!(out, "Wanted of sealgram: at most {}.\n\n", load.wanted());
    let titles: Vec<_> = columns.iter().map(|(title, _)| *title).collect();
    let _ = writeln!(out, "| | sealed | ratio | range | {} |", titles.join(" | "));
    let _ = writeln!(out, "|---|---|---:|---:|{}", "---:|".repeat(columns.len()));
    let mut rows: Vec<_> = table.rows.iter().collect();
    let place = |row: &Row| figure(row, load.main().0).unwrap_or(f64::INFINITY);
    rows.sort_by(|one, two| place(one).total_cmp(&place(two)));
    rows.into_iter().for_each(|each| row(out, table, each));
    for (peer, reason) in load.without() {
        let (name, sealed) = peer.names();
        let dashes = " – |".repeat(columns.len() + 2);
        let _ = writeln!(out, "| {name}: {reason} | {} |{dashes}", if sealed { "yes" } else { "no" });
    }
}

/// Which versions were measured, from the lock file that this program was built with.
fn versions() -> String {
    let lock = include_str!("../../Cargo.lock");
    // Some are there twice, the older one by way of another package; the one that is used here stands last.
    let version = |name: &str| {
        let entry = lock
            .split("[[package]]")
            .filter(|entry| entry.contains(&format!("name = \"{name}\"\n")))
            .last()?;
        let line = entry.lines().find(|line| line.starts_with("version"))?;
        Some(format!("{name} {}", line.split('"').nth(1)?))
    };
    let names = [
        "sealgram",
        "quinn",
        "quinn-proto",
        "quinn-udp",
        "rustls",
        "tokio",
        "renet",
        "renet_netcode",
        "rusty_enet",
        "kcp",
        "ring",
        "chacha20poly1305",
        "x25519-dalek",
    ];
    names.into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}

fn header(report: &Report) -> String {
    let busy = |at: Option<f64>| at.map_or_else(|| "unknown".to_owned(), |busy| format!("{busy:.1}"));
    let flags = match env!("VERSUS_FLAGS") {
        "" => "no build flags".to_owned(),
        flags => format!("with `RUSTFLAGS={}`", flags.replace('\u{1f}', " ")),
    };
    let turns =
        if report.turns == 1 { "one turn".to_owned() } else { format!("medians of {} turns", report.turns) };
    let warning = if report.quick {
        "\n**A quick run: it shows that everything runs; its figures say nothing.**\n"
    } else {
        ""
    };
    let ring = if report.with_ring { " --ring target/versus-ring/release/sealgram-versus" } else { "" };
    format!(
        "# The same loads, side by side\n{warning}
Written by `cargo run --release --manifest-path crates/versus/Cargo.toml -- --out docs/versus.md{ring}`, which took {} s here; \
`--quick` shows that it runs, `--only w1,w3` measures a part.

- Machine: {}. Runnable threads, before and after: {} and {}.
- Build: {}, profile `{}`, {flags}.
- Versions: {}.
- Figures: {turns}. In each turn every peer of a load has its go, in a process of its own, the two ends in a thread each. \
A ratio is that to the ruler in the same turn; its range is over the turns. Processor time is user and system time of the \
threads. Everything goes over loopback, in a network namespace of its own where the machine gives one.
",
        report.seconds,
        description(),
        busy(report.busy[0]),
        busy(report.busy[1]),
        env!("VERSUS_RUSTC"),
        env!("VERSUS_PROFILE"),
        versions(),
    )
}

const NOTES: &str = "
## How each was set up

Everybody has sockets with buffers of 8 MiB, is told that datagrams of 1,452 bytes arrive if it can be told, and is driven \
by the same loop: queue, send, read, run timers, and wait on the socket when there is nothing to do.

- **sealgram**: default configuration; two endpoints of the profile `Paired`, `None` or `Delivery` messages. \"One by one\" \
is the same over a socket that does not say that it carries several datagrams by one call. The server of W5 and W7 is \
`SealedServer` with players who prove keys (`client_auth`), and `Order` messages; \"players without keys\" is `client`. \
Limits on strangers are raised, since all players come from one address at once. \"Feature ring\" is the same built \
with that feature of the library.
- **quinn**: `ring`, a `tokio` runtime of one thread for each end, windows of 8 MiB, `initial_mtu` 1,452, X25519, a P-256 \
certificate, no resumption. Unreliable messages are datagrams; reliable ones go over one stream, with their lengths in front. \
In W5 a task for each player echoes at once, not at the tick, and all players share one socket; its \
datagrams there are the system's count, in which several that leave by one call are one.
- **renet**: `renet_netcode` in secure mode (tokens, no key exchange; ChaCha20-Poly1305), the bounds on memory and on bytes a \
tick raised. Its datagrams are counted by the system.
- **rusty_enet**: no cipher; no bandwidth limit, and a throttle that drops nothing; unreliable messages are `AlwaysUnreliable`, \
sequenced.
- **kcp**: no cipher, no handshake; `nodelay(true, 10, 2, true)`, windows of 1,024, one message a segment; flushed when the \
load sends, acknowledgements after each reading; in W5 a player flushes when it speaks, so that they ride along.
- **UDP**: `send` and `recv` of the standard library, one of each a message; **R** seals and opens each with \
`chacha20poly1305`, as a user of the crate gets it. Nothing is sent again and nothing is packed.
- **Bare loops**: messages packed into full datagrams, sealed, sent and read by the library's own calls to the system \
(`UDP_SEGMENT`, `UDP_GRO`; `sendmmsg` and `recvmmsg` in W5), with nothing else. What no protocol can go below. In W3 \
plain calls, and for everybody a processor for each end.

## What it does not say

Loopback has no network card: batches arrive as they were sent, checksums are skipped, and the receiving path is billed to the \
sender. The sender of W1, W2 and W4 sees what the receiver has heard and keeps at most 512 messages on their way (2,048 of 64 \
bytes), so those without a flow control are better off than on a network. A peer that loses what it was to carry says so in its \
row; its ratio is for what arrived. Compare only within one run.
";

/// With a link to the picture that lies beside it.
pub fn page(report: &Report, picture: Option<&str>) -> String {
    let mut out = header(report);
    if let Some(picture) = picture {
        let _ = write!(out, "\n![The main figure of every load, as bars]({picture})\n");
    }
    for each in &report.tables {
        table(&mut out, each);
    }
    out.push_str(NOTES);
    out
}
