//! What is asked of the system: processor time, sockets with room, waiting, counters, and what the machine is.

use std::{
    env, fs,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        socket::{setsockopt, sockopt},
        time::TimeSpec,
    },
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use crate::end::{Outcome, Wire};

/// Room of each socket, both ways: nobody shall lose what the other side's thread had no time to read.
const BUFFER: usize = 8 << 20;
mod options {
    use nix::{libc, setsockopt_impl, sockopt_impl};

    // `nix` has a name for the other direction only.
    sockopt_impl!(SndBufForce, SetOnly, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, usize);
}

/// Says that the network is this program's own, so that the system's counters are too.
pub const OWN_NETWORK: &str = "VERSUS_OWN_NETWORK";

/// Time that this thread spent on a processor, the kernel's work for it included, in ns.
pub fn cpu() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(f64::NAN, |time| time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

/// Keeps this thread on one of the processors, the first or another one, if there are as many.
pub fn stay_on(which: usize) -> Outcome<()> {
    let own = Pid::from_raw(0);
    let allowed = sched_getaffinity(own)?;
    let mut there = (0..CpuSet::count()).filter(|index| allowed.is_set(*index).unwrap_or(false));
    if let Some(index) = there.nth(which) {
        let mut one = CpuSet::new();
        one.set(index)?;
        sched_setaffinity(own, &one)?;
    }
    Ok(())
}

/// A socket on loopback that does not block.
pub fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    // The first of each needs privileges and passes the system's limit.
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
    }
    if setsockopt(&socket, options::SndBufForce, &BUFFER).is_err() {
        let _ = setsockopt(&socket, sockopt::SndBuf, &BUFFER);
    }
    Ok(socket)
}

/// Two sockets that are connected with each other.
pub fn connected() -> io::Result<[UdpSocket; 2]> {
    let [one, two] = [socket()?, socket()?];
    one.connect(two.local_addr()?)?;
    two.connect(one.local_addr()?)?;
    Ok([one, two])
}

/// A socket that is connected with this address.
pub fn connected_to(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket()?;
    socket.connect(address)?;
    Ok(socket)
}

/// Waits until there is something to read, or for so long.
pub fn wait(socket: &impl AsFd, most: Duration) -> Outcome<()> {
    let mut waited = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    match ppoll(&mut waited, Some(TimeSpec::from_duration(most)), None) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What a nonblocking call gave; `None`: nothing now. A port that is closed by now is no news.
pub fn now<T>(result: io::Result<T>) -> Outcome<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// As many open files as the system allows.
pub fn more_files() -> Outcome<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Who may raises the bound, too.
    if setrlimit(Resource::RLIMIT_NOFILE, hard.max(16_384), hard.max(16_384)).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// What the whole network has sent, if it is ours alone. Runs count as one datagram here.
pub fn network() -> Option<Wire> {
    env::var_os(OWN_NETWORK)?;
    let datagrams = counter("/proc/self/net/snmp", "Udp:", "OutDatagrams")?;
    Some(Wire { datagrams, bytes: counter("/proc/self/net/netstat", "IpExt:", "OutOctets")? })
}

/// From a table in which a line of names stands before a line of numbers.
fn counter(path: &str, table: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().filter(|line| line.split_whitespace().next() == Some(table));
    let column = lines.next()?.split_whitespace().position(|word| word == name)?;
    lines.next()?.split_whitespace().nth(column)?.parse().ok()
}

fn word_after(path: &str, label: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(label))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The machine in one line.
pub fn description() -> String {
    let cpu = word_after("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What follows the number is its builder's own.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{cores} virtual cores of {cpu}, Linux {kernel}")
}

/// How busy the machine is: runnable threads, on average over the last minute.
pub fn busy() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}
