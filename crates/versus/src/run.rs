//! Plans the measurements, starts a process for each, and collects what they find.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Args,
    end::Outcome,
    loads::{Figures, Load},
    machine::{OWN_NETWORK, busy},
    peers::Peer,
    report,
};

/// A measurement that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(60);

/// What was found for a peer under a load, turn by turn.
#[derive(Debug, Serialize)]
pub struct Row {
    pub peer: Peer,
    pub turns: Vec<Result<Figures, String>>,
}

#[derive(Debug, Serialize)]
pub struct Table {
    pub load: Load,
    pub rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub tables: Vec<Table>,
    pub turns: u32,
    pub quick: bool,
    /// There are rows of a second build.
    pub with_ring: bool,
    pub seconds: u64,
    /// Load averages before and after.
    pub busy: [Option<f64>; 2],
}

fn by_name<T: DeserializeOwned>(name: &str) -> Outcome<T> {
    Ok(serde_json::from_value(name.into())?)
}

fn name_of(value: &impl Serialize) -> Outcome<String> {
    let name = serde_json::to_value(value)?;
    Ok(name.as_str().ok_or("a name is a text")?.to_owned())
}

/// In a process that measures: one peer under one load.
pub fn measure(cell: &[String], quick: bool) -> Outcome<()> {
    let [load, peer] = cell else { return Err("a load and a peer".into()) };
    let found = by_name::<Load>(load)?.measure(by_name(peer)?, quick)?;
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}

/// Starts over in a network of its own, where nobody else's datagrams are, and no rules of a firewall. Comes back if this
/// machine gives none.
fn enter_own_network() {
    let Ok(program) = env::current_exe() else { return };
    let enter = r#"ip link set lo up && exec "$0" "$@""#;
    for namespaces in [&["--net"][..], &["--map-root-user", "--net"]] {
        let try_it =
            Command::new("unshare").args(namespaces).args(["sh", "-c", "ip link set lo up"]).output();
        if !try_it.is_ok_and(|tried| tried.status.success()) {
            continue;
        }
        let mut again = Command::new("unshare");
        again.args(namespaces).args(["sh", "-c", enter]).arg(&program);
        let error = again.args(env::args_os().skip(1)).env(OWN_NETWORK, "1").exec();
        eprintln!("no network of its own: {error}");
    }
}

/// Waits for a process, but not for ever.
fn finish(child: &mut Child) -> Outcome<bool> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if start.elapsed() > LONGEST {
            child.kill()?;
            child.wait()?;
            return Err("it hangs".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn start(program: &Path, load: Load, peer: Peer, quick: bool) -> Outcome<Figures> {
    let mut command = Command::new(program);
    command.arg("--cell").args([name_of(&load)?, name_of(&peer)?]);
    command.args(quick.then_some("--quick"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take().ok_or("no pipe")?, child.stderr.take().ok_or("no pipe")?);
    let done = finish(&mut child)?;
    let last = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| lines.map_while(Result::ok).last();
    if !done {
        return Err(last(&mut BufReader::new(err).lines()).unwrap_or_default().into());
    }
    Ok(serde_json::from_str(&last(&mut BufReader::new(out).lines()).ok_or("it said nothing")?)?)
}

fn peers(args: &Args, load: Load) -> Vec<Peer> {
    let wanted = |peer: &Peer| {
        let name = peer.names().0;
        let named = args.peers.is_empty() || args.peers.iter().any(|part| name.contains(part.as_str()));
        (named || *peer == load.ruler()) && (!peer.needs_ring() || args.ring.is_some())
    };
    load.peers().into_iter().filter(wanted).collect()
}

/// All peers of a load by turns. Each turn begins with another one, so that nobody has always the same predecessor's heat.
fn table(args: &Args, load: Load, turns: u32) -> Outcome<Table> {
    let own = env::current_exe()?;
    let mut rows: Vec<Row> =
        peers(args, load).into_iter().map(|peer| Row { peer, turns: Vec::new() }).collect();
    for turn in 0..turns {
        let count = rows.len();
        for at in 0..count {
            let row = &mut rows[(at + turn as usize) % count];
            let program = args.ring.as_ref().filter(|_| row.peer.needs_ring()).unwrap_or(&own);
            let found = start(program, load, row.peer, args.quick).map_err(|error| error.to_string());
            if let Err(error) = &found {
                eprintln!("{} {}: {error}", load.id(), row.peer.names().0);
            }
            row.turns.push(found);
        }
        eprintln!("{} turn {} of {turns}", load.id(), turn + 1);
    }
    Ok(Table { load, rows })
}

fn write(path: &PathBuf, text: &str) -> Outcome<()> {
    Ok(fs::File::create(path)?.write_all(text.as_bytes())?)
}

/// The whole comparison.
pub fn all(args: &Args) -> Outcome<()> {
    if !args.shared_network && env::var_os(OWN_NETWORK).is_none() {
        enter_own_network();
    }
    let wanted = |load: &Load| {
        args.only.is_empty() || args.only.iter().any(|part| load.id().starts_with(part.as_str()))
    };
    let (start, before) = (Instant::now(), busy());
    let turns = if args.quick { 1 } else { args.turns };
    let tables = Load::ALL.into_iter().filter(wanted).map(|load| table(args, load, turns));
    let tables = tables.collect::<Outcome<Vec<_>>>()?;
    let seconds = start.elapsed().as_secs();
    let report = Report {
        tables,
        turns,
        quick: args.quick,
        with_ring: args.ring.is_some(),
        seconds,
        busy: [before, busy()],
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    match &args.out {
        Some(path) => {
            let picture = path.with_extension("svg");
            report::draw(&report, &picture)?;
            let name = picture.file_name().and_then(|name| name.to_str());
            write(path, &report::page(&report, name))
        }
        None if args.json => Ok(()),
        None => {
            println!("{}", report::page(&report, None));
            Ok(())
        }
    }
}
