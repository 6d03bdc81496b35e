//! One socket for many players. It is bound to no address; each datagram leaves from the address of its player, and what
//! arrives is told apart by where it was sent to.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::{
    libc::in_pktinfo,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use sealgram::UdpLike;

/// Where player number `index` is: 250 in each /24, from 127.1.0.1 on.
pub(crate) fn home(index: u32) -> Ipv4Addr {
    let [_, _, second, third] = (index / 250).to_be_bytes();
    let last = u8::try_from(index % 250 + 1).unwrap_or(1);
    Ipv4Addr::new(127, second + 1, third, last)
}

/// The player at this address.
fn index(home: Ipv4Addr) -> u32 {
    let [_, a, b, last] = home.octets();
    (u32::from(a.wrapping_sub(1)) * 256 + u32::from(b)) * 250 + u32::from(last).wrapping_sub(1)
}

pub(crate) struct SharedSocket {
    socket: UdpSocket,
}

impl SharedSocket {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        let _ = setsockopt(&socket, sockopt::RcvBuf, &(4 << 20));
        Ok(Self { socket })
    }

    pub(crate) fn send(&self, from: u32, to: SocketAddrV4, datagram: &[u8]) -> io::Result<usize> {
        let address = u32::from_ne_bytes(home(from).octets());
        let info = in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: nix::libc::in_addr { s_addr: address },
            ipi_addr: nix::libc::in_addr { s_addr: 0 },
        };
        let (to, control) = (SockaddrIn::from(to), [ControlMessage::Ipv4PacketInfo(&info)]);
        let (fd, slices) = (self.socket.as_raw_fd(), [IoSlice::new(datagram)]);
        Ok(sendmsg(fd, &slices, &control, MsgFlags::empty(), Some(&to))?)
    }

    /// Whose the next datagram is, and its length.
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<(u32, usize)> {
        let mut control = [0; 64];
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrIn>(fd, &mut slices, Some(&mut control), MsgFlags::empty())?;
        let mut to = None;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
                to = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()));
            }
        }
        let to = to.ok_or(io::ErrorKind::InvalidData)?;
        Ok((index(to), message.bytes))
    }
}

/// Datagrams of one player that were read from the shared socket.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

/// What one player takes for a connected socket.
pub(crate) struct PlayerSocket {
    pub(crate) shared: Arc<SharedSocket>,
    pub(crate) inbox: Arc<Mutex<Inbox>>,
    pub(crate) index: u32,
    pub(crate) server: SocketAddrV4,
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a datagram where its player looks for it.
pub(crate) fn deliver(inbox: &Mutex<Inbox>, datagram: &[u8]) {
    let mut inbox = lock(inbox);
    let mut buffer = inbox.spare.pop().unwrap_or_default();
    buffer.clear();
    buffer.extend_from_slice(datagram);
    inbox.waiting.push_back(buffer);
}

impl UdpLike for PlayerSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.shared.send(self.index, self.server, datagram)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut inbox = lock(&self.inbox);
        let datagram = inbox.waiting.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        inbox.spare.push(datagram);
        Ok(len)
    }
}
