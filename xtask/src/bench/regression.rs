//! Whether ratios are worse than those of another day.
//!
//! A ratio has a spread. It is worse where its median lies below all ratios of that day, and that day's median above all
//! of today: what noise alone could do is no regression.

use super::report::{Report, Row};
use super::spread::Spread;
use crate::Result;

/// An error that names each ratio that is worse; one where there is nothing to compare, too.
pub(crate) fn check(before: &Report, now: &Report) -> Result {
    let pairs: Vec<_> = before.rows.iter().flat_map(|row| pairs(row, &now.rows)).collect();
    if pairs.is_empty() {
        return Err("the two reports have no ratio in common".into());
    }
    let worse: Vec<String> = pairs.iter().filter(|(_, before, now)| is_worse(*before, *now)).map(said).collect();
    if worse.is_empty() {
        eprintln!("{} ratios, none of them worse than before", pairs.len());
        return Ok(());
    }
    Err(format!("{} of {} ratios are worse than before:\n{}", worse.len(), pairs.len(), worse.join("\n")).into())
}

/// The ratios of a row before, with those of today for the same measure and peer, and what they are of.
fn pairs<'a>(before: &'a Row, now: &'a [Row]) -> impl Iterator<Item = (String, Spread, Spread)> + 'a {
    let row = now.iter().find(|row| row.name == before.name && row.unit == before.unit);
    let peers = before.peers.iter().filter_map(move |peer| Some((peer, row?)));
    peers.filter_map(|(peer, row)| {
        let found = row.peers.iter().find(|found| found.program == peer.program)?;
        Some((format!("{}, {}, beside {}", row.name, row.unit, peer.program), peer.ratio?, found.ratio?))
    })
}

fn is_worse(before: Spread, now: Spread) -> bool {
    now.median < before.least && before.median > now.greatest
}

fn said((name, before, now): &(String, Spread, Spread)) -> String {
    let shown = |Spread { median, least, greatest }: &Spread| format!("{median:.2} ({least:.2} to {greatest:.2})");
    format!("- {name}: {}, before {}", shown(now), shown(before))
}

#[cfg(test)]
mod tests {
    use super::super::report::Better;
    use super::*;

    fn report(gllm: [f64; 3]) -> Report {
        let row = Row::new("bulk", "texts/s", Better::More, gllm.to_vec()).against("P", vec![1.0; 3]);
        Report { rows: vec![row], ..Report::default() }
    }

    #[test]
    fn a_ratio_is_worse_where_the_spreads_say_so() {
        let before = report([1.2, 1.3, 1.4]);
        let error = check(&before, &report([1.0, 1.1, 1.15])).expect_err("worse").to_string();
        assert!(error.contains("1 of 1") && error.contains("bulk, texts/s, beside P: 1.10 (1.00 to 1.15)"), "{error}");
        for within in [[1.1, 1.25, 1.3], [1.0, 1.1, 1.35], [1.5, 1.6, 1.7]] {
            check(&before, &report(within)).expect("noise, or better");
        }
    }

    #[test]
    fn other_measures_and_peers_are_not_compared() {
        let before = report([1.0; 3]);
        for change in [|row: &mut Row| row.name = "other".into(), |row: &mut Row| row.peers[0].program = "Q".into()] {
            let mut now = report([0.1; 3]);
            change(&mut now.rows[0]);
            assert!(check(&before, &now).expect_err("nothing").to_string().contains("no ratio in common"));
        }
    }
}
