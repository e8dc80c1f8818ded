//! Curves over two logarithmic axes, and heat maps, as SVG.

mod heat_map;

pub use heat_map::HeatMap;

use crate::common;
use anyhow::{Context, Result, bail};
use plotters::prelude::*;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// Refuses to draw to `path` where that would cost the user another file than an earlier plot.
pub fn check(path: &Path) -> Result<()> {
    common::check_not_input(path, &[])?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        bail!("{}: there is no folder {}", path.display(), folder.display());
    }
    let mut start = Vec::new();
    if path.is_file() {
        let mut file = File::open(path).with_context(|| path.display().to_string())?;
        file.by_ref().take(START.len() as u64).read_to_end(&mut start)?;
    }
    if !start.is_empty() && start != START {
        bail!("{} exists and is not a plot; name another file", path.display());
    }
    Ok(())
}

/// Writes a plot to `path`, which [`check`] was asked about.
pub fn write(path: &Path, svg: &str) -> Result<()> {
    std::fs::write(path, svg).with_context(|| path.display().to_string())
}

/// How a plot begins.
const START: &[u8] = b"<svg ";

/// A curve, and single marks that belong to it.
pub struct Line {
    pub name: String,
    /// Positive in both directions.
    pub points: Vec<(f64, f64)>,
    /// Likewise.
    pub marks: Vec<(f64, f64)>,
}

pub struct Plot {
    pub title: String,
    pub x: String,
    pub y: String,
    pub lines: Vec<Line>,
}

const FONT: &str = "sans-serif";
const SIZE: (u32, u32) = (760, 460);
/// Distinguishable with color vision deficiencies too (Okabe and Ito 2008).
const COLORS: [RGBColor; 6] = [
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
];

/// From the power of two below the values to the one above.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .map(f64::log2)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    // Without points, or with all in one place, there is still an axis.
    let (low, high) = if low.is_finite() { (low.floor(), high.ceil()) } else { (0.0, 1.0) };
    low.exp2()..high.max(low + 1.0).exp2()
}

/// 65536 as 64K.
fn short(value: &f64) -> String {
    let units = ["", "K", "M", "G", "T", "P"];
    let unit = ((value.log2() / 10.0).floor().max(0.0) as usize).min(units.len() - 1);
    format!("{}{}", value / 1024f64.powi(unit as i32), units[unit])
}

impl Plot {
    pub fn svg(&self) -> Result<String> {
        let all = || self.lines.iter().flat_map(|l| l.points.iter().chain(&l.marks));
        let (x, y) = (range(all().map(|p| p.0)), range(all().map(|p| p.1)));
        let mut out = String::new();
        let root = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, (FONT, 16))
            .margin(16)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(x.log_scale().base(2.0), y.log_scale().base(2.0))?;
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (line, color) in self.lines.iter().zip(COLORS.iter().cycle()) {
            let style = color.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            let marks = line.marks.iter();
            chart.draw_series(marks.map(|&mark| Circle::new(mark, 3, color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .draw()?;
        root.present()?;
        drop((chart, root));
        Ok(out)
    }
}
