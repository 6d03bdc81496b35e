//! Only invited players get in: tickets at the door of a server, players who are sent to another one, and players whose
//! server restarts.

mod common;
#[path = "common/server.rs"]
mod host;

use std::{net::SocketAddr, time::Duration};

use common::{End, environment, keys};
use host::{Host, Scene, home, port};
use sealgram::{
    Admission, CloseReason, Config, Credentials, Dialled, Event, Guarantee, RedirectError, Sealed,
    SealedEndpoint, SealedServer, SecretKey, ServerConfig, StartError, Ticket, TicketAddress, TicketBuilder,
    TicketError, TicketGrant, TicketKey, TicketKeys, TicketProfile, Trust,
    sim::{Link, Net},
};

const NOW: u64 = 2_000_000_000;
/// What a player is told who does not get in.
const NOT_INVITED: u16 = 40;

fn link() -> Link {
    let mut link = Link::default();
    link.delay = Duration::from_millis(25);
    link
}

fn player_key(index: usize) -> SecretKey {
    let [own, _] = keys(0x2000 + index as u64);
    own
}

/// The game's backend, which shares a key with its servers.
fn backend(byte: u8) -> TicketKey {
    TicketKey::from_bytes([byte; 32])
}

/// A ticket for the server with this key.
fn offer(server: &SecretKey) -> TicketBuilder {
    Ticket::builder(TicketProfile::ClientAuth, server.public_key())
        .expires(NOW + 60)
        .address(TicketAddress::Ip(port()))
}

fn grant(player: &SecretKey) -> TicketGrant<'static> {
    TicketGrant { id: [7; 16], player: Some(player.public_key()), issued: NOW, user_data: b"team blue" }
}

/// Who stands at the door and looks at tickets.
struct Door {
    keys: TicketKeys,
    unix_now: u64,
    revoked: bool,
    seen: usize,
    judged: Vec<Result<Admission, TicketError>>,
}

impl Door {
    fn new(now: u64) -> Self {
        let keys = TicketKeys::new(backend(1));
        Self { keys, unix_now: now, revoked: false, seen: 0, judged: Vec::new() }
    }

    fn look(&mut self, host: &mut Host) {
        for (id, event) in &host.events[self.seen..] {
            let Event::Join { ticket, .. } = event else { continue };
            let judged = host.server.admission(*id, ticket, &self.keys, self.unix_now, |_| self.revoked);
            match &judged {
                Ok(_) => assert!(host.server.accept(*id)),
                Err(error) => assert!(host.server.kick(*id, NOT_INVITED, error.to_string().as_bytes())),
            }
            self.judged.push(judged);
        }
        self.seen = host.events.len();
    }
}

fn scene(seed: u64) -> Scene {
    let mut scene = Scene::new(seed, link(), &ServerConfig::default());
    scene.host.admits = false;
    scene
}

fn from_ticket(net: &Net, at: SocketAddr, ticket: &Ticket, own: &SecretKey) -> End<Sealed> {
    let [TicketAddress::Ip(to)] = ticket.addresses() else { panic!() };
    let socket = net.socket(at).connect(*to);
    let config = Config::default();
    let mut endpoint =
        SealedEndpoint::from_ticket_with_environment(socket, ticket, own, config, environment(net, at))
            .unwrap();
    endpoint.connect().unwrap();
    End::new(endpoint)
}

/// What becomes of a player who shows this.
fn verdict(mut door: Door, ticket: impl FnOnce(&SecretKey) -> Vec<u8>) -> Result<Admission, TicketError> {
    let mut scene = scene(1);
    let ticket = ticket(&scene.host.key);
    let credentials = Credentials::client_auth(&player_key(0), scene.host.key.public_key()).unwrap();
    scene.join_with(credentials.with_ticket(&ticket).unwrap(), &Config::default());
    let done = scene.run_until(Duration::from_secs(3), |scene| {
        door.look(&mut scene.host);
        scene.players[0].endpoint.is_connected() || scene.players[0].closed.is_some()
    });
    assert!(done && door.judged.len() == 1);
    let judged = door.judged.remove(0);
    let told = judged.is_err().then_some(CloseReason::ClosedByPeer { code: NOT_INVITED });
    assert_eq!(scene.players[0].closed, told);
    assert_eq!(scene.host.server.len(), usize::from(judged.is_ok()));
    judged
}

#[test]
fn a_player_with_a_ticket_gets_in_and_the_server_knows_what_the_backend_says_of_him() {
    let mut scene = scene(2);
    let own = player_key(0);
    let text = offer(&scene.host.key).seal(&backend(1), &grant(&own)).unwrap().to_string();
    let player = from_ticket(&scene.net, home(0), &text.parse().unwrap(), &own);
    scene.players.push(player);
    let mut door = Door::new(NOW);
    let joined = scene.run_until(Duration::from_secs(1), |scene| {
        door.look(&mut scene.host);
        scene.players[0].endpoint.is_connected()
    });
    assert!(joined);
    let admission = door.judged[0].as_ref().unwrap();
    assert_eq!((admission.id, admission.user_data.as_slice()), ([7; 16], &b"team blue"[..]));
    assert_eq!(admission.player, Some(own.public_key()));
}

#[test]
fn nobody_else_gets_in_and_everybody_is_told() {
    let own = player_key(0);
    let sealed = |server: &SecretKey| offer(server).seal(&backend(1), &grant(&own)).unwrap();
    let bytes = |ticket: Ticket| ticket.as_bytes().to_vec();
    assert!(verdict(Door::new(NOW), |server| bytes(sealed(server))).is_ok());

    let stolen = |server: &SecretKey| offer(server).seal(&backend(1), &grant(&player_key(1))).unwrap();
    assert_eq!(verdict(Door::new(NOW), |server| bytes(stolen(server))), Err(TicketError::WrongPlayer));
    assert_eq!(verdict(Door::new(NOW + 90), |server| bytes(sealed(server))), Err(TicketError::Expired));
    let [other, _] = keys(99);
    assert_eq!(verdict(Door::new(NOW), |_| bytes(sealed(&other))), Err(TicketError::WrongServer));
    let mut revoking = Door::new(NOW);
    revoking.revoked = true;
    assert_eq!(verdict(revoking, |server| bytes(sealed(server))), Err(TicketError::Revoked));
    let self_made = |server: &SecretKey| offer(server).seal(&backend(2), &grant(&own)).unwrap();
    assert_eq!(verdict(Door::new(NOW), |server| bytes(self_made(server))), Err(TicketError::WrongSeal));
    let unsealed = |server: &SecretKey| offer(server).build().unwrap();
    assert_eq!(verdict(Door::new(NOW), |server| bytes(unsealed(server))), Err(TicketError::NotSealed));
    let routed =
        |server: &SecretKey| offer(server).route(b"elsewhere").seal(&backend(1), &grant(&own)).unwrap();
    assert_eq!(verdict(Door::new(NOW), |server| bytes(routed(server))), Err(TicketError::WrongRoute));
    assert!(verdict(Door::new(NOW), |_| Vec::new()).is_err(), "without a ticket");
    assert!(verdict(Door::new(NOW), |_| vec![0xff; 1_024]).is_err(), "with nonsense of full length");
}

#[test]
fn a_ticket_that_wants_a_psk_says_so_before_anything_is_sent() {
    let scene = scene(3);
    let ticket = Ticket::builder(TicketProfile::ClientAuthPsk, scene.host.key.public_key()).build().unwrap();
    let socket = scene.net.socket(home(0)).connect(port());
    let refused = SealedEndpoint::from_ticket(socket, &ticket, &player_key(0), None, Config::default());
    assert!(matches!(refused, Err(StartError::Ticket(TicketError::Psk))));
}

/// Where the second server of the fleet is.
fn second_port() -> SocketAddr {
    home(500)
}

/// It has a key of its own.
fn second_host(net: &Net) -> Host {
    let [key, _] = keys(77);
    let server = SealedServer::with_environment(
        net.socket(second_port()),
        Credentials::server_auth(&key, Trust::Anyone),
        ServerConfig::default(),
        environment(net, second_port()),
    )
    .unwrap();
    Host { server, key, events: Vec::new(), heard: Vec::new(), admits: false, echoes: false }
}

fn redirects(player: &End<Sealed>) -> Vec<Vec<u8>> {
    let tickets = player.events.iter().filter_map(|event| match event {
        Event::Redirected { ticket } => Some(ticket.to_vec()),
        _ => None,
    });
    tickets.collect()
}

#[test]
fn a_redirect_moves_a_player_to_another_server_and_nothing_comes_over() {
    let mut bad = link();
    bad.loss = 0.2;
    let mut scene = Scene::new(4, bad, &ServerConfig::default());
    scene.host.admits = false;
    let [second_key, _] = keys(77);
    let mut second = second_host(&scene.net);
    let mut doors = [Door::new(NOW), Door::new(NOW)];
    let mut run = |scene: &mut Scene, second: &mut Host, seconds: u32| {
        for _ in 0..seconds * 100 {
            second.step();
            doors[1].look(second);
            let door = &mut doors[0];
            scene.run_until(Duration::from_millis(10), |scene| {
                door.look(&mut scene.host);
                false
            });
        }
    };

    let own = player_key(0);
    let first_ticket = offer(&scene.host.key).server(second_key.public_key());
    let first_ticket = first_ticket.seal(&backend(1), &grant(&own)).unwrap();
    let player = from_ticket(&scene.net, home(0), &first_ticket, &own);
    scene.players.push(player);
    run(&mut scene, &mut second, 3);
    assert!(scene.players[0].endpoint.is_connected());

    let id = scene.host.server.peers().next().unwrap();
    let to_second = Ticket::builder(TicketProfile::ClientAuth, second_key.public_key())
        .expires(NOW + 60)
        .address(TicketAddress::Ip(second_port()))
        .seal(&backend(1), &grant(&own))
        .unwrap();
    // What carries it is lost at first.
    scene.net.block(port(), home(0));
    assert!(scene.host.server.redirect(id, &to_second));
    assert!(!scene.host.server.redirect(id, &to_second), "once in a session");
    run(&mut scene, &mut second, 1);
    scene.net.unblock(port(), home(0));
    run(&mut scene, &mut second, 3);
    let redirects = redirects(&scene.players[0]);
    assert_eq!(redirects, [to_second.as_bytes()]);
    assert!(scene.players[0].endpoint.is_connected(), "the old session goes on");

    // The player follows: a new endpoint, and the old session ends when the new one is there.
    let heard = Ticket::from_bytes(&redirects[0]).unwrap();
    let dialled = Dialled::from(&first_ticket);
    assert_eq!(dialled.may_follow(&heard), Ok(()));
    let strange = Ticket::builder(TicketProfile::ClientAuth, keys(5)[0].public_key())
        .address(TicketAddress::Ip(second_port()));
    assert_eq!(dialled.may_follow(&strange.build().unwrap()), Err(RedirectError::OtherServer));
    let follower = from_ticket(&scene.net, home(1), &heard, &own);
    scene.players.push(follower);
    run(&mut scene, &mut second, 3);
    assert!(scene.players[1].endpoint.is_connected());
    scene.net.block(home(0), port());
    let lost = scene.players[0].endpoint.send_payload(Guarantee::Delivery, b"to the old one").unwrap();
    run(&mut scene, &mut second, 1);
    scene.players[0].endpoint.close(0, b"");
    scene.net.unblock(home(0), port());
    scene.players[1].endpoint.send_payload(Guarantee::Delivery, b"to the new one").unwrap();
    run(&mut scene, &mut second, 2);
    let Some(Event::Closed { undelivered, .. }) = scene.players[0].events.last() else { panic!() };
    assert_eq!(undelivered, &[lost]);
    assert!(scene.host.heard.is_empty());
    assert_eq!(second.heard.len(), 1);
    assert_eq!(second.heard[0].2, b"to the new one");
    assert!(doors.iter().all(|door| door.judged.len() == 1 && door.judged[0].is_ok()));
}

#[test]
fn players_of_a_restarted_server_rejoin_at_once_with_the_same_ticket() {
    let mut scene = scene(5);
    for index in 0..5 {
        let own = player_key(index);
        let ticket = offer(&scene.host.key).seal(&backend(1), &grant(&own)).unwrap();
        let player = from_ticket(&scene.net, home(index), &ticket, &own);
        scene.players.push(player);
    }
    scene.net.record(true);
    let mut door = Door::new(NOW);
    scene.run_until(Duration::from_secs(2), |scene| {
        door.look(&mut scene.host);
        false
    });
    assert_eq!(scene.host.counts(), (5, 0));
    for player in &mut scene.players {
        player.endpoint.send_payload(Guarantee::Delivery, b"before").unwrap();
    }
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.host.heard.len(), 5);
    let old: Vec<_> = scene.net.captured().into_iter().filter(|each| each.to == port()).collect();

    let [key, _] = keys(5);
    scene.host = Scene::host(&scene.net, key, &ServerConfig::default());
    scene.host.admits = false;
    let mut door = Door::new(NOW);
    let mut lost = Vec::new();
    for player in &mut scene.players {
        lost.push(player.endpoint.send_payload(Guarantee::Delivery, b"into the void").unwrap());
    }
    let began = scene.net.now();
    let back = scene.run_until(Duration::from_secs(10), |scene| {
        door.look(&mut scene.host);
        scene.host.counts().0 == 5
    });
    assert!(back, "{:?}", scene.host.counts());
    assert!(scene.net.now() - began < Duration::from_secs(5), "sooner than the idle timeout");
    scene.run(Duration::from_secs(1));
    assert!(door.judged.iter().all(Result::is_ok));
    for (player, lost) in scene.players.iter().zip(lost) {
        let told = player.events.iter().any(
            |event| matches!(event, Event::PeerReconnected { undelivered, .. } if *undelivered == [lost]),
        );
        assert!(told, "{:?}", player.events);
    }
    // Nothing of the old sessions counts, whoever sends it again.
    for datagram in old {
        scene.net.inject(datagram.from, port(), &datagram.bytes);
    }
    scene.run_until(Duration::from_secs(6), |scene| {
        door.look(&mut scene.host);
        false
    });
    assert!(scene.host.heard.is_empty());
    assert_eq!((scene.host.counts(), door.judged.len()), ((5, 0), 5));
}
