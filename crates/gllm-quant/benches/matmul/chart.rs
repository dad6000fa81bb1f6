//! The figures as a picture: bars for each type, beside llama.cpp's.

use plotters::prelude::*;

use crate::{Figures, Report};

const SIZE: (u32, u32) = (900, 640);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An SVG with the largest shape's figures: one row above, as GB/s, many rows below, as Gop/s.
pub(crate) fn draw(report: &Report) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (above, below) = root.split_vertically(SIZE.1 / 2);
        let shape = |figures: &Figures| [figures.outputs, figures.inputs];
        let largest = report.products.iter().map(shape).max_by_key(|[outputs, inputs]| outputs * inputs);
        let of_rows = |one: bool| -> Vec<&Figures> {
            let is_it = |figures: &&Figures| Some(shape(figures)) == largest && (figures.rows == 1) == one;
            report.products.iter().filter(is_it).collect()
        };
        let read = Some(report.limits.read_gb_per_second);
        bars(&above, "one row, GB/s", &of_rows(true), Figures::gb, read)?;
        bars(&below, "many rows, Gop/s", &of_rows(false), Figures::gop, report.limits.int8_gop_per_second)?;
        root.present()?;
    }
    Ok(svg)
}

impl Figures {
    /// GB/s of gllm and of llama.cpp.
    fn gb(&self) -> [Option<f64>; 2] {
        let bytes = self.gb_per_second / self.gop_per_second;
        [Some(self.gb_per_second), self.llama_cpp_gop_per_second.map(|gop| gop * bytes)]
    }

    /// Gop/s of gllm and of llama.cpp.
    fn gop(&self) -> [Option<f64>; 2] {
        [Some(self.gop_per_second), self.llama_cpp_gop_per_second]
    }
}

fn bars(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    products: &[&Figures],
    heights: fn(&Figures) -> [Option<f64>; 2],
    limit: Option<f64>,
) -> Result<()> {
    const COLOURS: [(RGBColor, &str); 2] = [(RGBColor(178, 74, 36), "gllm"), (RGBColor(150, 160, 170), "llama.cpp")];

    let all = products.iter().flat_map(|figures| heights(figures)).flatten().chain(limit);
    let top = 1.1 * all.fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..products.len() as f64, 0.0..top)?;
    let name = |x: &f64| {
        let here = |place: usize| (place as f64 + 0.5 - x).abs() < 1e-6;
        let figures = products.iter().enumerate().find(|(place, _)| here(*place));
        figures.map_or_else(String::new, |(_, figures)| figures.of.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * products.len() + 1)
        .x_label_formatter(&name)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (side, (colour, name)) in COLOURS.into_iter().enumerate() {
        let bar = |(place, figures): (usize, &&Figures)| {
            let left = place as f64 + 0.12 + 0.38 * side as f64;
            heights(figures)[side].map(|height| Rectangle::new([(left, 0.0), (left + 0.36, height)], colour.filled()))
        };
        chart
            .draw_series(products.iter().enumerate().filter_map(bar))?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
    }
    if let Some(limit) = limit {
        let ends = [(0.0, limit), (products.len() as f64, limit)];
        chart
            .draw_series(LineSeries::new(ends, BLACK))?
            .label("limit")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 10, y)], BLACK));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    Ok(())
}
