//! A fleet behind one address, over real sockets: what `examples/fleet` shows with a real balancer, with one that stands
//! in for it (PROTOCOL.md, "Route", "Roaming", "Redirect").
#![expect(clippy::disallowed_methods, reason = "real sockets live in real time")]

#[path = "../examples/fleet/story/mod.rs"]
mod story;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use sealgram::Flood;
use story::{Plan, StandIn};

const PLAYERS: usize = 1_000;
/// Longer than the silence after which players dial anew: the sessions stay all the same.
const DARK: Duration = Duration::from_millis(2000);
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn a_thousand_players_behind_one_address_lose_neither_session_nor_message() {
    let plan = Plan {
        players: PLAYERS,
        home: HOME,
        interval: Duration::from_secs(1),
        words: 1,
        dark: DARK,
        flood: Flood::default(),
    };
    let figures = story::run(plan, |places| StandIn::before(HOME, places)).unwrap();
    println!("{}", figures.json());
    assert_eq!(figures.broken(), Vec::<String>::new());
    assert_eq!(figures.path_changes, PLAYERS, "each player has another port since the balancer came back");
    assert!(figures.sent > 4 * PLAYERS as u64, "everybody spoke in each part: {}", figures.sent);
}

#[test]
fn players_behind_a_balancer_that_the_server_knows_have_no_share_in_common() {
    let mut flood = Flood::default();
    flood.sessions_per_prefix = Some(2);
    flood.proxies = vec![HOME];
    let plan =
        Plan { players: 64, home: HOME, interval: Duration::from_millis(250), words: 2, dark: DARK, flood };
    let figures = story::run(plan, |places| StandIn::before(HOME, places)).unwrap();
    assert_eq!(figures.broken(), Vec::<String>::new());
    assert_eq!(figures.path_changes, 64);
}
