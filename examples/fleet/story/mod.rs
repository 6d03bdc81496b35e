//! A fleet behind one address: two servers with a route each, a balancer in front of them that knows nothing but the
//! routes, and players who know nothing but their tickets. The balancer dies in the middle of it, and one server goes
//! out of service. The example and the tests tell it with another balancer each.

mod backend;
mod figures;
mod player;
mod server;
mod stand_in;

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::UdpSocket};
use sealgram::{Flood, SecretKey};

use self::{backend::Backend, player::Player, server::Running};
pub(crate) use self::{figures::Figures, stand_in::StandIn};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes of a route. All are equally long, since a balancer looks at so many bytes of each datagram.
pub(crate) const ROUTE_LEN: usize = 8;
const ROUTES: [[u8; ROUTE_LEN]; 2] = [*b"server-a", *b"server-b"];
/// Told to who is still there when a server goes.
const GOING_DOWN: u16 = 2;
/// Players who are sent on in one round of the server.
const REDIRECTS: usize = 16;
/// How long one part of the story may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest wait for a datagram.
const TICK: Duration = Duration::from_millis(10);
/// Timers are looked at no more often.
const PAUSE: Duration = Duration::from_millis(1);

/// What stands between the players and the servers.
pub(crate) trait Balancer {
    /// The one address that players know.
    fn address(&self) -> SocketAddr;
    /// Ends it without a word, as a crash does: it forgets everything.
    fn kill(&mut self) -> Outcome<()>;
    /// Begins anew at the same address.
    fn start(&mut self) -> Outcome<()>;
    /// Whether it forwards.
    fn is_ready(&mut self) -> Outcome<bool>;
}

/// What a balancer must know of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) route: [u8; ROUTE_LEN],
    pub(crate) address: SocketAddr,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) players: usize,
    /// The address of this machine that players have. The servers are on loopback.
    pub(crate) home: IpAddr,
    /// Time between two messages of a player.
    pub(crate) interval: Duration,
    /// Messages of each player in each part of the story.
    pub(crate) words: usize,
    /// How long there is no balancer.
    pub(crate) dark: Duration,
    pub(crate) flood: Flood,
}

/// Runs the story. `balancer` makes what stands in front of the servers.
pub(crate) fn run<B: Balancer>(
    plan: Plan,
    balancer: impl FnOnce(&[Place]) -> Outcome<B>,
) -> Outcome<Figures> {
    let mut fleet = Fleet::new(plan, balancer)?;
    fleet.join()?;
    fleet.talk()?;
    fleet.lose_the_balancer()?;
    fleet.talk()?;
    fleet.drain_the_first()?;
    fleet.talk()?;
    fleet.settle()?;
    Ok(fleet.sum_up())
}

struct Fleet<B> {
    plan: Plan,
    poll: Poll,
    events: Events,
    backend: Backend,
    servers: Vec<Running>,
    players: Vec<Player>,
    /// Which players have something to read.
    ready: Vec<bool>,
    balancer: B,
    figures: Figures,
    /// Messages that were said; it says whose turn it is.
    spoken: usize,
    /// When the next one is due.
    next_word: Instant,
}

/// Each player has a socket, and another one at the balancer.
#[cfg(unix)]
fn make_room() -> Outcome<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Where the most is "as many as you like", the system still has a figure of its own.
    Ok(setrlimit(Resource::RLIMIT_NOFILE, now.max(most.min(16_384)), most)?)
}

#[cfg(not(unix))]
fn make_room() -> Outcome<()> {
    Ok(())
}

/// A player's socket, watched under his number and connected to the balancer.
fn socket_to(poll: &Poll, player: usize, home: IpAddr, address: SocketAddr) -> Outcome<UdpSocket> {
    let mut socket = UdpSocket::bind((home, 0).into())?;
    poll.registry().register(&mut socket, Token(player), Interest::READABLE)?;
    socket.connect(address)?;
    Ok(socket)
}

impl<B: Balancer> Fleet<B> {
    fn new(plan: Plan, balancer: impl FnOnce(&[Place]) -> Outcome<B>) -> Outcome<Self> {
        make_room()?;
        let poll = Poll::new()?;
        let mut backend = Backend::new();
        let (mut servers, mut places) = (Vec::new(), Vec::new());
        for route in ROUTES {
            let server = Running::start(&mut backend, route, &plan.flood)?;
            places.push(Place { route, address: server.address });
            servers.push(server);
        }
        let mut fleet = Self {
            figures: Figures { players: plan.players, ..Figures::default() },
            ready: vec![false; plan.players],
            plan,
            poll,
            events: Events::with_capacity(4_096),
            backend,
            servers,
            players: Vec::new(),
            balancer: balancer(&places)?,
            spoken: 0,
            next_word: Instant::now(),
        };
        fleet.until("the balancer", |fleet| fleet.balancer.is_ready())?;
        Ok(fleet)
    }

    /// Goes on until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Outcome<bool>) -> Outcome<()> {
        let begun = Instant::now();
        while !done(self)? {
            if begun.elapsed() > PATIENCE {
                let stuck = |player: &&Player| !player.is_in() || !player.is_answered();
                self.players.iter().filter(stuck).take(3).for_each(|player| eprintln!("{}", player.report()));
                let answered = self.players.iter().filter(|player| player.is_answered()).count();
                let inside = self.players.iter().filter(|player| player.is_in()).count();
                return Err(format!("no end of {what}: {inside} players in, {answered} answered").into());
            }
            self.step()?;
        }
        Ok(())
    }

    /// Waits for datagrams or the next timer, and sees to them.
    fn step(&mut self) -> Outcome<()> {
        if !self.servers.iter().all(Running::is_running) {
            return Err("a server has ended".into());
        }
        let next = self.players.iter().filter_map(Player::due).min();
        let wait =
            next.map_or(TICK, |next| next.saturating_duration_since(Instant::now()).clamp(PAUSE, TICK));
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            if let Some(ready) = self.ready.get_mut(event.token().0) {
                *ready = true;
            }
        }
        let now = Instant::now();
        for (index, player) in self.players.iter_mut().enumerate() {
            if std::mem::take(&mut self.ready[index]) || player.due().is_some_and(|due| due <= now) {
                let home = self.plan.home;
                player.step(home, |to| socket_to(&self.poll, index, home, to))?;
            }
        }
        Ok(())
    }

    /// Everybody dials at once, half of them with a ticket for either server.
    fn join(&mut self) -> Outcome<()> {
        let begun = Instant::now();
        for index in 0..self.plan.players {
            let own = SecretKey::generate()?;
            let server = index % ROUTES.len();
            let ticket = self.backend.ticket(own.public_key(), server, self.balancer.address())?;
            let to = ticket.addresses().first().and_then(|address| address.socket_addr());
            let to = to.ok_or("a ticket without an address")?;
            let socket = socket_to(&self.poll, index, self.plan.home, to)?;
            self.players.push(Player::new(own, ticket, socket)?);
        }
        self.until("the joins", |fleet| Ok(fleet.players.iter().all(Player::is_in)))?;
        self.figures.join_seconds = begun.elapsed().as_secs_f64();
        for (joined, server) in self.figures.joined.iter_mut().zip(&self.servers) {
            *joined = server.get().counts.joined;
        }
        Ok(())
    }

    /// Lets those speak whose turn it is.
    fn speak(&mut self) -> Outcome<()> {
        let now = Instant::now();
        // What a busy machine held up is not made up for.
        self.next_word = self.next_word.max(now.checked_sub(self.plan.interval / 10).unwrap_or(now));
        while self.next_word <= now {
            let speaker = self.spoken % self.players.len();
            self.players[speaker].say()?;
            self.spoken += 1;
            self.next_word += self.plan.interval / u32::try_from(self.players.len())?;
        }
        Ok(())
    }

    fn talk(&mut self) -> Outcome<()> {
        let goal = self.spoken + self.plan.words * self.players.len();
        self.until("the talk", |fleet| {
            fleet.speak()?;
            Ok(fleet.spoken >= goal)
        })
    }

    /// Waits until everything that was said is answered.
    fn settle(&mut self) -> Outcome<()> {
        self.until("the answers", |fleet| Ok(fleet.players.iter().all(Player::is_answered)))
    }

    /// The balancer dies while everybody talks, and another takes its place.
    fn lose_the_balancer(&mut self) -> Outcome<()> {
        let names: Vec<_> = self.players.iter().map(Player::session_name).collect();
        let before: Vec<_> = self.servers.iter().map(|server| server.get().addresses()).collect();
        let changes = self.path_changes();
        self.balancer.kill()?;
        let dark = Instant::now() + self.plan.dark;
        self.until("the darkness", |fleet| {
            fleet.speak()?;
            Ok(Instant::now() >= dark)
        })?;
        self.balancer.start()?;
        self.until("the second balancer", |fleet| {
            fleet.speak()?;
            fleet.balancer.is_ready()
        })?;
        let begun = Instant::now();
        // Who says nothing does not show that he has moved.
        self.talk()?;
        self.settle()?;
        self.figures.recovery_seconds = begun.elapsed().as_secs_f64();
        self.figures.path_changes = self.path_changes() - changes;
        for (server, before) in self.servers.iter().zip(before) {
            let now = server.get().addresses();
            self.figures.moved += before.iter().filter(|(id, address)| now.get(id) != Some(address)).count();
        }
        let same = self.players.iter().zip(names).filter(|(player, name)| player.session_name() == *name);
        self.figures.renewed = self.players.len() - same.count();
        Ok(())
    }

    fn path_changes(&self) -> usize {
        self.servers.iter().map(|server| server.get().counts.path_changes).sum()
    }

    /// The first server goes out of service; its players move to the second one while they talk. When all of them are
    /// there, it ends what is left: good-byes may be lost.
    fn drain_the_first(&mut self) -> Outcome<()> {
        let begun = Instant::now();
        self.servers[0].get().server.set_accepting(false);
        let mut players = self.servers[0].get().players();
        self.until("the moves", |fleet| {
            fleet.speak()?;
            // Not all in one moment: each of them dials.
            for (id, player) in players.drain(..players.len().min(REDIRECTS)) {
                let ticket = fleet.backend.ticket(player, 1, fleet.balancer.address())?;
                if !fleet.servers[0].get().server.redirect(id, &ticket) {
                    return Err("a player cannot be redirected".into());
                }
            }
            let second = Some(fleet.backend.key_of(1));
            Ok(fleet.players.iter().all(|player| player.is_settled() && player.server() == second))
        })?;
        self.servers[0].get().server.drain(GOING_DOWN, b"", PATIENCE / 4);
        self.until("the drain", |fleet| Ok(fleet.servers[0].get().server.is_empty()))?;
        self.figures.drain_seconds = begun.elapsed().as_secs_f64();
        Ok(())
    }

    fn sum_up(&self) -> Figures {
        let mut figures = self.figures;
        let second = Some(self.backend.key_of(1));
        figures.at_second =
            self.players.iter().filter(|player| player.is_in() && player.server() == second).count();
        for player in &self.players {
            figures.sent += player.counts.sent;
            figures.echoed += player.counts.echoed;
            figures.disordered += player.counts.disordered;
            figures.disconnects += player.counts.lost;
            figures.redirected += player.counts.redirected;
        }
        for counts in self.servers.iter().map(|server| server.get().counts) {
            figures.heard += counts.heard;
            figures.disordered += counts.disordered;
            figures.disconnects += counts.lost;
            figures.refused += counts.refused;
            figures.unheard += counts.unheard;
        }
        figures
    }
}
