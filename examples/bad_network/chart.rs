//! The rows as a picture: delay and cost against loss, one line for each strategy.

use std::path::Path;

use plotters::prelude::*;
use sealgram::Guarantee;

use super::Outcome;
use super::measure::Row;
use super::network::Kind;
use super::strategy::STRATEGIES;

const SIZE: (u32, u32) = (960, 680);
pub(crate) const COLORS: [RGBColor; 6] = [
    RGBColor(31, 94, 168),
    RGBColor(214, 96, 32),
    RGBColor(40, 130, 80),
    RGBColor(176, 40, 60),
    RGBColor(120, 80, 160),
    RGBColor(90, 90, 90),
];
/// Of the lines behind.
pub(crate) const GRID: RGBColor = RGBColor(225, 225, 225);

struct Panel {
    title: &'static str,
    kind: Kind,
    /// Panels side by side with one unit have one scale.
    unit: &'static str,
    value: fn(&Row) -> Option<f64>,
}

const fn delay(title: &'static str, kind: Kind, value: fn(&Row) -> Option<f64>) -> Panel {
    Panel { title, kind, unit: "ms", value }
}

const PANELS: [[Panel; 3]; 2] = [
    [
        delay("half arrive within, ms", Kind::Alone, |row| row.percentile(0.5)),
        delay("99 % arrive within, ms", Kind::Alone, |row| row.percentile(0.99)),
        delay("99.9 % arrive within, ms", Kind::Alone, |row| row.percentile(0.999)),
    ],
    [
        delay("bursts of 50 ms: 99 % within, ms", Kind::Bursts(3), |row| row.percentile(0.99)),
        delay("bursts of 133 ms: 99 % within, ms", Kind::Bursts(8), |row| row.percentile(0.99)),
        Panel {
            title: "bytes on the wire for each byte sent",
            kind: Kind::Alone,
            unit: "bytes",
            value: |row| Some(row.wire_per_payload()),
        },
    ],
];

impl Panel {
    /// What a row says here. Without loss there are no bursts either.
    fn point(&self, row: &Row) -> Option<(f64, f64)> {
        let network = &row.task.network;
        let none = network.kind == Kind::Alone && network.loss == 0.0;
        let here = network.kind == self.kind || none;
        here.then(|| Some((network.loss * 100.0, (self.value)(row)?))).flatten()
    }
}

/// Draws what the rows say of `Delivery`.
pub(crate) fn draw(rows: &[Row], path: &Path) -> Outcome<()> {
    let rows: Vec<_> = rows.iter().filter(|row| row.task.guarantee == Guarantee::Delivery).collect();
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(&headline(&rows), ("sans-serif", 16))?;
    for (row_of_areas, panels) in area.split_evenly((2, 1)).iter().zip(&PANELS) {
        // Delays side by side are drawn to one scale.
        let most = |unit| {
            let panels = panels.iter().filter(|panel| panel.unit == unit);
            let points = panels.flat_map(|panel| rows.iter().filter_map(|row| panel.point(row)));
            points.map(|point| point.1).fold(2.0, f64::max) * 1.1
        };
        for (area, panel) in row_of_areas.split_evenly((1, panels.len())).iter().zip(panels) {
            draw_panel(area, panel, &rows, most(panel.unit))?;
        }
    }
    area.present()?;
    Ok(())
}

fn headline(rows: &[&Row]) -> String {
    let Some(Row { task, .. }) = rows.first() else { return "nothing was measured".to_owned() };
    format!(
        "Delivery of {} bytes at {} Hz, 25\u{b1}5 ms each way, by what was asked of send",
        task.bytes, task.rate
    )
}

fn draw_panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    panel: &Panel,
    rows: &[&Row],
    most: f64,
) -> Outcome<()> {
    let points = |strategy| -> Vec<_> {
        rows.iter().filter(|row| row.task.strategy == strategy).filter_map(|row| panel.point(row)).collect()
    };
    let width = if panel.kind == Kind::Alone { 21.0 } else { 10.5 };
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(38)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..width, 0.0..most)?;
    chart
        .configure_mesh()
        .x_desc("datagrams lost, %")
        .x_labels(5)
        .y_labels(7)
        .x_label_formatter(&|loss| format!("{loss:.0}"))
        .y_label_formatter(&|value| if most < 20.0 { format!("{value:.1}") } else { format!("{value:.0}") })
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .draw()?;
    for (strategy, color) in STRATEGIES.into_iter().zip(COLORS) {
        let points = points(strategy);
        if points.is_empty() {
            continue;
        }
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(strategy.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
    }
    // Once is enough, where the lines leave room.
    if panel.title != PANELS[0][0].title {
        return Ok(());
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 12))
        .draw()?;
    Ok(())
}
