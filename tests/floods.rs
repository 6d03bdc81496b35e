//! Floods against a sealed server on loopback: real sockets, batches and handshakes, and 127.0.0.0/8 for the sources. The
//! clock is virtual, so a slow machine takes longer and sees the same. `--nocapture` prints what each flood did.
#![cfg(target_os = "linux")]

#[path = "common/clock.rs"]
mod clock;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, VecDeque},
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    rc::Rc,
    time::Duration,
};

use clock::Clock;
use nix::{
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use sealgram::{
    AddressedUdp, Config, Credentials, Event, Guarantee, RecvBatch, SealedEndpoint, SealedServer, SecretKey,
    SendBatch, ServerConfig, Trust, UdpLike,
};

const STEP: Duration = Duration::from_millis(1);
/// How long each flood lasts, in steps.
const LAST: u32 = 5_000;
/// Who is there before, and who wants to join during a flood.
const PLAYERS: usize = 8;
const JOINERS: u32 = 6;
/// X25519 operations of a join: IK.
const JOIN: u64 = 5;
const INIT: usize = 1_200;
const LARGEST: usize = 1_500;

/// What came from each address and what went there.
#[derive(Default)]
struct Books {
    bytes: HashMap<SocketAddr, (usize, usize)>,
    /// Datagrams that somebody sent to the server, and that the server got.
    sent: u64,
    got: u64,
    /// Addresses whose session was let in, which may get more than they send.
    served: HashSet<SocketAddr>,
}

impl Books {
    fn came(&mut self, from: SocketAddr, len: usize) {
        self.bytes.entry(from).or_default().0 += len;
        self.got += 1;
    }

    fn went(&mut self, to: SocketAddr, len: usize) {
        let (came, went) = self.bytes.entry(to).or_default();
        *went += len;
        assert!(went <= came || self.served.contains(&to), "{to} sent {came} bytes and got {went}");
    }
}

/// The server's socket, with an eye on every datagram. Reads and writes in batches.
struct Watched {
    socket: UdpSocket,
    arrived: RecvBatch,
    books: Rc<RefCell<Books>>,
    /// How often in a row it asked for what has not arrived.
    waits: u32,
}

impl Watched {
    /// Whether something that was sent has not arrived.
    fn is_under_way(&mut self) -> bool {
        let Books { sent, got, .. } = *self.books.borrow();
        self.waits = if got < sent { self.waits + 1 } else { 0 };
        assert!(self.waits < 10_000_000, "{sent} datagrams sent, {got} arrived: the kernel loses them");
        got < sent
    }
}

impl AddressedUdp for Watched {
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        let sent = self.socket.send_to(datagram, to)?;
        self.books.borrow_mut().went(to, sent);
        Ok(sent)
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            if let Some(arrival) = self.arrived.take_next() {
                let len = arrival.datagram.len();
                buffer[..len].copy_from_slice(arrival.datagram);
                self.books.borrow_mut().came(arrival.from, len);
                return Ok((len, arrival.from));
            }
            match AddressedUdp::recv_batch(&mut self.socket, &mut self.arrived) {
                // A kernel under load may be slow, and loses nothing.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.is_under_way() => {
                    std::thread::yield_now();
                }
                result => drop(result?),
            }
        }
    }

    fn prepare(&mut self) -> io::Result<()> {
        AddressedUdp::prepare(&mut self.socket)
    }

    fn send_batch(&mut self, batch: &SendBatch) -> io::Result<usize> {
        let taken = AddressedUdp::send_batch(&mut self.socket, batch)?;
        for (datagram, to) in batch.waiting().take(taken) {
            self.books.borrow_mut().went(to, datagram.len());
        }
        Ok(taken)
    }
}

/// A socket that sends from any address of 127.0.0.0/8, and hears what is sent to any of them.
struct Anybody {
    socket: UdpSocket,
    to: SockaddrIn,
    books: Rc<RefCell<Books>>,
}

impl Anybody {
    fn new(server: SocketAddr, books: &Rc<RefCell<Books>>) -> Self {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).unwrap();
        let SocketAddr::V4(to) = server else { panic!() };
        Self { socket, to: to.into(), books: Rc::clone(books) }
    }

    fn send(&self, from: Ipv4Addr, datagram: &[u8]) {
        let source = libc::in_addr { s_addr: u32::from(from).to_be() };
        let info =
            libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: libc::in_addr { s_addr: 0 } };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let slices = [IoSlice::new(datagram)];
        sendmsg(self.socket.as_raw_fd(), &slices, &control, MsgFlags::empty(), Some(&self.to)).unwrap();
        self.books.borrow_mut().sent += 1;
    }

    /// The next answer, and to which address it went.
    fn recv(&self, buffer: &mut [u8]) -> Option<(usize, Ipv4Addr)> {
        let mut control = nix::cmsg_space!(libc::in_pktinfo);
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        let received = recvmsg::<SockaddrIn>(fd, &mut slices, Some(&mut control), flags).ok()?;
        let to = received.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info.ipi_addr),
            _ => None,
        });
        Some((received.bytes, Ipv4Addr::from(u32::from_be(to.unwrap().s_addr))))
    }
}

/// The inside of an attacker: what it would send lies here.
#[derive(Clone, Default)]
struct Hands {
    sends: Rc<RefCell<VecDeque<Vec<u8>>>>,
    hears: Rc<RefCell<VecDeque<Vec<u8>>>>,
}

impl UdpLike for Hands {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.sends.borrow_mut().push_back(datagram.to_vec());
        Ok(datagram.len())
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let heard = self.hears.borrow_mut().pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        buffer[..heard.len()].copy_from_slice(&heard);
        Ok(heard.len())
    }
}

/// A player's socket.
struct Counted {
    socket: UdpSocket,
    books: Rc<RefCell<Books>>,
}

impl UdpLike for Counted {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let sent = UdpLike::send(&mut self.socket, datagram)?;
        self.books.borrow_mut().sent += 1;
        Ok(sent)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        UdpLike::recv(&mut self.socket, buffer)
    }

    fn prepare(&mut self) -> io::Result<()> {
        UdpLike::prepare(&mut self.socket)
    }
}

type Player = SealedEndpoint<Counted>;

struct Joiner {
    player: Player,
    dialled: u32,
    joined: Option<u32>,
}

/// What is sent in a step; `number` of the step.
#[derive(Clone, Copy, Default)]
struct Flood {
    garbage: u32,
    without_cookie: u32,
    never_finished: u32,
}

const GARBAGE: Flood = Flood { garbage: 20, without_cookie: 0, never_finished: 0 };
const WITHOUT_COOKIE: Flood = Flood { garbage: 0, without_cookie: 5, never_finished: 0 };
const NEVER_FINISHED: Flood = Flood { garbage: 0, without_cookie: 0, never_finished: 2 };
const ALL: Flood = Flood { garbage: 20, without_cookie: 5, never_finished: 2 };

struct Scene {
    clock: Clock,
    step: u32,
    key: SecretKey,
    server: SealedServer<Watched>,
    address: SocketAddr,
    books: Rc<RefCell<Books>>,
    players: Vec<Player>,
    /// What the server has heard of the players in the present call, by their number.
    heard: [u32; PLAYERS],
    joiners: Vec<Joiner>,
    attackers: Anybody,
    /// Who waits for a cookie.
    waiting: HashMap<Ipv4Addr, (SealedEndpoint<Hands>, Hands)>,
    /// INITs that somebody recorded.
    recorded: Vec<Vec<u8>>,
    sources: u32,
    /// What the server's calls have left in the heap, and the most of it.
    heap: i64,
    highest: i64,
    /// What players said and heard again, and after how many steps at most.
    said: u32,
    echoed: u32,
    slowest: u32,
    chance: u64,
}

/// Where a player lives: each in a network of its own, and none of them an attacker's.
fn home(number: usize) -> SocketAddr {
    ([127, 250, u8::try_from(number).unwrap(), 1], 0).into()
}

impl Scene {
    /// A server with eight players who are in, and nothing else.
    fn new(config: ServerConfig) -> Self {
        let clock = Clock::new(STEP);
        let key = SecretKey::generate().unwrap();
        let books = Rc::new(RefCell::new(Books::default()));
        // Books must not count as the server's growth.
        books.borrow_mut().bytes.reserve(200_000);
        books.borrow_mut().served.reserve(100);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let watched =
            Watched { socket, arrived: RecvBatch::new(LARGEST), books: Rc::clone(&books), waits: 0 };
        let credentials = Credentials::server_auth(&key, Trust::Anyone);
        let server =
            SealedServer::with_environment(watched, credentials, config, clock.environment(1)).unwrap();
        let attackers = Anybody::new(address, &books);
        let mut scene = Self {
            clock,
            step: 0,
            key,
            server,
            address,
            books,
            players: Vec::new(),
            heard: [0; PLAYERS],
            joiners: Vec::new(),
            attackers,
            waiting: HashMap::new(),
            recorded: Vec::new(),
            sources: 0,
            heap: 0,
            highest: 0,
            said: 0,
            echoed: 0,
            slowest: 0,
            chance: 1,
        };
        while scene.players.len() < PLAYERS {
            let player = scene.dial(scene.players.len());
            scene.players.push(player);
            while !scene.players.iter().all(Player::is_connected) {
                scene.pass(Flood::default());
                assert!(scene.step < 1_000, "no flood, and nobody gets in");
            }
        }
        for _ in 0..500 {
            scene.pass(Flood::default());
        }
        for _ in 0..256 {
            let (_, hands) = scene.attacker();
            scene.recorded.push(hands.sends.borrow_mut().pop_front().unwrap());
        }
        (scene.heap, scene.highest, scene.slowest) = (0, 0, 0);
        (scene.said, scene.echoed) = (0, 0);
        scene
    }

    fn credentials(&self) -> Credentials {
        Credentials::client_auth(&SecretKey::generate().unwrap(), self.key.public_key()).unwrap()
    }

    fn dial(&self, number: usize) -> Player {
        let socket = UdpSocket::bind(home(number)).unwrap();
        socket.connect(self.address).unwrap();
        let socket = Counted { socket, books: Rc::clone(&self.books) };
        let environment = self.clock.environment(100 + u16::try_from(number).unwrap());
        let mut player =
            Player::with_environment(socket, self.credentials(), Config::default(), environment).unwrap();
        player.connect().unwrap();
        player
    }

    /// An endpoint that has dialled, and its INIT in hand.
    fn attacker(&self) -> (SealedEndpoint<Hands>, Hands) {
        let hands = Hands::default();
        let environment = self.clock.environment(2);
        let (socket, config) = (hands.clone(), Config::default());
        let mut end =
            SealedEndpoint::with_environment(socket, self.credentials(), config, environment).unwrap();
        end.connect().unwrap();
        (end, hands)
    }

    fn random(&mut self) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.chance >> 16
    }

    /// An address that nobody had before.
    fn source(&mut self) -> Ipv4Addr {
        self.sources += 1;
        let [_, high, middle, low] = (self.sources + 0x0001_0000).to_be_bytes();
        Ipv4Addr::new(127, high, middle, low)
    }

    fn send_flood(&mut self, flood: Flood) {
        let mut datagram = [0; INIT];
        for _ in 0..flood.garbage {
            for chunk in datagram.chunks_exact_mut(4) {
                chunk.copy_from_slice(&self.random().to_le_bytes()[..4]);
            }
            let from = self.source();
            self.attackers.send(from, &datagram);
        }
        for _ in 0..flood.without_cookie {
            let recorded = usize::try_from(self.random()).unwrap() % self.recorded.len();
            let from = self.source();
            self.attackers.send(from, &self.recorded[recorded]);
        }
        for _ in 0..flood.never_finished {
            let (end, hands) = self.attacker();
            let init = hands.sends.borrow_mut().pop_front().unwrap();
            self.sources += 1;
            let [.., host, net] = self.sources.to_be_bytes();
            // One of 64 networks that the attacker owns.
            let from = Ipv4Addr::new(127, 200, net % 64, host);
            self.attackers.send(from, &init);
            self.waiting.insert(from, (end, hands));
        }
    }

    /// Whoever gets a cookie brings it at once. What else comes back is not looked at.
    fn answer_cookies(&mut self) {
        let mut buffer = [0; LARGEST];
        while let Some((len, at)) = self.attackers.recv(&mut buffer) {
            let Some((mut end, hands)) = self.waiting.remove(&at).filter(|_| len == 128) else { continue };
            hands.hears.borrow_mut().push_back(buffer[..len].to_vec());
            assert!(end.recv().unwrap().is_none());
            let again = hands.sends.borrow_mut().pop_front();
            self.attackers.send(at, &again.expect("a cookie is brought at once"));
        }
    }

    /// One call of the server's loop.
    fn serve(&mut self) {
        let Self { server, heard, books, .. } = self;
        let mut echo = [0; 64];
        let info = allocation_counter::measure(|| {
            while let Some((id, message)) = server.recv() {
                let len = message.len();
                echo[..len].copy_from_slice(&message);
                heard[usize::from(echo[0])] += 1;
                if let Some(mut peer) = server.peer(id) {
                    peer.send_payload(Guarantee::None, &echo[..len]).unwrap();
                }
            }
            while let Some((id, event)) = server.poll_event() {
                if let Event::Join { address, .. } = event {
                    // Its path is proven: every RESP went there.
                    books.borrow_mut().served.insert(address);
                    assert!(server.accept(id));
                }
            }
            server.maintain();
        });
        self.highest = self.highest.max(self.heap + i64::try_from(info.bytes_max).unwrap());
        self.heap += info.bytes_current;
    }

    fn hear_players(&mut self) {
        for player in &mut self.players {
            while let Some(echo) = player.recv().unwrap() {
                let said = u32::from_le_bytes(echo[1..5].try_into().unwrap());
                self.slowest = self.slowest.max(self.step - said);
                self.echoed += 1;
            }
            player.maintain().unwrap();
        }
    }

    /// A millisecond: the flood, then everybody who is in says something, and the server is called once.
    fn pass(&mut self, flood: Flood) {
        self.step += 1;
        self.clock.advance();
        self.send_flood(flood);
        let speaking: Vec<bool> = self.players.iter().map(Player::is_connected).collect();
        for (index, player) in self.players.iter_mut().enumerate().filter(|(index, _)| speaking[*index]) {
            let [a, b, c, d] = self.step.to_le_bytes();
            player.send_payload(Guarantee::None, &[u8::try_from(index).unwrap(), a, b, c, d]).unwrap();
            player.flush().unwrap();
            self.said += 1;
        }
        self.heard = [0; PLAYERS];
        self.serve();
        for (index, _) in speaking.iter().enumerate().filter(|(_, speaks)| **speaks) {
            assert_eq!(
                self.heard[index], 1,
                "step {}: what player {index} said is served in this call",
                self.step
            );
        }
        self.answer_cookies();
        self.hear_players();
        for Joiner { player, joined, .. } in &mut self.joiners {
            assert!(player.recv().unwrap().is_none());
            player.maintain().unwrap();
            if joined.is_none() && player.is_connected() {
                *joined = Some(self.step);
            }
        }
    }

    /// Five seconds of it, in which six players want to join. Gives the Diffie-Hellman operations after the first second.
    fn endure(&mut self, what: &str, flood: Flood) -> u64 {
        let mut early = 0;
        for step in 0..LAST {
            if step % (LAST / JOINERS) == 200 {
                let player = self.dial(PLAYERS + self.joiners.len());
                self.joiners.push(Joiner { player, dialled: self.step, joined: None });
            }
            if step == 1_000 {
                early = self.dh();
            }
            self.pass(flood);
        }
        for _ in 0..100_000 {
            self.hear_players();
            if self.said == self.echoed {
                break;
            }
            std::thread::yield_now();
        }
        let took: Vec<_> = self
            .joiners
            .iter()
            .map(|joiner| joiner.joined.map_or(u32::MAX, |joined| joined - joiner.dialled))
            .collect();
        println!(
            "{what}: {} sources, growth {} bytes, at most {}, joins after {took:?} ms, echoes after at most {} ms\n  {:?}",
            self.sources,
            self.heap,
            self.highest,
            self.slowest,
            self.server.flood_stats()
        );
        assert_eq!(self.said, self.echoed, "{what}: every word came back");
        assert!(took.iter().all(|&took| took <= 3_000), "{what}: {took:?}");
        assert!(self.highest <= 512 << 10, "{what}: grew by {} bytes", self.highest);
        assert_eq!(self.server.len(), PLAYERS + self.joiners.len());
        self.dh() - early
    }

    fn dh(&self) -> u64 {
        self.server.flood_stats().dh_operations
    }
}

/// With cookies for all from the beginning.
fn asking_all() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.flood.require_cookie = true;
    config
}

/// How many joined so far.
fn joins(count: u32) -> u64 {
    u64::from(count) * JOIN
}

#[test]
fn garbage_costs_no_diffie_hellman_and_keeps_nobody_out() {
    let mut scene = Scene::new(ServerConfig::default());
    let before = scene.dh();
    scene.endure("garbage", GARBAGE);
    assert_eq!(scene.dh() - before, joins(JOINERS));
    assert_eq!(scene.sources, 100_000);
    assert_eq!(scene.server.flood_stats().cookies_sent, 0, "garbage is no load that asks for cookies");
}

#[test]
fn with_cookies_for_all_inits_without_one_cost_no_diffie_hellman() {
    let mut scene = Scene::new(asking_all());
    let before = scene.dh();
    scene.endure("without cookies, asked of all", WITHOUT_COOKIE);
    assert_eq!(scene.dh() - before, joins(JOINERS));
}

#[test]
fn inits_without_cookies_cost_no_diffie_hellman_once_cookies_are_asked() {
    let mut scene = Scene::new(ServerConfig::default());
    // One joins in the first second.
    let later = scene.endure("without cookies", WITHOUT_COOKIE);
    assert_eq!(later, joins(JOINERS - 1));
}

#[test]
fn handshakes_that_nobody_finishes_stay_within_their_budget() {
    let mut scene = Scene::new(ServerConfig::default());
    let later = scene.endure("never finished", NEVER_FINISHED);
    assert!(later <= 4_100, "{later}");
}

#[test]
fn everything_at_once_from_a_hundred_thousand_sources_keeps_nobody_out() {
    let mut scene = Scene::new(ServerConfig::default());
    let later = scene.endure("all", ALL);
    assert!(later <= 4_100, "{later}");
    assert!(scene.sources >= 100_000);
}
