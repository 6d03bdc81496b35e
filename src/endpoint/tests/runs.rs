//! Several datagrams by one call, over a socket in memory that carries them so, and that fails on command.

use super::{inbox::Inbox, outbox::Outbox, *};

/// Carries runs out and in.
struct Cart {
    inner: MemorySocket,
    log: Arc<Mutex<Log>>,
    /// Read, but of another size than the run before.
    over: Option<Vec<u8>>,
}

#[derive(Default)]
struct Log {
    /// Outcomes of the next runs: how many datagrams are taken, or the failure. All are taken when it is empty.
    runs: VecDeque<Result<usize, Failure>>,
    /// Outcomes of the next single datagrams, as long as there are any.
    singles: VecDeque<Failure>,
    /// Every run is refused.
    refuses: bool,
    /// Reads are never joined.
    reads_alone: bool,
    /// Datagrams in each run that was tried, and the first of them.
    tried: Vec<(usize, Vec<u8>)>,
    sent_alone: usize,
    asked_to_join: usize,
    /// Datagrams in each run that was read.
    read: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Failure {
    Kind(io::ErrorKind),
    TooLarge,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Kind(kind) => kind.into(),
            Failure::TooLarge => Self::from_raw_os_error(if cfg!(windows) {
                10_040
            } else if cfg!(any(target_os = "linux", target_os = "android")) {
                90
            } else {
                40
            }),
        }
    }
}

impl UdpLike for Cart {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let mut log = self.log.lock().unwrap();
        if let Some(failure) = log.singles.pop_front() {
            return Err(failure.into());
        }
        log.sent_alone += 1;
        self.inner.send(datagram)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.recv(buffer)
    }

    fn largest_run(&self) -> usize {
        // More than an endpoint uses.
        1_000
    }

    fn send_run(&mut self, datagrams: &[u8], size: usize) -> io::Result<usize> {
        let all: Vec<_> = datagrams.chunks(size).collect();
        assert!(all.len() > 1 && all.len() <= 64 && datagrams.len() <= 65_507);
        let mut log = self.log.lock().unwrap();
        log.tried.push((all.len(), all[0].to_vec()));
        if log.refuses {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let taken = log.runs.pop_front().transpose()?.unwrap_or(all.len()).min(all.len());
        for datagram in &all[..taken] {
            self.inner.send(datagram)?;
        }
        Ok(taken)
    }

    fn join_reads(&mut self) -> bool {
        let mut log = self.log.lock().unwrap();
        log.asked_to_join += 1;
        !log.reads_alone
    }

    fn recv_run(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
        assert_eq!(buffer.len(), 65_535);
        let mut next = |inner: &mut MemorySocket, buffer: &mut [u8]| match self.over.take() {
            Some(over) => {
                buffer[..over.len()].copy_from_slice(&over);
                Ok(over.len())
            }
            None => inner.recv(buffer),
        };
        let size = next(&mut self.inner, buffer)?;
        let (mut len, mut count) = (size, 1);
        while count < 64 && len + 2_000 < buffer.len() {
            let Ok(each) = next(&mut self.inner, &mut buffer[len..]) else { break };
            if each > size || size == 0 || each == 0 {
                self.over = Some(buffer[len..len + each].to_vec());
                break;
            }
            (len, count) = (len + each, count + 1);
            if each < size {
                break;
            }
        }
        self.log.lock().unwrap().read.push(count);
        Ok((len, size))
    }
}

struct Carts {
    now: Arc<Mutex<Instant>>,
    ends: [SealedEndpoint<Cart>; 2],
    logs: [Arc<Mutex<Log>>; 2],
}

impl Carts {
    /// A live session; nothing is logged of how it began.
    fn connected() -> Self {
        let now = Arc::new(Mutex::new(Environment::os().now()));
        let logs = [(); 2].map(|()| Arc::<Mutex<Log>>::default());
        let keys = [1, 2].map(|seed| SecretKey::from_bytes([seed; 32]));
        let (one, two) = memory_pair();
        let mut side = 0;
        let ends = [one, two].map(|inner| {
            let (own, peer) = (&keys[side], keys[1 - side].public_key());
            let (clock, log) = (Arc::clone(&now), Arc::clone(&logs[side]));
            side += 1;
            let random = ChaCha8Rng::seed_from_u64(side as u64);
            let environment = Environment::new(move || *clock.lock().unwrap(), random);
            let cart = Cart { inner, log, over: None };
            let credentials = Credentials::paired(own, peer).unwrap();
            Endpoint::make_sealed(cart, credentials, config(), environment).unwrap()
        });
        let mut carts = Self { now, ends, logs };
        carts.ends[0].connect().unwrap();
        carts.run(Duration::from_secs(1));
        assert!(carts.ends.iter().all(Endpoint::is_connected));
        for log in &carts.logs {
            *log.lock().unwrap() = Log::default();
        }
        carts
    }

    fn log(&self, side: usize) -> std::sync::MutexGuard<'_, Log> {
        self.logs[side].lock().unwrap()
    }

    /// What the second has heard in this time.
    fn run(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        for _ in 0..time.as_millis() / 5 + 1 {
            for end in &mut self.ends {
                while let Some(message) = end.recv().unwrap() {
                    heard.push(message.to_vec());
                }
                end.maintain().unwrap();
            }
            *self.now.lock().unwrap() += Duration::from_millis(5);
        }
        heard
    }

    /// Messages 0 to 200 of 1,000 bytes from the first, queued and flushed.
    fn send_bulk(&mut self) {
        for n in 0..200_u8 {
            self.ends[0].send_payload(Guarantee::Delivery, &[n; 1_000]).unwrap();
        }
        self.ends[0].flush().unwrap();
    }
}

/// All of [`Carts::send_bulk`], in order, once.
fn assert_bulk(heard: &[Vec<u8>]) {
    assert_eq!(heard.len(), 200);
    assert!((0..).zip(heard).all(|(n, message): (u8, _)| message[..] == [n; 1_000]));
}

#[test]
fn bulk_leaves_and_arrives_in_runs_and_a_lone_message_alone() {
    let mut carts = Carts::connected();
    for _ in 0..20 {
        carts.ends[0].send_payload(Guarantee::Delivery, b"ping").unwrap();
        carts.ends[0].flush().unwrap();
        assert_eq!(carts.run(Duration::from_millis(100)), [b"ping"]);
    }
    // Nor by who does not look whether more waits.
    for turn in 0..40 {
        carts.ends[turn % 2].send_payload(Guarantee::Delivery, b"pong").unwrap();
        carts.ends[turn % 2].flush().unwrap();
        assert_eq!(
            carts.ends[1 - turn % 2].recv().unwrap().map(|message| message.to_vec()),
            Some(b"pong".to_vec())
        );
    }
    assert!(carts.logs.iter().all(|log| log.lock().unwrap().tried.is_empty()), "nobody pays for runs");
    assert!(carts.logs.iter().all(|log| log.lock().unwrap().asked_to_join == 0));
    carts.send_bulk();
    assert_bulk(&carts.run(Duration::from_secs(5)));
    let (out, back) = (carts.log(0), carts.log(1));
    let carried: usize = out.tried.iter().map(|(count, _)| count).sum();
    assert!(carried > 120 && out.tried.len() <= carried / 4, "{carried} in {} runs", out.tried.len());
    assert!(back.asked_to_join == 1 && back.read.iter().any(|count| *count > 8), "{:?}", back.read);
    drop((out, back));
    for end in &carts.ends {
        assert_eq!((end.stats().drops.total(), end.stats().socket_errors.total()), (0, 0));
    }
    assert_eq!(carts.ends[0].stats().datagrams_sent, carts.ends[1].stats().datagrams_received);
    assert_eq!(carts.ends[0].stats().bytes_sent, carts.ends[1].stats().bytes_received);
}

#[test]
fn full_datagrams_wait_for_each_other_but_for_no_other_call() {
    let calls: [fn(&mut SealedEndpoint<Cart>); 4] = [
        |end| assert!(end.recv().unwrap().is_none()),
        |end| assert!(end.maintain().unwrap().is_some()),
        |end| end.flush().unwrap(),
        |end| end.close(0, b""),
    ];
    for call in calls {
        let mut carts = Carts::connected();
        let before = carts.ends[0].stats().datagrams_sent;
        for _ in 0..4 {
            carts.ends[0].send_payload(Guarantee::Order, &[7; 1_150]).unwrap();
        }
        assert_eq!(carts.ends[0].stats().datagrams_sent, before, "held");
        call(&mut carts.ends[0]);
        assert!(carts.ends[0].stats().datagrams_sent >= before + 3);
    }
}

#[test]
fn a_system_that_refuses_runs_is_asked_once_and_nothing_is_lost() {
    let mut carts = Carts::connected();
    carts.log(0).refuses = true;
    carts.log(1).reads_alone = true;
    for _ in 0..3 {
        carts.send_bulk();
        assert_bulk(&carts.run(Duration::from_secs(5)));
    }
    assert_eq!((carts.log(0).tried.len(), carts.log(1).asked_to_join), (1, 1));
    let stats = carts.ends[0].stats();
    assert_eq!((stats.socket_errors.total(), stats.packets.lost), (0, 0));
    assert_eq!(stats.datagrams_sent, carts.ends[1].stats().datagrams_received);
    assert_eq!(carts.ends[1].stats().drops.total(), 0);
}

#[test]
fn runs_are_refused_for_good_only_if_one_by_one_goes() {
    let mut carts = Carts::connected();
    carts.log(0).runs = [Err(Failure::Kind(io::ErrorKind::Unsupported))].into();
    // Twice each: the first may be about an earlier datagram.
    carts.log(0).singles = [Failure::TooLarge; 2].into();
    carts.send_bulk();
    assert_bulk(&carts.run(Duration::from_secs(5)));
    assert!(carts.log(0).tried.len() > 3, "it was the size, and not the run");
    assert_eq!(carts.ends[0].stats().socket_errors.too_large, 1);
}

#[test]
fn a_run_that_is_blocked_in_its_middle_goes_on_with_the_same_bytes() {
    let mut carts = Carts::connected();
    carts.log(0).runs = (0..40)
        .map(|n| if n % 2 == 0 { Ok(n % 3 + 1) } else { Err(Failure::Kind(io::ErrorKind::WouldBlock)) })
        .collect();
    carts.send_bulk();
    assert!(carts.ends[0].blocked);
    assert_bulk(&carts.run(Duration::from_secs(5)));
    let log = carts.log(0);
    assert!(log.runs.is_empty());
    // Who was blocked is tried again, byte for byte, as the next.
    let again = log.tried.windows(2).filter(|pair| pair[0].1 == pair[1].1).count();
    assert!(again >= 20, "{again}");
    drop(log);
    assert_eq!(carts.ends[1].stats().drops.total(), 0, "no number was used twice");
    assert_eq!(carts.ends[0].stats().datagrams_sent, carts.ends[1].stats().datagrams_received);
}

#[test]
fn a_failure_costs_one_datagram_of_a_run() {
    for (failure, lost) in [(Failure::Kind(io::ErrorKind::ConnectionRefused), 1), (Failure::TooLarge, 0)] {
        let mut carts = Carts::connected();
        carts.log(0).runs = [Err(failure)].into();
        carts.send_bulk();
        assert_bulk(&carts.run(Duration::from_secs(5)));
        let stats = carts.ends[0].stats();
        assert_eq!((stats.socket_errors.total(), stats.packets.lost), (1, lost));
    }
}

#[test]
fn what_is_held_leaves_by_the_socket_it_was_held_for() {
    let mut carts = Carts::connected();
    for _ in 0..4 {
        carts.ends[0].send_payload(Guarantee::Order, &[7; 1_150]).unwrap();
    }
    let log = Arc::<Mutex<Log>>::default();
    let cart = Cart { inner: memory_pair().0, log: Arc::clone(&log), over: None };
    let old = carts.ends[0].replace_socket(cart).unwrap();
    let held = carts.log(0).tried.clone();
    assert!(held.len() == 1 && held[0].0 >= 3);
    assert!(log.lock().unwrap().tried.is_empty(), "nothing is seen on both");
    carts.ends[0].replace_socket(old).unwrap();
    carts.send_bulk();
    assert_eq!(carts.run(Duration::from_secs(5)).len(), 204);
}

#[test]
fn a_socket_that_takes_nothing_of_a_run_blocks() {
    let mut carts = Carts::connected();
    // At the end of the first window, and at the flush.
    carts.log(0).runs = [Ok(0), Ok(0)].into();
    carts.send_bulk();
    assert!(carts.ends[0].blocked && carts.log(0).tried.len() == 2);
    assert_bulk(&carts.run(Duration::from_secs(5)));
}

#[test]
fn nothing_that_was_read_is_left_over_when_recv_has_nothing_more() {
    let mut carts = Carts::connected();
    carts.send_bulk();
    *carts.now.lock().unwrap() += Duration::from_millis(50);
    let mut heard = 0;
    while carts.ends[1].recv().unwrap().is_some() {
        heard += 1;
        if carts.ends[1].incoming.has_more() {
            let now = *carts.now.lock().unwrap();
            assert_eq!(carts.ends[1].maintain(), Ok(Some(now)), "who stops reading is called again");
        }
    }
    assert!(heard > 8 && !carts.ends[1].incoming.has_more());
}

#[test]
fn what_is_not_genuine_joins_no_reads() {
    let mut carts = Carts::connected();
    for n in (0..=255_u8).cycle().take(500) {
        carts.ends[0].socket_mut().inner.send(&[n; 600]).unwrap();
    }
    assert_eq!(carts.run(Duration::from_secs(1)).len(), 0);
    assert_eq!((carts.ends[1].stats().drops.total(), carts.log(1).asked_to_join), (500, 0));
    carts.send_bulk();
    assert_bulk(&carts.run(Duration::from_secs(5)));
    assert_eq!(carts.log(1).asked_to_join, 1);
}

fn fill(outbox: &mut Outbox, lens: &[usize]) {
    for (len, byte) in lens.iter().zip(1..) {
        assert!(!outbox.is_full());
        outbox.room().unwrap()[..*len].fill(byte);
        outbox.push(*len, None);
    }
}

/// The lengths of the runs that leave, all of them taken.
fn runs(outbox: &mut Outbox) -> Vec<Vec<usize>> {
    let mut runs = Vec::new();
    while let Some(run) = outbox.next_run() {
        runs.push(run.bytes.chunks(run.size).map(<[u8]>::len).collect());
        let (count, len) = (run.count, run.bytes.len());
        assert_eq!(outbox.take(count), len);
    }
    runs
}

#[test]
fn a_run_has_datagrams_of_one_size_and_a_shorter_one_ends_it() {
    let mut outbox = Outbox::new(1_452, 64);
    fill(&mut outbox, &[1_200, 1_200, 1_300, 1_200, 800, 1_200, 1_200, 1_200]);
    assert_eq!(
        runs(&mut outbox),
        [&[1_200, 1_200][..], &[1_300, 1_200], &[800], &[1_200, 1_200, 1_200]].map(<[usize]>::to_vec)
    );
    assert!(outbox.next_one().is_none());
}

#[test]
fn what_gathers_is_bounded_and_has_room_for_one_until_two_do() {
    let mut outbox = Outbox::new(1_452, usize::MAX);
    assert_eq!(outbox.room().map(|room| room.len()), Some(1_452));
    fill(&mut outbox, &[100; 3]);
    assert!(outbox.held_bytes() <= 2 * 1_452);
    assert_eq!(runs(&mut outbox), [vec![100; 3]]);
    fill(&mut outbox, &[900; 64]);
    assert!(outbox.is_full(), "64 datagrams");
    assert_eq!(runs(&mut outbox), [vec![900; 64]]);
    fill(&mut outbox, &[1_452; 45]);
    assert!(outbox.is_full() && outbox.room().is_none(), "65,340 bytes");
    assert_eq!(runs(&mut outbox), [vec![1_452; 45]]);
    assert!(outbox.held_bytes() <= 65_507);
    let mut outbox = Outbox::new(9_000, 1);
    fill(&mut outbox, &[9_000]);
    assert!(outbox.is_full() && !outbox.gathers());
    assert_eq!(runs(&mut outbox), [[9_000]]);
}

#[test]
fn datagrams_with_addresses_leave_one_by_one_in_their_order() {
    let mut outbox = Outbox::new(1_200, 64);
    let [one, two] = ["192.0.2.1:1", "192.0.2.2:2"].map(|to| to.parse().unwrap());
    for to in [None, None, Some(one), Some(two), None] {
        outbox.push(100, to);
    }
    let mut left = Vec::new();
    while let Some(run) = outbox.next_run() {
        let count = run.count;
        left.push((count, outbox.next_one().unwrap().1));
        outbox.take(count);
    }
    assert_eq!(left, [(2, None), (1, Some(one)), (1, Some(two)), (1, None)]);
}

/// Gives what it is told, whatever that is.
struct Teller(VecDeque<(usize, usize)>);

impl UdpLike for Teller {
    fn send(&mut self, _: &[u8]) -> io::Result<usize> {
        unreachable!()
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert_eq!(buffer.len(), 1_453, "one byte more than the longest");
        Ok(10)
    }

    fn join_reads(&mut self) -> bool {
        true
    }

    fn recv_run(&mut self, _: &mut [u8]) -> io::Result<(usize, usize)> {
        self.0.pop_front().ok_or(io::ErrorKind::WouldBlock.into())
    }
}

#[test]
fn what_a_socket_says_of_a_run_is_taken_with_care() {
    let told = [(0, 0), (5, 0), (3_000, 1_200), (usize::MAX, 60_000), (0, 7), (2_000, 1_453)];
    let mut socket = Teller(told.into());
    let mut inbox = Inbox::new(1_452);
    for _ in 0..8 {
        assert!(!inbox.should_join());
        assert_eq!(inbox.read(&mut socket).unwrap(), 10);
    }
    assert!(inbox.should_join());
    inbox.join(&mut socket);
    let mut lens = Vec::new();
    while let Ok(first) = inbox.read(&mut socket) {
        let mut len = Some(first);
        while let Some(each) = len {
            lens.push((each, inbox.datagram(each).is_some()));
            len = inbox.take_next();
        }
    }
    let good = |len| (len, true);
    let bad = |len| (len, false);
    let run = [good(1_200), good(1_200), good(600)];
    let cut = [bad(60_000), bad(5_535)];
    assert_eq!(lens, [&[bad(0), good(5)][..], &run, &cut, &[bad(0), bad(1_453), good(547)]].concat());
}
