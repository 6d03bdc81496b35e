//! A net graph: one minute of one session, as its statistics tell it. Two maps are sent, the network goes dark
//! for two seconds, the player's NAT gives it another port, the path loses its larger packets without a word, and the
//! loss rises to a tenth for a while.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;
use sealgram::sim::{Connected, Link, Nat, Net, Socket};
use sealgram::{
    Config, Credentials, Environment, Guarantee, Invite, SealedEndpoint, SendError, Stats, UdpLike,
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
/// Room for the names of the lines, left of the beginning, in seconds.
const NAMES: f64 = 11.0;

/// A socket that answers to where the last datagram came from. Only to be seen here: in the open, anyone could draw
/// the answers to himself.
struct Following {
    socket: Socket,
    peer: Option<SocketAddr>,
}

impl UdpLike for Following {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.socket.send_to(datagram, self.peer.ok_or(io::ErrorKind::NotConnected)?)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (len, from) = self.socket.recv_from(buffer)?;
        self.peer = Some(from);
        Ok(len)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

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
        "lost, % of packets",
        10.0,
        &samples,
        &[
            ("sent", &|sample| percent(sample.delta.packets.loss_out())),
            ("received", &|sample| percent(sample.delta.packets.loss_in())),
        ],
    )?;
    panel(
        &panels[2],
        "waiting, KiB",
        10.0,
        &samples,
        &[
            ("in the queue", &|sample| Some(sample.stats.queued_bytes as f64 / 1_024.0)),
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
        "largest datagram, bytes",
        1_500.0,
        &samples,
        &[("mtu", &|sample| Some(sample.stats.mtu as f64))],
    )?;
    area.present()?;
    Ok(())
}

type Line<'a> = (&'a str, &'a dyn Fn(&Sample) -> Option<f64>);
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(area: &Area<'_>, title: &str, least: f64, samples: &[Sample], lines: &[Line<'_>]) -> Outcome<()> {
    let points = |value: &dyn Fn(&Sample) -> Option<f64>| -> Vec<_> {
        samples.iter().filter_map(|sample| Some((sample.seconds, value(sample)?))).collect()
    };
    let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, points(value))).collect();
    let most = lines.iter().flat_map(|(_, points)| points).map(|point| point.1).fold(least, f64::max) * 1.3;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 14))
        .margin(4)
        .margin_right(16)
        .x_label_area_size(20)
        .y_label_area_size(48)
        .build_cartesian_2d(-NAMES..SECONDS as f64, 0.0..most)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .y_labels(4)
        .x_label_formatter(&|seconds| if *seconds < 0.0 { String::new() } else { format!("{seconds:.0} s") })
        .y_label_formatter(&|value| format!("{value:.0}"))
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .draw()?;
    let shade = |time: Range<f64>, color: RGBColor| {
        Rectangle::new([(time.start, 0.0), (time.end, most)], color.mix(0.25).filled())
    };
    chart.draw_series([
        shade(-NAMES..0.0, WHITE),
        shade(DARK.start as f64..DARK.end as f64, BLACK),
        shade(REBIND_AT as f64..REBIND_AT as f64 + 0.3, RGBColor(200, 0, 0)),
        shade(LOSSY.start as f64..LOSSY.end as f64, RGBColor(255, 200, 80)),
    ])?;
    let mark = |at: u64, text| Text::new(text, (at as f64 + 0.3, most * 0.98), ("sans-serif", 11));
    chart.draw_series([
        mark(MAPS_AT[0], "map"),
        mark(NARROW_AT, "1,280 B, map"),
        mark(DARK.start, "dark"),
        mark(REBIND_AT, "new port"),
        mark(LOSSY.start, "10 % loss"),
    ])?;
    for ((name, points), color) in lines.into_iter().zip(COLORS) {
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(1)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 11))
        .draw()?;
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
    let following = Following { socket: net.socket(server), peer: None };
    let mut other = SealedEndpoint::with_environment(
        following,
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
