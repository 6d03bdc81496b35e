//! Nothing on the wire between two sealed endpoints is constant or predictable: a chi-squared test of the bytes of every
//! kind of datagram, of each byte against the same byte of the datagram before, and of every bit; and no eight
//! bytes in a row come twice.
//!
//! `cargo test` looks at 20,000 datagrams of each kind. `SEALGRAM_FULL=1 cargo test --release --test
//! wire_looks_random` looks at 100,000.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sealgram::sim::Rng;
use sealgram::{
    Config, Credentials, Endpoint, Environment, Guarantee, Invite, Sealed, SealedServer, SecretKey,
    ServerConfig, Trust, UdpLike, fuzzing::EvilHandshake, sim::Net,
};

/// A socket that the test holds: what it gives, and what it took.
#[derive(Clone, Default)]
struct Hands {
    gives: Arc<Mutex<VecDeque<Vec<u8>>>>,
    took: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl UdpLike for Hands {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.took.lock().unwrap().push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.gives.lock().unwrap().pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        buffer[..datagram.len()].copy_from_slice(&datagram);
        Ok(datagram.len())
    }
}

/// An endpoint whose datagrams pass through the test's hands, and whose clock does so too.
struct Peer {
    hands: Hands,
    clock: Arc<AtomicU64>,
    endpoint: Endpoint<Hands, Sealed>,
}

impl Peer {
    fn new(origin: Instant, seed: u64, credentials: Credentials) -> Self {
        let (hands, clock) = (Hands::default(), Arc::<AtomicU64>::default());
        let time = Arc::clone(&clock);
        let now = move || origin + Duration::from_millis(time.load(Ordering::Relaxed));
        let environment = Environment::new(now, Rng::seed(seed));
        let endpoint =
            Endpoint::with_environment(hands.clone(), credentials, Config::default(), environment).unwrap();
        Self { hands, clock, endpoint }
    }

    fn wait(&mut self, millis: u64) -> Vec<Vec<u8>> {
        self.clock.fetch_add(millis, Ordering::Relaxed);
        let _ = self.endpoint.maintain();
        self.said()
    }

    fn hear(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.hands.gives.lock().unwrap().push_back(datagram.to_vec());
        while let Ok(Some(_)) = self.endpoint.recv() {}
        self.said()
    }

    fn said(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.hands.took.lock().unwrap())
    }

    /// Sends the same four messages, each in its own datagram.
    fn talk(&mut self) -> Vec<Vec<u8>> {
        for _ in 0..4 {
            self.endpoint.send_payload(Guarantee::None, &[0; 48]).unwrap();
            self.endpoint.flush().unwrap();
        }
        self.said()
    }
}

/// The bytes that are looked at: all at the head and the tail, some in the middle of long datagrams.
fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |&place| place < 64 || place + 16 >= len || place % 16 == 0)
}

/// What is known of one kind of datagram.
struct Kind {
    name: &'static str,
    len: usize,
    count: usize,
    /// How often each value stood at each place, and how often it was the difference to the datagram before.
    values: Vec<[u32; 256]>,
    changes: Vec<[u32; 256]>,
    ones: u64,
    last: Vec<u8>,
    windows: Vec<u64>,
}

impl Kind {
    fn new(name: &'static str) -> Self {
        let (values, changes) = (Vec::new(), Vec::new());
        Self { name, len: 0, count: 0, values, changes, ones: 0, last: Vec::new(), windows: Vec::new() }
    }

    fn note(&mut self, datagram: &[u8]) {
        if self.count == 0 {
            self.len = datagram.len();
            self.values = vec![[0; 256]; self.len];
            self.changes = vec![[0; 256]; self.len];
        }
        assert_eq!(datagram.len(), self.len, "{} has one length here", self.name);
        for place in places(self.len) {
            let byte = datagram[place];
            self.values[place][usize::from(byte)] += 1;
            if let Some(last) = self.last.get(place) {
                self.changes[place][usize::from(byte.wrapping_sub(*last))] += 1;
            }
        }
        self.ones += datagram.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
        self.last = datagram.to_vec();
        self.count += 1;
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let (head, tail) = (&datagram[..self.len.min(64)], &datagram[self.len.saturating_sub(16)..]);
        self.windows.extend(head.windows(8).map(word));
        if self.len >= 80 {
            self.windows.extend(tail.windows(8).map(word));
        }
    }

    /// 255 degrees of freedom: a fair byte exceeds 415 once in a billion times.
    fn judge(&mut self) {
        for (what, tables, count) in
            [("value", &self.values, self.count), ("change", &self.changes, self.count - 1)]
        {
            let expected = count as f64 / 256.0;
            for place in places(self.len) {
                let table = &tables[place];
                let chi: f64 =
                    table.iter().map(|&seen| (f64::from(seen) - expected).powi(2) / expected).sum();
                assert!(chi < 415.0, "{}, byte {place} of {}: {what} {chi:.0}", self.name, self.len);
                assert!(chi > 150.0, "{}, byte {place}: {what} is too even, {chi:.0}", self.name);
            }
        }
        let bits = (self.count * self.len * 8) as f64;
        let off = (self.ones as f64 - bits / 2.0).abs() / (bits / 4.0).sqrt();
        assert!(off < 6.0, "{}: {off} deviations too many ones or zeros", self.name);
    }
}

/// One session of each seed, and of all it says the same number of datagrams of each kind.
fn one_session(origin: Instant, seed: u64, credentials: [Credentials; 2], kinds: &mut [Kind; 6]) {
    let [first, second] = credentials;
    let mut a = Peer::new(origin, seed * 2, first);
    let mut b = Peer::new(origin, seed * 2 + 1, second);
    let [inits, resps, fins, confirms, packets, closes] = kinds;
    a.endpoint.connect().unwrap();
    let mut init = a.said();
    for millis in [700, 1_000] {
        init.extend(a.wait(millis));
    }
    let resp: Vec<_> = init.iter().flat_map(|init| b.hear(init)).collect();
    assert_eq!((init.len(), resp.len()), (3, 3), "seed {seed}");
    let mut last = a.hear(&resp[0]);
    for _ in 0..2 {
        last.extend(a.wait(300));
    }
    let flight = last.len() / 3;
    for datagrams in last.chunks(flight) {
        confirms.note(datagrams.last().unwrap());
        if flight == 2 {
            fins.note(&datagrams[0]);
        }
    }
    for datagram in &last[..flight] {
        b.hear(datagram);
    }
    assert!(b.endpoint.is_connected(), "seed {seed}");
    // Three of four: the first one carries more than the message.
    let packet = b.talk();
    assert_eq!(packet.len(), 4, "seed {seed}");
    b.endpoint.close(0, b"bye");
    let close = b.said();
    assert_eq!(close.len(), 3, "seed {seed}");
    for (kind, datagrams) in
        [(inits, &init[..]), (resps, &resp[..]), (packets, &packet[1..]), (closes, &close[..])]
    {
        datagrams.iter().for_each(|datagram| kind.note(datagram));
    }
}

fn assert_random(base: u64, sessions: u64, credentials: impl Fn() -> [Credentials; 2]) {
    let mut kinds = ["INIT", "RESP", "FIN", "CONFIRM", "data", "CLOSE"].map(Kind::new);
    let origin = origin();
    for seed in 0..sessions {
        one_session(origin, base + seed, credentials(), &mut kinds);
    }
    let mut windows = Vec::new();
    for kind in kinds.iter_mut().filter(|kind| kind.count > 0) {
        assert_eq!(kind.count as u64, sessions * 3, "{}", kind.name);
        kind.judge();
        windows.append(&mut kind.windows);
    }
    let all = windows.len();
    windows.sort_unstable();
    windows.dedup();
    assert_eq!(windows.len(), all, "eight bytes in a row came twice");
}

/// Three datagrams of each kind are of one session.
fn sessions() -> u64 {
    let datagrams = if std::env::var_os("SEALGRAM_FULL").is_some() { 100_000 } else { 20_000 };
    datagrams / 3 + 1
}

#[expect(clippy::disallowed_methods, reason = "virtual time counts from any instant")]
fn origin() -> Instant {
    Instant::now()
}

#[test]
fn no_byte_of_a_session_by_invite_is_constant_or_predictable() {
    let invite = || Credentials::invite(&Invite::from_bytes([5; 32]));
    assert_random(1 << 32, sessions(), || [invite(), invite()]);
}

#[test]
fn no_byte_of_a_session_with_a_third_message_is_constant_or_predictable() {
    let keys = [1, 2].map(|byte| SecretKey::from_bytes([byte; 32]));
    let tofu = |own: usize| Credentials::tofu(&keys[own], Trust::Anyone);
    assert_random(2 << 32, sessions(), || [tofu(0), tofu(1)]);
}

#[test]
fn no_byte_of_a_session_by_keys_is_constant_or_predictable() {
    let keys = [1, 2].map(|byte| SecretKey::from_bytes([byte; 32]));
    let paired = |own: usize| Credentials::paired(&keys[own], keys[1 - own].public_key()).unwrap();
    // The same packets as above, behind another first message: a tenth of the datagrams will do.
    assert_random(3 << 32, sessions() / 10, || [paired(0), paired(1)]);
}

/// A COOKIE comes from servers only, and the same INIT again is asked for one again: all that is fresh is the envelope.
#[test]
fn no_byte_of_a_cookie_is_constant_or_predictable() {
    let (net, port) = (Net::seed(4 << 32), ([10, 0, 0, 1], 7_777).into());
    let clock = net.clone();
    let environment = Environment::new(move || clock.now(), net.rng(port));
    let (server, client) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
    let mut config = ServerConfig::default();
    config.flood.require_cookie = true;
    let credentials = Credentials::server_auth(&server, Trust::Anyone);
    let mut host =
        SealedServer::with_environment(net.socket(port), credentials, config, environment).unwrap();
    let credentials = Credentials::client_auth(&client, server.public_key()).unwrap();
    let mut player = EvilHandshake::new(&credentials, true, b"", b"", 1).unwrap();
    // PROTOCOL.md, "Envelope": the body of an INIT without a cookie.
    let noise = player.message(&[0; 24]).unwrap();
    let len = u8::try_from(noise.len()).unwrap();
    let mut body = [&[1, 1][..], &[0; 32], &[len, 0], &noise].concat();
    body.resize(1_200 - 40, 0);

    let mut kind = Kind::new("COOKIE");
    net.record(true);
    for number in 0..sessions() * 3 {
        net.inject(([10, 0, 0, 2], 5_000).into(), port, &player.envelope(true, &[], &body));
        assert!(host.recv().is_none());
        host.maintain();
        let said = net.captured();
        assert_eq!((said.len(), said[0].bytes.len()), (1, 128), "datagram {number}");
        kind.note(&said[0].bytes);
        net.advance(Duration::from_micros(100));
    }
    kind.judge();
    let all = kind.windows.len();
    kind.windows.sort_unstable();
    kind.windows.dedup();
    assert_eq!(kind.windows.len(), all, "eight bytes in a row came twice");
}
