//! The fuzz targets as plain tests: every committed seed and regression, mutations of them, and some thousand
//! seeded inputs. Needs no tool, so the targets cannot rot between two runs of the fuzzer.

#[path = "common/snow.rs"]
mod snow_end;

use std::{fs, path::Path};

use sealgram::fuzzing;

/// A body of `src/fuzzing/`; it fails by panicking.
type Body = fn(&[u8]);

/// xorshift64*: good enough to choose bytes, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits fit") % bound
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn committed(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut paths: Vec<_> = ["seeds", "regressions"]
        .iter()
        .filter_map(|kind| fs::read_dir(root.join(kind).join(target)).ok())
        .flat_map(|entries| entries.map(|entry| entry.expect("folder is readable").path()))
        .collect();
    paths.sort();
    // The published package leaves the fuzz folder out.
    assert!(!paths.is_empty() || !root.exists(), "no seeds for {target}");
    paths.iter().map(|path| fs::read(path).expect("seed is readable")).collect()
}

fn mutate(chance: &mut Chance, input: &mut Vec<u8>) {
    for _ in 0..=chance.below(3) {
        let at = chance.below(input.len() + 1);
        match chance.below(5) {
            0 => input.truncate(at),
            1 => input.insert(at, chance.byte()),
            2 if at < input.len() => input[at] ^= 1 << chance.below(8),
            3 if at < input.len() => input[at] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xff][chance.below(7)],
            _ => input.extend_from_within(at..),
        }
        input.truncate(4_096);
    }
}

fn run(target: &str, body: Body, mutations: usize, inputs: usize) {
    let seeds = committed(target);
    for seed in &seeds {
        body(seed);
    }
    let mut chance = Chance(0x5ea1_9a3a_0000_0001);
    let feed = |input: &[u8]| {
        // The harness shows this for failing tests only; the last line is the input that failed.
        println!("{target}: {}", hex::encode(input));
        body(input);
    };
    for round in 0..mutations {
        let Some(seed) = seeds.get(round % seeds.len().max(1)) else { break };
        let mut input = seed.clone();
        mutate(&mut chance, &mut input);
        feed(&input);
    }
    for _ in 0..inputs {
        // Short inputs are the interesting ones for parsers; one in eight may fill a datagram.
        let longest = if chance.below(8) == 0 { 1_200 } else { 48 };
        let input: Vec<u8> = (0..chance.below(longest)).map(|_| chance.byte()).collect();
        feed(&input);
    }
}

#[test]
fn any_plaintext_is_decoded_canonically_or_refused() {
    run("frames", fuzzing::frames, 4_000, 4_000);
}

#[test]
fn any_authenticated_payload_is_survived() {
    run("sealed_frames", fuzzing::sealed_frames, 1_000, 1_000);
}

#[test]
fn any_datagram_to_a_live_session_changes_nothing() {
    run("datagram_open", fuzzing::datagram_open, 1_000, 1_000);
}

#[test]
fn any_bytes_are_sealed_and_opened_as_the_reference_does() {
    run("cipher", fuzzing::cipher, 4_000, 4_000);
}

#[test]
fn any_ticket_is_read_in_its_one_form_or_refused() {
    run("ticket", fuzzing::ticket, 4_000, 2_000);
}

#[test]
fn any_body_of_an_envelope_is_read_in_its_one_form_or_refused() {
    run("envelope_body", fuzzing::envelope_body, 4_000, 2_000);
}

#[test]
fn any_hello_is_read_in_its_one_form_and_agreed_on_or_refused() {
    run("hello_params", fuzzing::hello_params, 8_000, 2_000);
}

#[test]
fn no_handshake_message_is_read_that_no_key_wrote() {
    run("noise_read", fuzzing::noise_read, 500, 500);
}

#[test]
fn no_handshake_message_is_read_that_was_changed() {
    run("noise_read_structured", fuzzing::noise_read_structured, 1_500, 500);
}

#[test]
fn snow_reads_what_we_read() {
    run("diff_snow", snow_end::diff_snow, 600, 200);
}

#[test]
fn an_endpoint_survives_a_peer_with_all_keys() {
    run("endpoint_fsm", fuzzing::endpoint_fsm, 1_500, 500);
}

#[test]
fn nothing_forged_passes_between_two_endpoints() {
    run("two_endpoints", fuzzing::two_endpoints, 1_500, 500);
}

#[test]
fn a_network_that_does_its_worst_breaks_no_promise_of_plain_endpoints() {
    run("plain_fsm", fuzzing::plain_fsm, 1_500, 500);
}

#[test]
fn any_numbers_are_taken_as_by_a_set() {
    run("replay_window", fuzzing::replay_window, 2_000, 2_000);
}

#[test]
fn any_number_is_found_again_as_the_specification_says() {
    run("pn_decode", fuzzing::pn_decode, 4_000, 8_000);
}

#[test]
fn any_fragments_stay_within_their_budget() {
    run("reassembly", fuzzing::reassembly, 2_000, 2_000);
}

#[test]
fn a_server_takes_its_own_cookies_only() {
    run("cookie", fuzzing::cookie, 2_000, 1_000);
}

#[test]
fn any_steps_of_epochs_are_followed_as_the_specification_says() {
    run("key_schedule", fuzzing::key_schedule, 2_000, 1_000);
}

#[test]
fn any_acknowledgement_costs_little() {
    run("ack_ranges", fuzzing::ack_ranges, 2_000, 1_000);
}
