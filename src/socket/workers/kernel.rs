//! The kernel can look at the id itself, so that little is left to hand over. It may refuse; nothing depends on it.

use nix::{
    libc::{
        BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LEN, BPF_MOD, BPF_RET, BPF_W,
        sock_filter, sock_fprog,
    },
    sys::socket::{setsockopt, sockopt},
};

use super::{CID_BYTES, Steering, WorkerSocket};

/// Gives all sockets of the port the rule of [`Steering`], and says whether the kernel took it.
pub(super) fn steer(first: &WorkerSocket) -> bool {
    let Some(mut steps) = program(first.steering) else { return false };
    let Ok(len) = u16::try_from(steps.len()) else { return false };
    let program = sock_fprog { len, filter: steps.as_mut_ptr() };
    let attach = |socket| setsockopt(socket, sockopt::AttachReusePortCbpf, &program).is_ok();
    first.socket.sockets().all(attach)
}

/// The sockets are counted in the order in which they were bound. A number that none has leaves the choice to the
/// hash of the addresses, as it is without this.
fn program(steering: Steering) -> Option<Vec<sock_filter>> {
    let Steering { workers, route_bytes, handshake_bytes } = steering;
    let step = |code: u32, k: usize, jt, jf| {
        Some(sock_filter { code: u16::try_from(code).ok()?, jt, jf, k: u32::try_from(k).ok()? })
    };
    let steps = [
        step(BPF_LD | BPF_W | BPF_LEN, 0, 0, 0),
        step(BPF_JMP | BPF_JGE | BPF_K, route_bytes + handshake_bytes, 4, 0),
        step(BPF_JMP | BPF_JGE | BPF_K, route_bytes + CID_BYTES + 1, 0, 3),
        step(BPF_LD | BPF_B | BPF_ABS, route_bytes, 0, 0),
        step(BPF_ALU | BPF_MOD | BPF_K, workers.into(), 0, 0),
        step(BPF_RET | BPF_A, 0, 0, 0),
        step(BPF_RET | BPF_K, 0xffff_ffff, 0, 0),
    ];
    steps.into_iter().collect()
}
