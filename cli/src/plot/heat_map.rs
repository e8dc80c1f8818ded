//! Shares in rows and columns, as colors in SVG.

use super::FONT;
use anyhow::Result;
use plotters::coord::ranged1d::SegmentedCoord;
use plotters::coord::types::RangedCoordusize;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub struct HeatMap {
    pub title: String,
    /// What the columns and the rows are.
    pub x: String,
    pub y: String,
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    /// Row by row: a share between 0 and 1, and what is written on it.
    pub cells: Vec<(f64, String)>,
}

const CELL: [u32; 2] = [88, 36];
/// Beside the cells, and above and below them.
const MARGINS: [u32; 2] = [120, 100];
/// Room for a title above a single column.
const NARROWEST: u32 = 400;
/// Of a share of nothing and of everything: light to dark, so that it survives a gray print.
const COLORS: [RGBColor; 2] = [RGBColor(247, 251, 255), RGBColor(8, 48, 107)];

impl HeatMap {
    pub fn svg(&self) -> Result<String> {
        let (across, down) = (self.columns.len(), self.rows.len());
        let width = (CELL[0] * across as u32 + MARGINS[0]).max(NARROWEST);
        let size = (width, CELL[1] * down as u32 + MARGINS[1]);
        let mut out = String::new();
        let root = SVGBackend::with_string(&mut out, size).into_drawing_area();
        root.fill(&WHITE)?;
        // The first row is the uppermost.
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, (FONT, 16))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(segments(across), segments(down))?;
        let name = |names: &[String], at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(i) => names.get(*i).cloned().unwrap_or_default(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_labels(across)
            .y_labels(down)
            .x_label_formatter(&|at| name(&self.columns, at))
            .y_label_formatter(&|at| match at {
                SegmentValue::CenterOf(i) => {
                    name(&self.rows, &SegmentValue::CenterOf(down.saturating_sub(i + 1)))
                }
                _ => String::new(),
            })
            .draw()?;
        for (index, (share, label)) in self.cells.iter().enumerate() {
            let (row, column) = (down - 1 - index / across, index % across);
            let corners = [(column, row), (column + 1, row + 1)]
                .map(|(x, y)| (SegmentValue::Exact(x), SegmentValue::Exact(y)));
            let mut cell = Rectangle::new(corners, color(*share).filled());
            cell.set_margin(1, 1, 1, 1);
            chart.draw_series([cell])?;
            let ink = if *share > 0.5 { WHITE } else { BLACK };
            let middle = (SegmentValue::CenterOf(column), SegmentValue::CenterOf(row));
            let style =
                (FONT, 12).into_font().color(&ink).pos(Pos::new(HPos::Center, VPos::Center));
            chart.draw_series([Text::new(label.clone(), middle, style)])?;
        }
        root.present()?;
        drop((chart, root));
        Ok(out)
    }
}

/// As many as `count`: the last one is part of such a range.
fn segments(count: usize) -> SegmentedCoord<RangedCoordusize> {
    (0..count.saturating_sub(1)).into_segmented()
}

fn color(share: f64) -> RGBColor {
    let [nothing, everything] = COLORS;
    let mix = |a: u8, b: u8| {
        (f64::from(a) + share.clamp(0.0, 1.0) * (f64::from(b) - f64::from(a))).round() as u8
    };
    RGBColor(
        mix(nothing.0, everything.0),
        mix(nothing.1, everything.1),
        mix(nothing.2, everything.2),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_cell_leaves_room_for_the_title() {
        let [title, x, y] = ["how much", "where", "when"].map(String::from);
        let (columns, rows) = (vec!["here".into()], vec!["now".into()]);
        let map = HeatMap { title, x, y, columns, rows, cells: vec![(1.0, "all".into())] };
        let svg = map.svg().unwrap();
        assert!(svg.contains("width=\"400\" height=\"136\""), "{svg}");
        assert!(svg.contains("fill=\"#08306B\""), "{svg}");
    }
}
