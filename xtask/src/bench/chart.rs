//! The figures as a picture: a panel for each unit, and in it bars of gllm and its peers, a group for each measure.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{Report, Row};
use crate::Result;

const WIDTH: u32 = 900;

/// Height of a bar, and of what is around the bars of a panel.
const BAR: u32 = 18;
const AROUND: u32 = 90;

/// Width of the measures' names.
const NAMES: u32 = 330;

/// gllm's colour, then those of the peers.
const COLOURS: [RGBColor; 6] = [
    RGBColor(178, 74, 36),
    RGBColor(150, 160, 170),
    RGBColor(70, 110, 150),
    RGBColor(110, 150, 110),
    RGBColor(190, 160, 90),
    RGBColor(130, 110, 150),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// An SVG of the medians.
pub(crate) fn draw(report: &Report) -> Result<String> {
    let panels: Vec<_> = panels(&report.rows).into_iter().map(|rows| (programs(&rows), rows)).collect();
    // Room for a bar of each program, and half of one between the measures.
    let height =
        |(programs, rows): &(Vec<&str>, Vec<&Row>)| AROUND + (rows.len() * (2 * programs.len() + 1)) as u32 * BAR / 2;
    let mut svg = String::new();
    {
        let all = SVGBackend::with_string(&mut svg, (WIDTH, panels.iter().map(height).sum())).into_drawing_area();
        all.fill(&WHITE)?;
        let mut rest = all.clone();
        for panel in &panels {
            let (area, below) = rest.split_vertically(height(panel));
            bars(&area, &panel.0, &panel.1)?;
            rest = below;
        }
        all.present()?;
    }
    Ok(svg)
}

/// Rows of the same unit, in the order in which units first come.
fn panels(rows: &[Row]) -> Vec<Vec<&Row>> {
    let mut panels: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match panels.iter_mut().find(|panel| panel[0].unit == row.unit) {
            Some(panel) => panel.push(row),
            None => panels.push(vec![row]),
        }
    }
    panels
}

/// Those that have figures in a panel, gllm first.
fn programs<'a>(rows: &[&'a Row]) -> Vec<&'a str> {
    let mut programs = Vec::new();
    for (program, _) in rows.iter().flat_map(|row| row.medians()).filter(|(_, median)| median.is_some()) {
        if !programs.contains(&program) {
            programs.push(program);
        }
    }
    programs
}

fn bars(area: &Area<'_>, programs: &[&str], rows: &[&Row]) -> Result {
    let longest = rows.iter().flat_map(|row| row.medians()).filter_map(|(_, median)| median).fold(0.0, f64::max);
    // The legend is to the right of the bars.
    let (right, top) = (1.45 * longest.max(f64::MIN_POSITIVE), rows.len() as f64);
    let mut chart = ChartBuilder::on(area)
        .caption(&rows[0].unit, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    // The first measure is at the top.
    let name = |y: &f64| {
        let found = rows.iter().enumerate().find(|(place, _)| (top - *place as f64 - 0.5 - y).abs() < 1e-6);
        found.map_or_else(String::new, |(_, row)| row.name.clone())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(2 * rows.len() + 1)
        .y_label_formatter(&name)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let high = 1.0 / (programs.len() as f64 + 0.5);
    for (side, program) in programs.iter().enumerate() {
        let colour = COLOURS[side % COLOURS.len()];
        let bar = |(place, row): (usize, &&Row)| {
            let length = row.medians().find(|(name, _)| name == program)?.1?;
            let above = top - place as f64 - high * (side as f64 + 0.25);
            Some(Rectangle::new([(0.0, above), (length, above - 0.9 * high)], colour.filled()))
        };
        chart
            .draw_series(rows.iter().enumerate().filter_map(bar))?
            .label(*program)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
    }
    if programs.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleRight)
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::report::Better;
    use super::*;

    #[test]
    fn every_measure_and_program_is_in_the_picture() {
        let row = |name: &str, unit: &str| Row::new(name, unit, Better::More, vec![2.0]).against("P", vec![1.0]);
        let rows = vec![row("first", "texts/s"), row("second", "ms"), row("third", "ms").against("Q", vec![])];
        let svg = draw(&Report { rows, ..Report::default() }).expect("a picture");
        for text in ["first", "second", "third", "texts/s", "ms", "gllm", "P"] {
            assert!(svg.contains(&format!("\n{text}\n")), "{text} isn't in {svg}");
        }
    }
}
