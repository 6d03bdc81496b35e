//! Many datagrams by one call of the system: `sendmmsg` and `recvmmsg` of Linux. What is unsafe stays inside of `nix`.
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

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg};

use super::{
    addressed::{as_six, one_form},
    batch::{RecvBatch, SLOTS},
};

/// Headers for both families.
struct Headers {
    four: MultiHeaders<SockaddrIn>,
    six: MultiHeaders<SockaddrIn6>,
}

impl Headers {
    fn new() -> RefCell<Self> {
        let (four, six) = (MultiHeaders::preallocate(SLOTS, None), MultiHeaders::preallocate(SLOTS, None));
        RefCell::new(Self { four, six })
    }
}

thread_local! {
    static SENDING: RefCell<Headers> = Headers::new();
    static RECEIVING: RefCell<Headers> = Headers::new();
}

/// Sends what waits, up to 64 datagrams, and returns how many are gone. `six`: a socket of IPv6.
pub(super) fn send<'a>(
    socket: &impl AsFd,
    six: bool,
    waiting: impl Iterator<Item = (&'a [u8], SocketAddr)>,
) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    SENDING
        .try_with(|headers| {
            let mut headers = headers.try_borrow_mut().map_err(|_| io::ErrorKind::WouldBlock)?;
            if six {
                send_as(fd, &mut headers.six, waiting, |to| Some(as_six(to).into()))
            } else {
                send_as(fd, &mut headers.four, waiting, |to| match to {
                    SocketAddr::V4(four) => Some(four.into()),
                    SocketAddr::V6(_) => None,
                })
            }
        })
        // Nobody sends while his thread is taken down.
        .unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
}

fn send_as<'a, S: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    waiting: impl Iterator<Item = (&'a [u8], SocketAddr)>,
    name: impl Fn(SocketAddr) -> Option<S>,
) -> io::Result<usize> {
    let mut names = [None; SLOTS];
    let mut datagrams = [[IoSlice::new(&[])]; SLOTS];
    let mut count = 0;
    for ((place, datagram), (bytes, to)) in names.iter_mut().zip(&mut datagrams).zip(waiting) {
        *place = name(to);
        if place.is_none() {
            break;
        }
        *datagram = [IoSlice::new(bytes)];
        count += 1;
    }
    let names = names.get(..count).unwrap_or_default();
    if names.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmmsg(fd, headers, &datagrams, names, [], MsgFlags::MSG_DONTWAIT)?;
    Ok(sent.count())
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
