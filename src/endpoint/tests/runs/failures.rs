//! Sockets that refuse a run, or take less than all of it.

use super::*;

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
fn a_socket_that_takes_nothing_of_a_run_blocks() {
    let mut carts = Carts::connected();
    // At the end of the first window, and at the flush.
    carts.log(0).runs = [Ok(0), Ok(0)].into();
    carts.send_bulk();
    assert!(carts.ends[0].blocked && carts.log(0).tried.len() == 2);
    assert_bulk(&carts.run(Duration::from_secs(5)));
}
