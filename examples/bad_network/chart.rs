//! The rows as a picture: delay against loss, one line for each strategy.

use std::path::Path;

use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;
use sealgram::Guarantee;

use super::Outcome;
use super::measure::Row;
use super::network::Kind;
use super::strategy::STRATEGIES;

const SIZE: (u32, u32) = (960, 360);
pub(crate) const COLORS: [RGBColor; 6] = [
    RGBColor(31, 94, 168),
    RGBColor(214, 96, 32),
    RGBColor(40, 130, 80),
    RGBColor(176, 40, 60),
    RGBColor(120, 80, 160),
    RGBColor(90, 90, 90),
];
const SHARES: [(&str, f64); 3] =
    [("half arrive within", 0.5), ("99 % arrive within", 0.99), ("99.9 % arrive within", 0.999)];

/// Draws what the rows of the networks without bursts say of `Delivery`.
pub(crate) fn draw(rows: &[Row], path: &Path) -> Outcome<()> {
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.task.network.kind == Kind::Alone && row.task.guarantee == Guarantee::Delivery)
        .collect();
    let delays = || rows.iter().flat_map(|row| SHARES.map(|(_, share)| row.percentile(share))).flatten();
    let most = delays().fold(100.0, f64::max) * 1.2;
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, (title, share)) in area.split_evenly((1, SHARES.len())).iter().zip(SHARES) {
        let mut chart = ChartBuilder::on(panel)
            .caption(title, ("sans-serif", 17))
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..21.0, (20.0..most).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("datagrams lost, %")
            .y_desc("ms")
            .x_labels(5)
            .x_label_formatter(&|loss| format!("{loss:.0}"))
            .y_label_formatter(&|ms| format!("{ms:.0}"))
            .light_line_style(RGBColor(235, 235, 235))
            .draw()?;
        for (strategy, color) in STRATEGIES.into_iter().zip(COLORS) {
            let points: Vec<_> = rows
                .iter()
                .filter(|row| row.task.strategy == strategy)
                .filter_map(|row| Some((row.task.network.loss * 100.0, row.percentile(share)?)))
                .collect();
            if points.is_empty() {
                continue;
            }
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
                .label(strategy.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
    area.present()?;
    Ok(())
}
