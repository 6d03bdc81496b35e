//! Several datagrams by one call, over a socket in memory that carries them so, and that fails on command.

mod boxes;
mod failures;
mod gathering;

use super::*;

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
