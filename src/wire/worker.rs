//! How the first byte of a connection id names the worker, of several on one port, that has the session. PROTOCOL.md,
//! "Workers".

// With so few, each of them has four values of the byte or more.
pub(crate) use crate::config::MAX_WORKERS;

/// The worker that an id names by its first byte. Without workers, the only one.
pub(crate) fn worker_of(first: u8, workers: u8) -> u8 {
    first.checked_rem(workers).unwrap_or(0)
}

/// The first byte of a new id, out of a random one, so that it names this worker.
pub(crate) fn name_worker(random: u8, worker: u8, workers: u8) -> u8 {
    let block = random - worker_of(random, workers.max(1));
    // The last block may be cut off; then the first one stands in.
    block.checked_add(worker).unwrap_or(worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_worker_is_found_again_and_has_its_share_of_all_bytes() {
        for workers in 1..=MAX_WORKERS {
            for worker in 0..workers {
                let mut seen = [0_u32; 256];
                for random in 0..=u8::MAX {
                    let first = name_worker(random, worker, workers);
                    assert_eq!(worker_of(first, workers), worker, "{random} {worker} of {workers}");
                    seen[usize::from(first)] += 1;
                }
                let most = seen.iter().max().unwrap();
                assert!(*most <= 2 * u32::from(workers), "{worker} of {workers}: one byte {most} times");
                let different = seen.iter().filter(|times| **times > 0).count();
                assert!(different >= usize::from(u8::MAX / workers), "{worker} of {workers}: {different}");
            }
        }
        assert_eq!((worker_of(9, 0), name_worker(9, 0, 0)), (0, 9), "no workers");
    }
}
