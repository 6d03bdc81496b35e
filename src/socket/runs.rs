//! Several datagrams to or from one peer by one call, and by one walk through the kernel: `UDP_SEGMENT` and `UDP_GRO` of
//! Linux. What is unsafe stays inside of `nix`. Those that have addresses leave by way of `many`.

use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike,
        cmsg_space, getsockopt, recvmsg, sendmmsg, setsockopt, sockopt,
    },
};

use super::{MAX_RUN, addressed::one_form};

/// Room for the one number that the kernel is told beside a run.
pub(super) const CONTROL_SPACE: usize = cmsg_space::<u16>();
/// Room for the one number that the kernel says beside a run, and for others that somebody else may have asked for.
const CONTROL: usize = 256;

/// The kernel wants it aligned.
#[repr(align(16))]
struct Control([u8; CONTROL]);

thread_local! {
    /// `sendmmsg` of one message, because its header is made once: `sendmsg` of `nix` allocates at each call. It holds
    /// pointers, so each thread has its own.
    static HEADER: RefCell<MultiHeaders<()>> =
        RefCell::new(MultiHeaders::preallocate(1, Some(Vec::with_capacity(CONTROL_SPACE))));
}

/// How many datagrams leave by one call. A kernel that does not know the option would send all as one, so it is asked.
pub(super) fn largest(socket: &impl AsFd) -> usize {
    if getsockopt(socket, sockopt::UdpGsoSegment).is_ok() { MAX_RUN } else { 1 }
}

/// Sends datagrams of `size` bytes, the last of which may be shorter. `Unsupported` when the kernel or the device does
/// not take them together.
pub(super) fn send(socket: &impl AsFd, datagrams: &[u8], size: usize) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let segment = u16::try_from(size).ok().filter(|size| *size > 0).ok_or(io::ErrorKind::Unsupported)?;
    let message = [[IoSlice::new(datagrams)]];
    let sent = HEADER.try_with(|header| {
        let mut header = header.try_borrow_mut().map_err(|_| io::ErrorKind::WouldBlock)?;
        match sendmmsg(fd, &mut header, &message, [None::<()>], control(&segment), MsgFlags::MSG_DONTWAIT) {
            Ok(_) => Ok(datagrams.len().div_ceil(size)),
            Err(error) => Err(refusal(error)),
        }
    });
    // Nobody sends while his thread is taken down.
    sent.unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
}

/// What tells the kernel how long each datagram of a message is.
pub(super) fn control(segment: &u16) -> [ControlMessage<'_>; 1] {
    [ControlMessage::UdpGsoSegments(segment)]
}

/// `EINVAL` comes for segments that are larger than the path takes, too, `EIO` from a device that computes no checksums,
/// `EPERM` from a rule of a firewall or a sandbox: whether one datagram leaves tells which it is.
pub(super) fn refusal(error: Errno) -> io::Error {
    match error {
        Errno::EINVAL
        | Errno::EIO
        | Errno::EPERM
        | Errno::ENOPROTOOPT
        | Errno::EOPNOTSUPP
        | Errno::ENOSYS => io::ErrorKind::Unsupported.into(),
        other => other.into(),
    }
}

/// Whether several that arrive are given by one call, from now on or no longer.
pub(super) fn join(socket: &impl AsFd, join: bool) -> bool {
    setsockopt(socket, sockopt::UdpGroSegment, &join).is_ok()
}

/// Receives one datagram or several, and returns the length of all and of each; the last may be shorter.
pub(super) fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
    receive_as::<()>(socket, buffer).map(|(len, size, _)| (len, size))
}

/// The same on a socket that is not connected, of IPv6 if `six`, and whose datagrams they are.
pub(super) fn receive_from(
    socket: &impl AsFd,
    six: bool,
    buffer: &mut [u8],
) -> io::Result<(usize, usize, SocketAddr)> {
    let (len, size, from) = if six {
        let (len, size, from) = receive_as::<SockaddrIn6>(socket, buffer)?;
        (len, size, from.map(SocketAddr::from))
    } else {
        let (len, size, from) = receive_as::<SockaddrIn>(socket, buffer)?;
        (len, size, from.map(SocketAddr::from))
    };
    let from = from.ok_or(io::ErrorKind::InvalidData)?;
    Ok((len, size, one_form(from)))
}

fn receive_as<S: SockaddrLike>(
    socket: &impl AsFd,
    buffer: &mut [u8],
) -> io::Result<(usize, usize, Option<S>)> {
    let fd = socket.as_fd().as_raw_fd();
    let mut control = Control([0; CONTROL]);
    let mut place = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<S>(fd, &mut place, Some(&mut control.0), flags)?;
    let mut size = message.bytes;
    for said in message.cmsgs()? {
        if let ControlMessageOwned::UdpGroSegments(each) = said {
            size = usize::try_from(each).unwrap_or(size);
        }
    }
    Ok((message.bytes, size, message.address))
}
