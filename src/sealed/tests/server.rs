//! A server of one client, played from a script: routes and ids, tickets, yes or no, and whatever frames a test wants it
//! to send. Records what it was shown. For the client's tests only; the real one is the listener.

use std::{collections::VecDeque, sync::Arc};

use super::{
    super::{
        Agreed,
        half_open::Stage,
        live::Live,
        local::{Answered, Local},
        messages,
        seal::{Prefix, seal_frame},
    },
    *,
};
use crate::{
    config::Padding,
    connection::Connection,
    crypto::{self, Side},
    delivery::recv::Place,
    wire::{
        envelope::{Body, Kind},
        frame::{self, Frame},
        header::WORD_LEN,
    },
};

/// What becomes of a CONFIRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Accept,
    /// Neither yes nor no.
    Think,
    Refuse(u16),
}

pub(super) type Address = u8;

pub(super) struct Server {
    local: Local,
    config: Arc<Config>,
    pub(super) route: Vec<u8>,
    pub(super) policy: Policy,
    /// Whether clients get an id, and then spares as they need them.
    pub(super) gives_ids: bool,
    pub(super) gives_spares: bool,
    half: Option<([u8; 32], Stage)>,
    response_id: [u8; 32],
    pub(super) live: Option<Box<Live>>,
    pub(super) connection: Connection,
    /// Ids by sequence number, and the newest that was used.
    pub(super) given: Vec<[u8; 8]>,
    current: usize,
    last_given: Option<Instant>,
    path: Address,
    out: VecDeque<(Address, Vec<u8>)>,
    pub(super) tickets: Vec<Vec<u8>>,
    /// Every packet that opened: when, from where, under which sequence number.
    pub(super) opened: Vec<(Instant, Address, usize)>,
    pub(super) heard: Vec<Vec<u8>>,
    pub(super) dropped: u32,
    pub(super) closed: bool,
}

impl Server {
    pub(super) fn new(profile: &str, route: &[u8], config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            local: Local::new(credentials(profile, 1), &config, route).unwrap(),
            connection: Connection::new(&config),
            config,
            route: route.to_vec(),
            policy: Policy::Accept,
            gives_ids: true,
            gives_spares: true,
            half: None,
            response_id: [0; 32],
            live: None,
            given: Vec::new(),
            current: 0,
            last_given: None,
            path: 0,
            out: VecDeque::new(),
            tickets: Vec::new(),
            opened: Vec::new(),
            heard: Vec::new(),
            dropped: 0,
            closed: false,
        }
    }

    fn handle(&mut self, now: Instant, rng: &mut Chance, from: Address, datagram: &mut [u8]) -> Option<()> {
        let rest = datagram.strip_prefix(&self.route[..])?;
        let named = rest.first_chunk::<8>().and_then(|id| self.given.iter().position(|given| given == id));
        let sequence = match named {
            None if self.gives_ids => return self.handle_init(now, rng, from, datagram),
            None => 0,
            Some(sequence) => sequence,
        };
        let front = self.route.len() + if self.gives_ids { 8 } else { 0 };
        let (clear, rest) = datagram.split_at_mut(front);
        let body = rest.len() - (messages::PACKET_OVERHEAD - WORD_LEN);
        let keys = match (&mut self.live, &mut self.half) {
            (Some(live), _) => &mut live.channel.open,
            (None, Some((_, Stage::AwaitsPacket(agreed)))) => &mut agreed.channel.open,
            (None, Some((_, Stage::AwaitsFin(_)))) => return self.handle_fin(clear, rest),
            (None, None) => return self.handle_init(now, rng, from, datagram),
        };
        let Ok(opened) = keys.open(now, ms(1_000), clear, rest) else {
            // Without an id, an envelope looks like a packet.
            return if self.gives_ids { None } else { self.handle_init(now, rng, from, datagram) };
        };
        let number = opened.number;
        self.opened.push((now, from, sequence));
        self.current = self.current.max(sequence);
        self.path = from;
        let payload = rest[WORD_LEN..body].to_vec();
        if self.live.is_none() {
            let ticket = frame::Frames::new(&payload).flatten().find_map(|frame| match frame {
                Frame::Confirm { ticket, .. } => Some(ticket.to_vec()),
                _ => None,
            });
            self.tickets.push(ticket.expect("the first packets carry CONFIRM"));
            self.judge(now, rng);
        }
        if self.live.is_some() {
            let received = self.connection.receive(now, number, &payload, 0).unwrap();
            self.closed |= received.close.is_some();
            while let Some(ready) = self.connection.pop() {
                self.heard.push(match ready.place {
                    Place::Datagram { start, len } => payload[start..][..len].to_vec(),
                    Place::Stored(handle) => {
                        let bytes = self.connection.stored(handle).to_vec();
                        self.connection.release(handle);
                        bytes
                    }
                });
            }
        }
        Some(())
    }

    fn judge(&mut self, now: Instant, rng: &mut Chance) {
        if self.policy == Policy::Think {
            return;
        }
        let Some((_, Stage::AwaitsPacket(agreed))) = self.half.take() else { unreachable!("it opened") };
        let negotiated = agreed.negotiated;
        let mut live = Box::new(Live::begin(*agreed, &self.config, now, rng).unwrap());
        match self.policy {
            Policy::Refuse(code) => {
                live.say_close(Padding::None, code, b"no", |datagram| {
                    self.out.push_back((self.path, datagram))
                });
            }
            Policy::Accept | Policy::Think => {
                self.connection.start(now, &negotiated, live.channel.seal.next_number());
                self.live = Some(live);
            }
        }
    }

    fn handle_init(
        &mut self,
        _: Instant,
        rng: &mut Chance,
        from: Address,
        datagram: &mut [u8],
    ) -> Option<()> {
        let (clear, rest) = datagram.split_at_mut(self.route.len());
        let body = messages::open(&self.local.envelope, Side::Initiator, clear, rest)?.ok()?;
        assert_eq!(body.kind, Kind::Init);
        let id = crypto::hash(&[body.noise]);
        let candidate = self.local.read_init(body.noise).ok()?;
        // Whoever dials anew gets a new session, and what was before is gone.
        let first = u8::try_from(self.given.len()).unwrap();
        (self.live, self.current, self.given) = (None, 0, vec![[0xc0 + first; 8]]);
        self.connection = Connection::new(&self.config);
        let cid = self.gives_ids.then(|| self.given[0]);
        let Answered { response, response_id, after } = self.local.answer(rng, candidate, cid).unwrap();
        self.half = Some((id, after.stage(id).unwrap()));
        self.response_id = response_id;
        let (kind, reference) = (Kind::Resp, messages::reference(&id));
        let body = Body { kind, cookie: [0; 16], reference, noise: response.as_bytes() };
        let mut out = vec![0; 1_200];
        let size = self.config.handshake_bytes.into();
        let len =
            messages::seal(&self.local.envelope, rng, Side::Responder, &[], &body, size, &mut out).unwrap();
        out.truncate(len);
        self.out.push_back((from, out));
        Some(())
    }

    fn handle_fin(&mut self, clear: &[u8], envelope: &mut [u8]) -> Option<()> {
        let body = messages::open(&self.local.envelope, Side::Initiator, clear, envelope)?.ok()?;
        assert_eq!((body.kind, body.reference), (Kind::Fin, messages::reference(&self.response_id)));
        let Some((id, Stage::AwaitsFin(noise))) = &self.half else { return None };
        let fin = self.local.read_fin(noise, body.noise).unwrap();
        let agreed: Agreed = Local::agreed(*id, fin).unwrap();
        self.half = Some((*id, Stage::AwaitsPacket(Box::new(agreed))));
        Some(())
    }

    /// The cookie in an INIT, as far as its first byte, and what an answer refers to.
    pub(super) fn read_init(&self, init: &[u8]) -> (u8, [u8; 16]) {
        let mut copy = init.to_vec();
        let (clear, envelope) = copy.split_at_mut(self.route.len());
        let body = messages::open(&self.local.envelope, Side::Initiator, clear, envelope).unwrap().unwrap();
        (body.cookie[0], messages::reference(&crypto::hash(&[body.noise])))
    }

    /// A COOKIE that answers an INIT.
    pub(super) fn cookie(&self, init: &[u8], cookie: u8) -> Vec<u8> {
        let (_, reference) = self.read_init(init);
        let body = Body { kind: Kind::Cookie, cookie: [cookie; 16], reference, noise: &[] };
        let mut out = vec![0; 128];
        let rng = &mut Chance(3);
        messages::seal(&self.local.envelope, rng, Side::Responder, &[], &body, 128, &mut out).unwrap();
        out
    }

    /// Sends frames of the test's in packets of their own.
    pub(super) fn say(&mut self, now: Instant, frames: &[Frame<'_>]) {
        let live = self.live.as_mut().unwrap();
        for frame in frames {
            let mut out = vec![0; 1_200];
            let len = seal_frame(
                &mut live.channel.seal,
                live.prefix.as_deref().unwrap_or(&Prefix::NONE),
                frame,
                Padding::None,
                1_200,
                &mut out,
            )
            .unwrap();
            out.truncate(len);
            self.out.push_back((self.path, out));
        }
        // A packet of its own after these, so that it knows of the numbers that will be acknowledged.
        self.connection.ping(now);
    }

    /// Gives the client an id that was never given before.
    pub(super) fn give(&mut self, now: Instant) {
        let sequence = self.given.len();
        let cid = u64::try_from(sequence).unwrap().to_be_bytes();
        self.given.push(cid);
        self.last_given = Some(now);
        let frame = Frame::NewCid { sequence: sequence as u64, retire_below: self.current as u64, cid };
        self.say(now, &[frame]);
    }

    fn tick(&mut self, now: Instant, rng: &mut Chance) {
        let Some(live) = &mut self.live else { return };
        live.handle_timeout(now, &self.config, &mut self.connection, rng).unwrap();
        let rested = self.last_given.is_none_or(|last| now - last >= ms(1_000));
        if self.gives_ids && self.gives_spares && rested && self.given.len() - 1 - self.current < 2 {
            self.give(now);
        }
        self.connection.flush();
        let mut out = vec![0; 1_500];
        while let Some(live) = &mut self.live {
            let len = live.transmit(now, &self.config, &mut self.connection, rng, &mut out).unwrap();
            if len == 0 {
                break;
            }
            self.out.push_back((self.path, out[..len].to_vec()));
        }
    }
}

/// A client, the server, and 20 ms between them.
pub(super) struct Rig {
    pub(super) now: Instant,
    pub(super) client: Sealed,
    pub(super) server: Server,
    chance: [Chance; 2],
    /// Where the client is.
    pub(super) address: Address,
    pub(super) up: VecDeque<(Instant, Address, Vec<u8>)>,
    down: VecDeque<(Instant, Address, Vec<u8>)>,
    pub(super) loses: [bool; 2],
    /// What the client sent: when, from where, what.
    pub(super) sent: Vec<(Instant, Address, Vec<u8>)>,
    /// What the server sent.
    pub(super) answered: Vec<Vec<u8>>,
    pub(super) events: Vec<Event>,
    pub(super) heard: Vec<Vec<u8>>,
}

impl Rig {
    pub(super) fn new(client: Credentials, config: Config, server: Server) -> Self {
        let now = start();
        Self {
            now,
            client: Sealed::new(client, config, now).unwrap(),
            server,
            chance: [Chance(1), Chance(2)],
            address: 1,
            up: VecDeque::new(),
            down: VecDeque::new(),
            loses: [false; 2],
            sent: Vec::new(),
            answered: Vec::new(),
            events: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// A client with a key, behind a route of three bytes.
    pub(super) fn usual() -> Self {
        let client = credentials("client_auth", 0).with_route(b"abc").unwrap();
        Self::new(client, Config::default(), Server::new("client_auth", b"abc", Config::default()))
    }

    /// The usual ones, connected and with two spares.
    pub(super) fn connected() -> Self {
        let mut rig = Self::usual();
        rig.connect();
        rig.run(ms(2_500));
        assert!(rig.client.is_connected());
        assert_eq!(rig.server.given.len(), 3);
        rig
    }

    pub(super) fn connect(&mut self) {
        self.client.connect(self.now, &mut self.chance[0]).unwrap();
        self.flush();
    }

    pub(super) fn moves(&mut self, to: Address) {
        self.address = to;
        self.client.moved(self.now, &mut self.chance[0], false);
        self.flush();
    }

    pub(super) fn deliver(&mut self, datagram: &mut [u8]) {
        self.client.handle_datagram(self.now, &mut self.chance[0], datagram);
        while let Some(ready) = self.client.connection_mut().pop() {
            let Place::Datagram { start, len } = ready.place else { panic!("small messages come at once") };
            self.heard.push(datagram[start..][..len].to_vec());
        }
    }

    pub(super) fn flush(&mut self) {
        let mut out = vec![0; 1_500];
        self.client.connection_mut().flush();
        loop {
            let len = self.client.poll_transmit(self.now, &mut self.chance[0], &mut out);
            if len == 0 {
                break;
            }
            self.sent.push((self.now, self.address, out[..len].to_vec()));
            self.up.push_back((self.now + ms(20), self.address, out[..len].to_vec()));
        }
        self.events.extend(std::iter::from_fn(|| self.client.poll_event()));
        self.server.tick(self.now, &mut self.chance[1]);
        while let Some((to, datagram)) = self.server.out.pop_front() {
            self.answered.push(datagram.clone());
            self.down.push_back((self.now + ms(20), to, datagram));
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += ms(10);
            while self.up.front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, from, mut datagram) = self.up.pop_front().unwrap();
                let Self { now, server, chance, loses, .. } = self;
                if !loses[0] && server.handle(*now, &mut chance[1], from, &mut datagram).is_none() {
                    server.dropped += 1;
                }
            }
            while self.down.front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, to, mut datagram) = self.down.pop_front().unwrap();
                // Nobody is where the client was.
                if !self.loses[1] && to == self.address {
                    self.deliver(&mut datagram);
                }
            }
            for _ in 0..3 {
                if self.client.deadline().is_some_and(|at| at <= self.now) {
                    self.client.handle_timeout(self.now, &mut self.chance[0]);
                }
                self.flush();
            }
        }
    }

    pub(super) fn say(&mut self, frames: &[Frame<'_>]) {
        self.server.say(self.now, frames);
        self.run(ms(100));
    }

    pub(super) fn reasons(&self) -> Vec<crate::error::CloseReason> {
        let reason = |event: &Event| match event {
            Event::Closed { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }
}
