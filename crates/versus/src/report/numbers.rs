//! Medians of figures, and of ratios to the ruler of the same turn.

use crate::{
    loads::Figures,
    run::{Row, Table},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// `None` of nothing.
pub fn spread(values: impl Iterator<Item = f64>) -> Option<Spread> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    let lower = if values.len() % 2 == 0 { *values.get(half - 1)? } else { upper };
    Some(Spread { median: (lower + upper) / 2.0, least, most })
}

fn of<'a>(row: &'a Row, name: &'a str) -> impl Iterator<Item = Option<f64>> + 'a {
    row.turns.iter().map(move |turn| turn.as_ref().ok().and_then(|found: &Figures| found.get(name).copied()))
}

pub fn figure(row: &Row, name: &str) -> Option<f64> {
    spread(of(row, name).flatten()).map(|spread| spread.median)
}

/// How many times as much as the ruler's, turn by turn.
pub fn ratio(table: &Table, row: &Row, name: &str) -> Option<Spread> {
    let ruler = table.rows.iter().find(|row| row.peer == table.load.ruler())?;
    let pairs = of(row, name).zip(of(ruler, name));
    spread(pairs.filter_map(|(own, ruler)| Some(own? / ruler?)))
}

/// With three digits that say something.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => grouped(value.round()),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.0995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{loads::Load, peers::Peer};

    fn row(peer: Peer, cpu: &[f64]) -> Row {
        let turns = cpu.iter().map(|cpu| Ok(Figures::from([("cpu".to_owned(), *cpu)]))).collect();
        Row { peer, turns }
    }

    #[test]
    fn a_ratio_is_that_within_a_turn() {
        let rows = vec![row(Peer::UdpChacha, &[10.0, 20.0, 40.0]), row(Peer::Udp, &[5.0, 10.0, 30.0])];
        let table = Table { load: Load::FloodSmall, rows };
        let found = ratio(&table, &table.rows[1], "cpu");
        assert_eq!(found, Some(Spread { median: 0.5, least: 0.5, most: 0.75 }));
        assert_eq!(ratio(&table, &table.rows[1], "none"), None);
    }

    #[test]
    fn a_turn_that_failed_counts_in_neither_median_nor_ratio() {
        let mut failed = row(Peer::Udp, &[8.0, 0.0, 6.0]);
        failed.turns[1] = Err("it hangs".to_owned());
        let table = Table { load: Load::FloodSmall, rows: vec![row(Peer::UdpChacha, &[10.0; 3]), failed] };
        assert_eq!(figure(&table.rows[1], "cpu"), Some(7.0));
        assert_eq!(ratio(&table, &table.rows[1], "cpu").map(|spread| spread.median), Some(0.7));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.0421, 0.37, 1.5, 12.345, 635.4, 1_234_567.0].map(short);
        assert_eq!(shown, ["0", "0.042", "0.37", "1.50", "12.3", "635", "1,234,567"]);
    }
}
