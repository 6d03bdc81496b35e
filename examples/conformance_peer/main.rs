//! A peer that another implementation talks to: it does what it is told on its input, a line of JSON each, and says what
//! happens on its output, in the same form. `tools/conformance` starts it.
//!
//! Output: `listening ADDRESS`, then `{"event":"connected","hash":HEX}`, `{"event":"message","guarantee":G,"lane":N,"hex":HEX}`,
//! `{"event":"closed","reason":TEXT,"code":N}` (then it ends) and `{"event":"refused","error":TEXT}` for a command that
//! could not be done. Input: `{"send":{"guarantee":G,"lane":N,"hex":HEX}}`, `{"set":[HEX,...]}` (one set of `Delivery`),
//! `{"echo":true}`, `{"stats":true}`, `{"close":N}`. G is `none`, `order` or `delivery`.

#![expect(clippy::disallowed_methods, reason = "an example runs in real time and waits for it")]

mod settings;

use std::{
    error::Error,
    io::BufRead,
    net::UdpSocket,
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
    time::Duration,
};

use clap::Parser;
use sealgram::{CloseReason, Event, Guarantee, LaneId, PeerId, SealedEndpoint, SealedServer, SendOptions};
use serde_json::{Value, json};
use settings::{Role, Settings};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A session, of either kind.
enum End {
    One(Box<SealedEndpoint<UdpSocket>>),
    /// A server, and the player who joined last.
    Server(Box<SealedServer<UdpSocket>>, Option<PeerId>),
}

struct Heard {
    guarantee: Guarantee,
    lane: u8,
    bytes: Vec<u8>,
}

impl End {
    fn recv(&mut self) -> Result<Option<Heard>, CloseReason> {
        match self {
            Self::One(endpoint) => Ok(endpoint.recv()?.map(|message| Heard {
                guarantee: message.guarantee(),
                lane: message.lane().0,
                bytes: message.to_vec(),
            })),
            Self::Server(server, _) => Ok(server.recv().map(|(_, message)| Heard {
                guarantee: message.guarantee(),
                lane: message.lane().0,
                bytes: message.to_vec(),
            })),
        }
    }

    /// The next event, after everybody who asks was let in.
    fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::One(endpoint) => endpoint.poll_event(),
            Self::Server(server, player) => {
                let (id, event) = server.poll_event()?;
                if let Event::Join { .. } = event {
                    *player = Some(id);
                    server.accept(id);
                }
                Some(event)
            }
        }
    }

    fn send(&mut self, options: SendOptions, bytes: &[u8]) -> Outcome<()> {
        match self {
            Self::One(endpoint) => drop(endpoint.send_payload(options, bytes)?),
            Self::Server(server, player) => {
                let mut peer = player.and_then(|id| server.peer(id)).ok_or("nobody is there")?;
                peer.send_payload(options, bytes)?;
            }
        }
        Ok(())
    }

    fn open_set(&mut self, open: bool) -> Outcome<()> {
        let lane = LaneId(0);
        match self {
            Self::One(endpoint) if open => endpoint.open_set(lane)?,
            Self::One(endpoint) => endpoint.close_set(lane)?,
            Self::Server(server, player) => {
                let mut peer = player.and_then(|id| server.peer(id)).ok_or("nobody is there")?;
                if open { peer.open_set(lane)? } else { peer.close_set(lane)? }
            }
        }
        Ok(())
    }

    fn close(&mut self, code: u16) {
        match self {
            Self::One(endpoint) => endpoint.close(code, b""),
            Self::Server(server, player) => {
                if let Some(id) = *player {
                    server.kick(id, code, b"");
                }
            }
        }
    }

    fn maintain(&mut self) -> Result<(), CloseReason> {
        match self {
            Self::One(endpoint) => drop(endpoint.maintain()?),
            Self::Server(server, _) => drop(server.maintain()),
        }
        Ok(())
    }

    fn stats(&self) -> Value {
        let stats = match self {
            Self::One(endpoint) => endpoint.stats(),
            Self::Server(server, _) => server.stats(),
        };
        json!({ "event": "stats", "dropped": stats.drops.total(), "sent": stats.datagrams_sent, "received": stats.datagrams_received })
    }
}

fn guarantee(name: &str) -> Outcome<Guarantee> {
    match name {
        "none" => Ok(Guarantee::None),
        "order" => Ok(Guarantee::Order),
        "delivery" => Ok(Guarantee::Delivery),
        _ => Err(format!("what is {name}?").into()),
    }
}

fn name(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::None => "none",
        Guarantee::Order => "order",
        Guarantee::Delivery => "delivery",
    }
}

fn bytes(hexadecimal: &Value) -> Outcome<Vec<u8>> {
    Ok(hex::decode(hexadecimal.as_str().ok_or("bytes are a text of hexadecimal digits")?)?)
}

fn obey(end: &mut End, echo: &mut bool, line: &str) -> Outcome<()> {
    let command: Value = serde_json::from_str(line)?;
    if let Some(send) = command.get("send") {
        let lane = send["lane"].as_u64().unwrap_or_default();
        let promise = guarantee(send["guarantee"].as_str().unwrap_or_default())?;
        let options = SendOptions::new(promise).lane(LaneId(lane.try_into()?));
        end.send(options, &bytes(&send["hex"])?)?;
    } else if let Some(members) = command.get("set").and_then(Value::as_array) {
        end.open_set(true)?;
        let sent =
            members.iter().try_for_each(|member| end.send(Guarantee::Delivery.into(), &bytes(member)?));
        end.open_set(false)?;
        sent?;
    } else if let Some(on) = command.get("echo") {
        *echo = on.as_bool().unwrap_or_default();
    } else if let Some(code) = command.get("close") {
        end.close(code.as_u64().unwrap_or_default().try_into()?);
    } else if command.get("stats").is_some() {
        println!("{}", end.stats());
    } else {
        return Err(format!("what is {line}?").into());
    }
    Ok(())
}

/// Hears everything that is there.
fn hear(end: &mut End, echo: bool) -> Result<(), CloseReason> {
    while let Some(heard) = end.recv()? {
        let Heard { guarantee, lane, bytes } = heard;
        println!(
            "{}",
            json!({ "event": "message", "guarantee": name(guarantee), "lane": lane, "hex": hex::encode(&bytes) })
        );
        if echo {
            if let Err(error) = end.send(SendOptions::new(guarantee).lane(LaneId(lane)), &bytes) {
                println!("{}", json!({ "event": "refused", "error": error.to_string() }));
            }
        }
    }
    Ok(())
}

/// Tells what happened; `true` at the end of the session.
fn tell(end: &mut End) -> bool {
    while let Some(event) = end.poll_event() {
        match event {
            Event::Connected { handshake_hash, .. } => {
                println!("{}", json!({ "event": "connected", "hash": handshake_hash.map(hex::encode) }));
            }
            Event::Closed { reason, .. } => {
                let code = if let CloseReason::ClosedByPeer { code } = reason { Some(code) } else { None };
                println!("{}", json!({ "event": "closed", "reason": reason.to_string(), "code": code }));
                return true;
            }
            _ => {}
        }
    }
    false
}

fn lines() -> Receiver<String> {
    let (say, hear) = channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
    hear
}

fn main() -> Outcome<()> {
    let settings = Settings::parse();
    let mut end = settings.start()?;
    if let (Role::Connect, End::One(endpoint)) = (settings.role, &mut end) {
        endpoint.connect()?;
    }
    let (lines, mut echo) = (lines(), settings.echo);
    loop {
        let _ = hear(&mut end, echo);
        if tell(&mut end) {
            return Ok(());
        }
        loop {
            match lines.try_recv() {
                Ok(line) => {
                    if let Err(error) = obey(&mut end, &mut echo, &line) {
                        println!("{}", json!({ "event": "refused", "error": error.to_string() }));
                    }
                }
                Err(TryRecvError::Empty) => break,
                // Who started it is gone.
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        let _ = end.maintain();
        thread::sleep(Duration::from_millis(1));
    }
}
