//! Don't Fragment: a datagram that is larger than the path takes shall vanish whole, so that the search for the size
//! learns of it. Which option says so differs from system to system, and here ends. PROTOCOL.md, "Path MTU".
//!
//! `nix` has no name for the option of Linux, but the macro to name one; what is unsafe stays inside of it.

/// Asks the system never to cut a datagram of this socket. It may refuse: see [`may_occur`].
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn forbid(socket: &impl std::os::fd::AsFd) {
    use nix::{libc, sys::socket::setsockopt};
    // PROBE and not DO: a guess that the kernel took from ICMP, which anybody may have sent, binds nobody. Both
    // families: a socket of IPv6 may talk to an address of IPv4, and one of IPv4 refuses the second.
    let _ = setsockopt(socket, linux::Ipv4Discovery, &libc::IP_PMTUDISC_PROBE);
    let _ = setsockopt(socket, linux::Ipv6Discovery, &libc::IPV6_PMTUDISC_PROBE);
}

/// Whether the system may cut a datagram of this socket, as far as it tells.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn may_occur(socket: &impl std::os::fd::AsFd) -> bool {
    use nix::{libc, sys::socket::getsockopt};
    let whole = |mode| [libc::IP_PMTUDISC_DO, libc::IP_PMTUDISC_PROBE].contains(&mode);
    let four = getsockopt(socket, linux::Ipv4Discovery).is_ok_and(whole);
    // The numbers are the same for both families. A socket of IPv4 has no such option.
    let six = getsockopt(socket, linux::Ipv6Discovery).map_or(true, whole);
    !(four && six)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};

    sockopt_impl!(Ipv4Discovery, Both, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::c_int);
    sockopt_impl!(Ipv6Discovery, Both, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::c_int);
}

/// Asks the system never to cut a datagram of this socket. It may refuse: see [`may_occur`].
#[cfg(target_vendor = "apple")]
pub(super) fn forbid(socket: &impl std::os::fd::AsFd) {
    use nix::sys::socket::{setsockopt, sockopt};
    // Each socket takes the option of its own family.
    let _ = setsockopt(socket, sockopt::IpDontFrag, &true);
    let _ = setsockopt(socket, sockopt::Ipv6DontFrag, &true);
}

/// Whether the system may cut a datagram of this socket, as far as it tells.
#[cfg(target_vendor = "apple")]
pub(super) fn may_occur(socket: &impl std::os::fd::AsFd) -> bool {
    use nix::sys::socket::{getsockopt, sockopt};
    let four = getsockopt(socket, sockopt::IpDontFrag).is_ok_and(|set| set);
    let six = getsockopt(socket, sockopt::Ipv6DontFrag).is_ok_and(|set| set);
    !(four || six)
}

/// Asks for nothing: on this system nobody can be asked without `unsafe`.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn forbid<S>(_socket: &S) {}

/// Nobody can be asked.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn may_occur<S>(_socket: &S) -> bool {
    true
}

#[cfg(all(test, any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_socket_of_either_family_can_be_told_to_send_whole_or_not_at_all() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may be without the second.
            let Ok(socket) = UdpSocket::bind(address) else { continue };
            assert!(may_occur(&socket), "{address}: not the system's default");
            forbid(&socket);
            assert!(!may_occur(&socket), "{address}");
        }
    }
}
