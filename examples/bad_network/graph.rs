//! A net graph: one minute of one session, as its statistics tell it. Two maps are sent, the network goes dark
//! for two seconds, the player's NAT gives it another port, the path loses its larger packets without a word, and the
//! loss rises to a tenth for a while.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;
use sealgram::sim::{Connected, Link, Nat, Net};
use sealgram::{
    Config, Credentials, Environment, Guarantee, Invite, SealedEndpoint, SendError, Stats, UdpLike,
    Unconnected,
};

use super::Outcome;
use super::chart::{COLORS, GRID};

const SECONDS: u64 = 60;
const RATE: u64 = 60;
const SAMPLE_TICKS: u64 = 12;
const MAPS_AT: [u64; 2] = [8, 37];
const MAP_BYTES: usize = 400 << 10;
const DARK: Range<u64> = 20..22;
const REBIND_AT: u64 = 28;
const NARROW_AT: u64 = 36;
/// The largest packet from then on, headers counted.
const NARROW: usize = 1_280;
const LOSSY: Range<u64> = 44..54;
const SIZE: (u32, u32) = (960, 760);
/// Room for the names of the lines.
const NAMES: u32 = 136;
/// Of the moments at which something happens.
const EVENT: RGBColor = RGBColor(170, 170, 170);

/// What happened in one interval, as the player's end knows it.
struct Sample {
    seconds: f64,
    /// As of the interval's end.
    stats: Stats,
    /// Counted in the interval.
    delta: Stats,
}

/// Plays the session and draws it.
pub(crate) fn draw(seed: u64, path: &Path) -> Outcome<()> {
    let samples = play(seed)?;
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let panels = area.split_evenly((5, 1));
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let rtt = |value: fn(&sealgram::Rtt) -> Duration| {
        move |sample: &Sample| sample.stats.rtt.as_ref().map(|rtt| ms(value(rtt)))
    };
    let per_second = |bytes: u64| Some(bytes as f64 / 1_000.0 * (RATE / SAMPLE_TICKS) as f64);
    let percent = |share: Option<f64>| share.map(|share| share * 100.0);
    panel(
        &panels[0],
        "round trip, ms",
        10.0,
        &samples,
        &[
            ("latest", &rtt(|rtt| rtt.latest)),
            ("smoothed", &rtt(|rtt| rtt.smoothed)),
            ("smallest", &rtt(|rtt| rtt.min)),
        ],
    )?;
    panel(
        &panels[1],
        "packets lost, %",
        10.0,
        &samples,
        &[
            ("of those sent", &|sample| percent(sample.delta.packets.loss_out())),
            ("of the other's", &|sample| percent(sample.delta.packets.loss_in())),
        ],
    )?;
    panel(
        &panels[2],
        "waiting, KiB",
        10.0,
        &samples,
        &[
            ("in our queue", &|sample| Some(sample.stats.queued_bytes as f64 / 1_024.0)),
            ("on the way", &|sample| Some(sample.stats.flight_bytes as f64 / 1_024.0)),
        ],
    )?;
    panel(
        &panels[3],
        "kB per second",
        10.0,
        &samples,
        &[
            ("datagrams sent", &|sample| {
                per_second(sample.delta.bytes_sent + 28 * sample.delta.datagrams_sent)
            }),
            ("messages received", &|sample| per_second(sample.delta.message_bytes_yielded)),
        ],
    )?;
    panel(
        &panels[4],
        "datagram size, bytes",
        1_500.0,
        &samples,
        &[("at most", &|sample| Some(sample.stats.mtu as f64).filter(|mtu| *mtu > 0.0))],
    )?;
    area.present()?;
    Ok(())
}

type Line<'a> = (&'a str, &'a dyn Fn(&Sample) -> Option<f64>);
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Names on the left, lines on the right.
fn panel(area: &Area<'_>, title: &str, least: f64, samples: &[Sample], lines: &[Line<'_>]) -> Outcome<()> {
    let (left, right) = area.split_horizontally(NAMES);
    left.draw(&Text::new(title, (8, 12), ("sans-serif", 14).into_font()))?;
    for ((y, (name, _)), color) in (40..).step_by(20).zip(lines).zip(COLORS) {
        left.draw(&PathElement::new([(8, y), (26, y)], color.stroke_width(2)))?;
        left.draw(&Text::new(*name, (34, y - 6), ("sans-serif", 12).into_font()))?;
    }
    let values = lines.iter().flat_map(|(_, value)| samples.iter().filter_map(value));
    let most = values.fold(least, f64::max) * 1.4;
    let mut chart = ChartBuilder::on(&right)
        .margin(4)
        .margin_right(16)
        .x_label_area_size(20)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..SECONDS as f64, 0.0..most)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .y_labels(4)
        .x_label_formatter(&|seconds| format!("{seconds:.0} s"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .draw()?;
    let shade = |time: &Range<u64>, color: RGBColor| {
        Rectangle::new([(time.start as f64, 0.0), (time.end as f64, most)], color.mix(0.2).filled())
    };
    chart.draw_series([shade(&DARK, BLACK), shade(&LOSSY, RGBColor(255, 190, 60))])?;
    let moments = [MAPS_AT[0], REBIND_AT, NARROW_AT, MAPS_AT[1]].map(|at| at as f64);
    chart.draw_series(moments.map(|at| PathElement::new([(at, 0.0), (at, most)], EVENT.stroke_width(1))))?;
    let mark = |at: u64, row: f64, text| {
        Text::new(text, (at as f64 + 0.3, most * (0.98 - row * 0.13)), ("sans-serif", 11))
    };
    chart.draw_series([
        mark(MAPS_AT[0], 0.0, "map"),
        mark(DARK.start, 0.0, "dark"),
        mark(REBIND_AT, 0.0, "new port"),
        mark(NARROW_AT, 0.0, "1,280 at most"),
        mark(MAPS_AT[1], 1.0, "map"),
        mark(LOSSY.start, 0.0, "10 % loss"),
    ])?;
    for ((_, value), color) in lines.iter().zip(COLORS) {
        // Where nothing is known there is no line.
        for known in samples.chunk_by(|one, next| value(one).is_some() && value(next).is_some()) {
            let points = known.iter().filter_map(|sample| Some((sample.seconds, value(sample)?)));
            chart.draw_series(LineSeries::new(points, color.stroke_width(1)))?;
        }
    }
    Ok(())
}

/// Two players at 60 Hz; the first one stands behind a NAT, and its statistics are kept.
fn play(seed: u64) -> Outcome<Vec<Sample>> {
    let net = Net::seed(seed);
    let (home, server): (SocketAddr, SocketAddr) =
        (([192, 168, 1, 2], 4_000).into(), ([203, 0, 113, 5], 4_000).into());
    net.set_nat(home, Nat::port_restricted([198, 51, 100, 7].into()));
    plan(&net, home, server);
    let environment = |node| {
        let clock = net.clone();
        Environment::new(move || clock.now(), net.rng(node))
    };
    let invite = Invite::from_bytes([7; 32]);
    let mut player: SealedEndpoint<Connected> = SealedEndpoint::with_environment(
        net.socket(home).connect(server),
        Credentials::invite(&invite),
        Config::default(),
        environment(home),
    )?;
    let mut other = SealedEndpoint::with_environment(
        Unconnected::new(net.socket(server)),
        Credentials::invite(&invite),
        Config::default(),
        environment(server),
    )?;
    player.connect()?;
    let mut samples = Vec::new();
    let mut last = player.stats();
    for tick in 0..SECONDS * RATE {
        let due = Duration::from_secs(1) * u32::try_from(tick)? / u32::try_from(RATE)?;
        run_until(&net, due, &mut player, &mut other)?;
        if player.is_connected() {
            exchange(&mut player, &mut other, tick)?;
        }
        if tick % SAMPLE_TICKS == 0 {
            let stats = player.stats();
            let delta = stats.since(&last);
            samples.push(Sample { seconds: net.elapsed().as_secs_f64(), stats: stats.clone(), delta });
            last = stats;
        }
    }
    Ok(samples)
}

/// Puts down what will happen to the network.
fn plan(net: &Net, a: SocketAddr, b: SocketAddr) {
    let mut link = Link::lte_good();
    (link.rate, link.queue_bytes) = (Some(250_000), 64 << 10);
    link.blackouts = vec![Duration::from_secs(DARK.start)..Duration::from_secs(DARK.end)];
    let mut narrow = link.clone();
    narrow.mtu = Some(NARROW);
    let mut lossy = narrow.clone();
    lossy.loss = 0.1;
    for (from, to) in [(a, b), (b, a)] {
        net.set_link(from, to, link.clone());
        net.set_link_at(Duration::from_secs(NARROW_AT), from, to, narrow.clone());
        net.set_link_at(Duration::from_secs(LOSSY.start), from, to, lossy.clone());
        net.set_link_at(Duration::from_secs(LOSSY.end), from, to, narrow.clone());
    }
    net.rebind_at(Duration::from_secs(REBIND_AT), a);
}

/// What both players send at one tick.
fn exchange<A: UdpLike, B: UdpLike>(
    player: &mut SealedEndpoint<A>,
    other: &mut SealedEndpoint<B>,
    tick: u64,
) -> Outcome<()> {
    if MAPS_AT.iter().any(|at| tick == at * RATE) {
        player.send_payload(Guarantee::Delivery, &vec![0; MAP_BYTES])?;
    }
    let bytes = [0; 100];
    for guarantee in [Guarantee::Order, Guarantee::Delivery] {
        for sent in [player.send_payload(guarantee, &bytes), other.send_payload(guarantee, &bytes)] {
            match sent {
                Ok(_) | Err(SendError::Full { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    player.flush()?;
    other.flush()?;
    Ok(())
}

fn run_until<A: UdpLike, B: UdpLike>(
    net: &Net,
    due: Duration,
    player: &mut SealedEndpoint<A>,
    other: &mut SealedEndpoint<B>,
) -> Outcome<()> {
    while net.elapsed() < due {
        while player.recv()?.is_some() {}
        while other.recv()?.is_some() {}
        let wake = [player.maintain()?, other.maintain()?].into_iter().flatten().min();
        let soon = net.now() + Duration::from_micros(100);
        let end = net.now() + (due - net.elapsed());
        net.advance_to_next_or(wake.map_or(end, |wake| wake.max(soon).min(end)));
    }
    Ok(())
}
