//! In which order messages come out when datagrams get lost: alone, in sets, and in an open set. Runs in the simulated
//! network, so the same seed always prints the same lines.

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use rand_core::TryRng;
use sealgram::sim::{Connected, Jitter, Link, Net};
use sealgram::{Config, Credentials, Environment, Guarantee, LaneId, SealedEndpoint, SecretKey};

/// Prints arrival orders under loss.
#[derive(Debug, Parser)]
struct Args {
    /// Share of datagrams that get lost.
    #[arg(long, default_value_t = 0.3)]
    loss: f64,
    /// The same seed gives the same run.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

type Peer = SealedEndpoint<Connected>;

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    println!("{:.0} % loss, seed {}. Sent are 1 2 3 4 5 6 7 8 9.", args.loss * 100.0, args.seed);
    println!();
    let each = |guarantee| {
        move |peer: &mut Peer| -> Result<(), Box<dyn Error>> {
            for number in b'1'..=b'9' {
                peer.send_payload(guarantee, &[number])?;
                peer.flush()?;
            }
            Ok(())
        }
    };
    show(&args, "None: at most once, in any order", each(Guarantee::None))?;
    show(&args, "Order: at most once, never behind a later one", each(Guarantee::Order))?;
    show(&args, "Delivery: every one, in order", each(Guarantee::Delivery))?;
    show(&args, "Delivery in sets [1 2 3] [4 5 6] [7 8 9]: any order inside, sets in order", |peer| {
        for three in b"123456789".chunks(3) {
            peer.open_set(LaneId::default())?;
            for number in three {
                peer.send_payload(Guarantee::Delivery, &[*number])?;
                peer.flush()?;
            }
            peer.close_set(LaneId::default())?;
        }
        Ok(())
    })?;
    show(&args, "Order 1 2 3, then Delivery 4, then Order 5 to 9: all of these wait for 4", |peer| {
        for number in b'1'..=b'9' {
            let guarantee = if number == b'4' { Guarantee::Delivery } else { Guarantee::Order };
            peer.send_payload(guarantee, &[number])?;
            peer.flush()?;
        }
        Ok(())
    })
}

/// Sends in a fresh session and prints what comes out, with the time since sending.
fn show(
    args: &Args,
    title: &str,
    send: impl FnOnce(&mut Peer) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let net = Net::seed(args.seed);
    let mut link = Link::default();
    (link.loss, link.delay) = (args.loss, Duration::from_millis(25));
    (link.jitter, link.overtake) = (Jitter::Uniform(Duration::from_millis(10)), true);
    net.set_default(link);
    let [mut near, mut far] = pair(&net)?;
    near.connect()?;
    while !(near.is_connected() && far.is_connected()) {
        pass_time(&net, [&mut near, &mut far])?;
        far.recv()?;
        near.recv()?;
    }
    let start = net.now();
    send(&mut near)?;
    let mut line = String::new();
    while net.now() < start + Duration::from_secs(3) {
        pass_time(&net, [&mut near, &mut far])?;
        near.recv()?;
        while let Some(message) = far.recv()? {
            let after = net.now() - start;
            line += &format!("  {}@{}", String::from_utf8_lossy(&message), after.as_millis());
        }
    }
    println!("{title}\n {line}   (ms)\n");
    Ok(())
}

/// Lets both ends send what is due, then moves time to the next thing that happens.
fn pass_time(net: &Net, ends: [&mut Peer; 2]) -> Result<(), Box<dyn Error>> {
    let mut next = net.now() + Duration::from_millis(10);
    for end in ends {
        next = end.maintain()?.map_or(next, |due| due.min(next));
    }
    net.advance_to_next_or(next);
    Ok(())
}

fn pair(net: &Net) -> Result<[Peer; 2], Box<dyn Error>> {
    let (here, there) = (([10, 0, 0, 1], 4_000).into(), ([10, 0, 0, 2], 4_000).into());
    let keys = [here, there].map(|node| {
        let mut bytes = [0; 32];
        net.rng(node).try_fill_bytes(&mut bytes).map(|()| SecretKey::from_bytes(bytes))
    });
    let [Ok(near), Ok(far)] = keys;
    let keys = [near, far];
    let peer = |own: usize, at, to| -> Result<Peer, Box<dyn Error>> {
        let credentials = Credentials::paired(&keys[own], keys[1 - own].public_key())?;
        let clock = net.clone();
        let environment = Environment::new(move || clock.now(), net.rng(at));
        Ok(SealedEndpoint::with_environment(
            net.socket(at).connect(to),
            credentials,
            Config::default(),
            environment,
        )?)
    };
    Ok([peer(0, here, there)?, peer(1, there, here)?])
}
