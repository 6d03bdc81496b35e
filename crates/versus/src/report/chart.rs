//! The picture: a bar for each peer, one panel for each load, as long as its ratio to the panel's ruler.

use std::path::Path;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::numbers::{Spread, ratio, short};
use crate::{
    end::Outcome,
    peers::Peer,
    run::{Report, Row, Table},
};

const WIDTH: u32 = 980;
/// Panels side by side.
const ACROSS: usize = 2;
const BAR: i32 = 17;
/// Of a panel, for title and note.
const TOP: i32 = 42;
const NAMES: i32 = 196;
/// Behind the longest bar, for its number.
const NUMBER: i32 = 48;
const OWN: RGBColor = RGBColor(31, 94, 168);
const SEALED: RGBColor = RGBColor(214, 96, 32);
const PLAIN: RGBColor = RGBColor(170, 170, 170);
const RULER: RGBColor = RGBColor(90, 90, 90);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn color(peer: Peer) -> RGBColor {
    match peer.names() {
        _ if peer.is_ours() => OWN,
        (_, true) => SEALED,
        (_, false) => PLAIN,
    }
}

/// The bars of a panel, the shortest first.
fn bars(table: &Table) -> Vec<(&Row, Spread)> {
    let main = table.load.main().0;
    let mut bars: Vec<_> =
        table.rows.iter().filter_map(|row| Some((row, ratio(table, row, main)?))).collect();
    bars.sort_by(|(_, one), (_, two)| one.median.total_cmp(&two.median));
    bars
}

fn panel(area: &Area<'_>, table: &Table) -> Outcome<()> {
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    area.draw(&Text::new(table.load.title(), (8, 8), text(15)))?;
    let note = format!("{}, to that of {}", table.load.main().1, table.load.ruler().names().0);
    area.draw(&Text::new(note, (8, 26), text(12)))?;
    let bars = bars(table);
    let most = bars.iter().map(|(_, spread)| spread.median).fold(1.0, f64::max);
    let room = f64::from(area.dim_in_pixel().0) - f64::from(NAMES + NUMBER);
    let x = |value: f64| NAMES + (value.min(most) / most * room) as i32;
    let bottom = TOP + BAR * bars.len() as i32;
    area.draw(&PathElement::new([(x(1.0), TOP), (x(1.0), bottom)], RULER.stroke_width(1)))?;
    for (at, (row, spread)) in bars.iter().enumerate() {
        let y = TOP + BAR * at as i32;
        let names = text(12).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(row.peer.names().0, (NAMES - 6, y + BAR / 2), names))?;
        let bar = [(NAMES, y + 3), (x(spread.median), y + BAR - 3)];
        area.draw(&Rectangle::new(bar, color(row.peer).filled()))?;
        let whisker = [(x(spread.least), y + BAR / 2), (x(spread.most), y + BAR / 2)];
        area.draw(&PathElement::new(whisker, BLACK.stroke_width(1)))?;
        let number = text(12).pos(Pos::new(HPos::Left, VPos::Center));
        let beside = x(spread.median.max(spread.most)) + 5;
        area.draw(&Text::new(short(spread.median), (beside, y + BAR / 2), number))?;
    }
    Ok(())
}

fn legend(area: &Area<'_>) -> Outcome<()> {
    let kinds = [("sealgram", OWN), ("sealed", SEALED), ("not sealed", PLAIN)];
    for (at, (name, color)) in kinds.into_iter().enumerate() {
        let x = 8 + 110 * at as i32;
        area.draw(&Rectangle::new([(x, 10), (x + 14, 20)], color.filled()))?;
        let style = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(name, (x + 20, 15), style))?;
    }
    let what = "less is better; the line stands at 1, the ruler of the panel";
    let style = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(what, (8 + 110 * 3, 15), style))?;
    Ok(())
}

pub fn draw(report: &Report, path: &Path) -> Outcome<()> {
    let height = |table: &Table| TOP + BAR * bars(table).len() as i32 + 14;
    let rows: Vec<&[Table]> = report.tables.chunks(ACROSS).collect();
    let heights: Vec<i32> = rows.iter().map(|row| row.iter().map(height).max().unwrap_or_default()).collect();
    let all = 30 + heights.iter().sum::<i32>();
    let root = SVGBackend::new(path, (WIDTH, all.unsigned_abs())).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, mut rest) = root.split_vertically(30);
    legend(&head)?;
    for (row, height) in rows.into_iter().zip(heights) {
        let (area, below) = rest.split_vertically(height);
        for (area, table) in area.split_evenly((1, ACROSS)).iter().zip(row) {
            panel(area, table)?;
        }
        rest = below;
    }
    root.present()?;
    Ok(())
}
