//! W5: 2,000 players who each say 100 bytes 20 times a second, at times of their own, to a server of 60 ticks a second that
//! echoes them. What counts is the server's processor time; the players are another thread.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Figures, figures};
use crate::{
    end::{Crowd, Hall, Outcome, Scene},
    machine::{cpu, network},
    peers::Peer,
};

const BYTES: usize = 100;
const RATE: u32 = 20;
const TICK: Duration = Duration::from_nanos(1_000_000_000 / 60);
/// Players that dial at once.
const JOINING: usize = 64;
const STEP: Duration = Duration::from_millis(1);
/// Messages that are said before anybody hears again.
const AT_ONCE: u64 = 256;

const JOIN: u8 = 0;
const WARM: u8 = 1;
const MEASURE: u8 = 2;
const END: u8 = 3;

/// What the players want of the server.
#[derive(Default)]
struct Phase {
    wanted: AtomicU8,
    echoes: AtomicU64,
}

impl Phase {
    fn wanted(&self) -> u8 {
        self.wanted.load(Ordering::Acquire)
    }

    fn set(&self, phase: u8) {
        self.wanted.store(phase, Ordering::Release);
    }
}

/// Serves, and gives processor time and echoes of the phase that is measured.
fn serve(hall: &mut dyn Hall, phase: &Phase) -> Outcome<(f64, u64)> {
    let (mut tick, mut mark, mut found) = (Instant::now(), None, (f64::NAN, 0));
    loop {
        let wanted = phase.wanted();
        if wanted == MEASURE && mark.is_none() {
            mark = Some((cpu(), hall.echoes()));
        }
        if let (END, Some((spent, echoes))) = (wanted, mark.take_if(|_| wanted == END)) {
            found = (cpu() - spent, hall.echoes() - echoes);
        }
        if wanted == END {
            return Ok(found);
        }
        hall.serve()?;
        phase.echoes.store(hall.echoes(), Ordering::Release);
        if wanted == JOIN {
            hall.rest(STEP)?;
            tick = Instant::now();
        } else {
            tick += TICK;
            hall.pause(tick)?;
        }
    }
}

fn join(crowd: &mut dyn Crowd, players: usize) -> Outcome<()> {
    let (mut dialled, start) = (0, Instant::now());
    while crowd.joined() < players {
        while dialled < players && dialled < crowd.joined() + JOINING {
            crowd.dial()?;
            dialled += 1;
        }
        crowd.step(STEP)?;
        if start.elapsed() > Duration::from_secs(30) {
            return Err(format!("{} of {players} players joined", crowd.joined()).into());
        }
    }
    Ok(())
}

/// Everybody speaks in turn; gives how many messages that were.
fn play(crowd: &mut dyn Crowd, players: usize, time: Duration) -> Outcome<u64> {
    let (message, start, mut said) = ([7; BYTES], Instant::now(), 0);
    let gap = Duration::from_secs(1) / RATE;
    while start.elapsed() < time {
        let due = start.elapsed().as_nanos() * players as u128 / gap.as_nanos();
        let due = u64::try_from(due)?.min(said + AT_ONCE);
        for number in said..due {
            crowd.say((number % players as u64) as usize, &message)?;
        }
        let late = due == said + AT_ONCE;
        said = due;
        crowd.step(if late { Duration::ZERO } else { STEP })?;
    }
    Ok(said)
}

fn rest(crowd: &mut dyn Crowd, time: Duration) -> Outcome<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        crowd.step(STEP)?;
    }
    Ok(())
}

struct Played {
    said: u64,
    heard: u64,
    cpu: f64,
    datagrams: Option<u64>,
    time: Duration,
}

fn players(crowd: &mut dyn Crowd, phase: &Phase, count: usize, times: [Duration; 2]) -> Outcome<Played> {
    join(crowd, count)?;
    phase.set(WARM);
    play(crowd, count, times[0])?;
    rest(crowd, Duration::from_millis(100))?;
    let (heard, spent, sent, start) = (crowd.heard(), cpu(), network(), Instant::now());
    phase.set(MEASURE);
    let said = play(crowd, count, times[1])?;
    let (spent, time) = (cpu() - spent, start.elapsed());
    // Nobody is lost because this machine had something else to do.
    rest(crowd, Duration::from_millis(300))?;
    phase.set(END);
    let datagrams = network().zip(sent).map(|(now, then)| now.datagrams - then.datagrams);
    Ok(Played { said, heard: crowd.heard() - heard, cpu: spent, datagrams, time })
}

/// Runs both, each in a thread of its own.
fn run(scene: Scene, count: usize, times: [Duration; 2]) -> Outcome<((f64, u64), Played)> {
    let phase = Phase::default();
    let (served, played) = thread::scope(|scope| {
        let serves = scope.spawn(|| serve((scene.hall)()?.as_mut(), &phase));
        let plays = scope.spawn(|| {
            let played = (scene.crowd)().and_then(|mut crowd| players(crowd.as_mut(), &phase, count, times));
            phase.set(END);
            played
        });
        (serves.join(), plays.join())
    });
    let failed = |_| "a thread panicked";
    Ok((served.map_err(failed)??, played.map_err(failed)??))
}

pub fn measure(peer: Peer, quick: bool) -> Outcome<Figures> {
    let (count, times) = if quick { (100, [200, 300]) } else { (2_000, [700, 2_000]) };
    let ((cpu, echoes), played) = run(peer.scene(count)?, count, times.map(Duration::from_millis))?;
    if echoes == 0 {
        return Err("nothing was echoed".into());
    }
    let seconds = played.time.as_secs_f64();
    let mut found = figures([
        ("cpu", cpu / echoes as f64),
        ("load", 100.0 * cpu / 1e9 / seconds),
        ("players", 100.0 * played.cpu / 1e9 / seconds),
        ("rate", played.said as f64 / seconds),
        ("lost", 100.0 * played.said.saturating_sub(played.heard) as f64 / played.said.max(1) as f64),
    ]);
    if let Some(datagrams) = played.datagrams {
        found.insert("datagrams".to_owned(), datagrams as f64 / echoes as f64);
    }
    Ok(found)
}
