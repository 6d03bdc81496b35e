//! Many players with a socket each, in one thread: who has news runs, and whose time has come.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::{
    end::{Crowd, Outcome},
    machine::more_files,
};

pub trait Player: AsFd {
    fn joined(&self) -> bool;

    fn say(&mut self, message: &[u8]) -> Outcome<()>;

    /// Reads what has arrived, and says how many messages that were.
    fn hear(&mut self) -> Outcome<u64>;

    /// Runs timers, and says when to be called again.
    fn turn(&mut self) -> Outcome<Option<Instant>>;
}

struct Place<P> {
    player: P,
    due: Option<Instant>,
    joined: bool,
}

pub struct Players<P> {
    make: Box<dyn FnMut() -> Outcome<P>>,
    places: Vec<Place<P>>,
    epoll: Epoll,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    joined: usize,
    heard: u64,
}

impl<P: Player> Players<P> {
    pub fn new(make: impl FnMut() -> Outcome<P> + 'static) -> Outcome<Self> {
        more_files()?;
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let (places, timers) = (Vec::new(), BinaryHeap::new());
        Ok(Self { make: Box::new(make), places, epoll, timers, joined: 0, heard: 0 })
    }

    fn see_to(&mut self, index: usize) -> Outcome<()> {
        let Some(place) = self.places.get_mut(index) else { return Ok(()) };
        self.heard += place.player.hear()?;
        let due = place.player.turn()?;
        if !place.joined && place.player.joined() {
            place.joined = true;
            self.joined += 1;
        }
        if due != place.due {
            place.due = due;
            self.timers.extend(due.map(|due| Reverse((due, index))));
        }
        Ok(())
    }
}

impl<P: Player> Crowd for Players<P> {
    fn dial(&mut self) -> Outcome<()> {
        let player = (self.make)()?;
        let index = self.places.len();
        self.epoll.add(&player, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        self.places.push(Place { player, due: None, joined: false });
        self.see_to(index)
    }

    fn joined(&self) -> usize {
        self.joined
    }

    fn say(&mut self, player: usize, message: &[u8]) -> Outcome<()> {
        if let Some(place) = self.places.get_mut(player) {
            place.player.say(message)?;
        }
        self.see_to(player)
    }

    fn step(&mut self, most: Duration) -> Outcome<()> {
        let mut events = [EpollEvent::empty(); 256];
        let mut timeout = EpollTimeout::try_from(most)?;
        loop {
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                self.see_to(event.data() as usize)?;
            }
            if count < events.len() {
                break;
            }
            timeout = EpollTimeout::ZERO;
        }
        let now = Instant::now();
        while let Some(&Reverse((due, index))) = self.timers.peek().filter(|Reverse((due, _))| *due <= now) {
            self.timers.pop();
            if let Some(place) = self.places.get_mut(index).filter(|place| place.due == Some(due)) {
                place.due = None;
                self.see_to(index)?;
            }
        }
        Ok(())
    }

    fn heard(&self) -> u64 {
        self.heard
    }
}
