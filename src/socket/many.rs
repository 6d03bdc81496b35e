//! Many datagrams by one call of the system: `sendmmsg` and `recvmmsg` of Linux. What is unsafe stays inside of `nix`.
//! Datagrams to one address leave as one message, in runs, and so walk through the kernel together.
//!
//! The headers that the kernel reads hold pointers, so they could not move to another thread inside of a socket or a
//! batch. Each thread has its own. Those for sending are never used for receiving: `nix` leaves in them where an address
//! was, and the kernel would write there. Nor does a header change its family, because the kernel shortens the room for
//! an address to what it last wrote.

use std::{
    array,
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg},
};

#[cfg(target_os = "linux")]
use super::runs;
use super::{
    Run,
    addressed::{as_six, one_form},
    batch::{RecvBatch, SLOTS},
};

/// Headers for both families.
struct Headers {
    four: MultiHeaders<SockaddrIn>,
    six: MultiHeaders<SockaddrIn6>,
}

impl Headers {
    /// Each with so much room for control messages, all of which is always handed to the kernel.
    fn new(control: Option<usize>) -> RefCell<Self> {
        let control = || control.map(Vec::with_capacity);
        let four = MultiHeaders::preallocate(SLOTS, control());
        let six = MultiHeaders::preallocate(SLOTS, control());
        RefCell::new(Self { four, six })
    }
}

thread_local! {
    static SENDING: RefCell<Headers> = Headers::new(None);
    static SENDING_RUNS: RefCell<Headers> = Headers::new(Some(runs::CONTROL_SPACE));
    static RECEIVING: RefCell<Headers> = Headers::new(None);
}

/// Sends what waits, up to 64 runs, as far as one call goes, and returns how many datagrams are gone. `six`: a socket of
/// IPv6. `Unsupported` when the first are more than one, and the kernel or the device does not take them together.
pub(super) fn send<'a>(
    socket: &impl AsFd,
    six: bool,
    waiting: impl Iterator<Item = Run<'a>>,
) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    if six {
        send_as(fd, |headers| &mut headers.six, waiting, |to| Some(as_six(to).into()))
    } else {
        send_as(
            fd,
            |headers| &mut headers.four,
            waiting,
            |to| match to {
                SocketAddr::V4(four) => Some(four.into()),
                SocketAddr::V6(_) => None,
            },
        )
    }
}

fn send_as<'a, S: SockaddrLike + Copy>(
    fd: RawFd,
    of_family: impl Fn(&mut Headers) -> &mut MultiHeaders<S>,
    waiting: impl Iterator<Item = Run<'a>>,
    name: impl Fn(SocketAddr) -> Option<S>,
) -> io::Result<usize> {
    let mut names = [None; SLOTS];
    let mut messages = [[IoSlice::new(&[])]; SLOTS];
    let mut counts = [0; SLOTS];
    let (mut call, mut filled) = (Call::default(), 0);
    let places = names.iter_mut().zip(&mut messages).zip(&mut counts);
    for (((place, message), count), run) in places.zip(waiting) {
        *place = name(run.to).filter(|_| call.takes(&run));
        if place.is_none() {
            break;
        }
        *message = [IoSlice::new(run.datagrams)];
        *count = run.count;
        filled += 1;
    }
    let names = names.get(..filled).unwrap_or_default();
    if names.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let headers = if call.segment.is_some() { &SENDING_RUNS } else { &SENDING };
    let sent = headers.try_with(|headers| {
        let mut headers = headers.try_borrow_mut().map_err(|_| io::ErrorKind::WouldBlock)?;
        let headers = of_family(&mut headers);
        let control = call.segment.as_ref().map(runs::control);
        let control = control.as_ref().map(|control| &control[..]).unwrap_or_default();
        match sendmmsg(fd, headers, &messages, names, control, MsgFlags::MSG_DONTWAIT) {
            Ok(sent) => Ok(counts.iter().take(sent.count()).sum()),
            // Too large may mean all of them.
            Err(Errno::EMSGSIZE) if call.segment.is_some() => Err(io::ErrorKind::Unsupported.into()),
            Err(error) if call.segment.is_some() => Err(runs::refusal(error)),
            Err(error) => Err(error.into()),
        }
    });
    // Nobody sends while his thread is taken down.
    sent.unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
}

/// What one call carries: `nix` tells the kernel the same length of datagrams for all messages of a call, and what is not
/// longer leaves as it is.
#[derive(Default)]
struct Call {
    /// The length that the kernel is told, once there is a run.
    segment: Option<u16>,
    /// The longest of those by themselves.
    longest: usize,
}

impl Call {
    /// Whether this goes with what was taken before; then it is taken.
    fn takes(&mut self, run: &Run<'_>) -> bool {
        let segment = self.segment.map(usize::from);
        if run.count == 1 {
            self.longest = self.longest.max(run.size);
            return segment.is_none_or(|segment| run.size <= segment);
        }
        if segment.is_none() && self.longest <= run.size {
            self.segment = u16::try_from(run.size).ok();
        }
        self.segment.map(usize::from) == Some(run.size)
    }
}

/// Fills the free slots of a batch with what waits, and returns how many datagrams that were. `six`: a socket of IPv6.
pub(super) fn receive(socket: &impl AsFd, six: bool, batch: &mut RecvBatch) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    RECEIVING
        .try_with(|headers| {
            let mut headers = headers.try_borrow_mut().map_err(|_| io::ErrorKind::WouldBlock)?;
            if six {
                receive_as(fd, &mut headers.six, batch, |six: SockaddrIn6| SocketAddr::from(six))
            } else {
                receive_as(fd, &mut headers.four, batch, |four: SockaddrIn| SocketAddr::from(four))
            }
        })
        .unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
}

fn receive_as<S: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    batch: &mut RecvBatch,
    address: impl Fn(S) -> SocketAddr,
) -> io::Result<usize> {
    let (mut free, mut filled) = batch.slots();
    let mut count = 0;
    let mut slots: [_; SLOTS] = array::from_fn(|_| {
        let slot = free.next();
        count += usize::from(slot.is_some());
        [IoSliceMut::new(slot.unwrap_or_default())]
    });
    if count == 0 {
        return Ok(0);
    }
    let slots = slots.iter_mut().take(count);
    let mut added = 0;
    for message in recvmmsg(fd, headers, slots, MsgFlags::MSG_DONTWAIT, None)? {
        filled.push(message.bytes, message.address.map(|from| one_form(address(from))));
        added += 1;
    }
    Ok(added)
}

/// Without runs: nobody is asked for any.
#[cfg(not(target_os = "linux"))]
mod runs {
    use std::io;

    use nix::{errno::Errno, sys::socket::ControlMessage};

    pub(super) const CONTROL_SPACE: usize = 0;

    pub(super) fn control(_segment: &u16) -> [ControlMessage<'_>; 0] {
        []
    }

    pub(super) fn refusal(error: Errno) -> io::Error {
        error.into()
    }
}
