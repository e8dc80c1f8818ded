//! Shares in rows and columns, as colors in SVG.

use super::{Anchor, start, text};

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

const CELL: [f64; 2] = [88.0, 36.0];
/// Left, right, top, bottom.
const MARGINS: [f64; 4] = [96.0, 24.0, 40.0, 56.0];
/// Room for a title above a single column.
const NARROWEST: f64 = 400.0;
/// Of a share of nothing and of everything: light to dark, so that it survives a gray print.
const COLORS: [[f64; 3]; 2] = [[247.0, 251.0, 255.0], [8.0, 48.0, 107.0]];

impl HeatMap {
    pub fn svg(&self) -> String {
        let [left, right, top, bottom] = MARGINS;
        let [wide, high] = CELL;
        let (across, down) = (wide * self.columns.len() as f64, high * self.rows.len() as f64);
        let width = (left + across + right).max(NARROWEST);
        let height = top + down + bottom;
        let mut out = start(width, height);
        out += &text([width / 2.0, 22.0], Anchor::Middle, " font-size=\"15\"", &self.title);
        out += &text([left + across / 2.0, height - 12.0], Anchor::Middle, "", &self.x);
        let turned = format!(" transform=\"rotate(-90 18 {})\"", top + down / 2.0);
        out += &text([18.0, top + down / 2.0], Anchor::Middle, &turned, &self.y);
        let middle = |index: usize, size: f64| size * (index as f64 + 0.5);
        for (index, name) in self.columns.iter().enumerate() {
            let place = [left + middle(index, wide), top + down + 18.0];
            out += &text(place, Anchor::Middle, "", name);
        }
        for (index, name) in self.rows.iter().enumerate() {
            out += &text([left - 8.0, top + middle(index, high) + 4.0], Anchor::End, "", name);
        }
        for (index, (share, label)) in self.cells.iter().enumerate() {
            let (row, column) = (index / self.columns.len(), index % self.columns.len());
            let [x, y] = [left + wide * column as f64, top + high * row as f64];
            out += &format!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide}\" height=\"{high}\" \
                 fill=\"{}\" stroke=\"white\"/>\n",
                color(*share)
            );
            let ink = if *share > 0.5 { " fill=\"white\"" } else { "" };
            out += &text([x + wide / 2.0, y + high / 2.0 + 4.0], Anchor::Middle, ink, label);
        }
        out + "</svg>\n"
    }
}

fn color(share: f64) -> String {
    let [r, g, b] = [0, 1, 2].map(|i| {
        let [nothing, everything] = [COLORS[0][i], COLORS[1][i]];
        (nothing + share.clamp(0.0, 1.0) * (everything - nothing)).round() as u8
    });
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_cell_leaves_room_for_the_title() {
        let [title, x, y] = ["how much", "where", "when"].map(String::from);
        let (columns, rows) = (vec!["here".into()], vec!["now".into()]);
        let svg = HeatMap { title, x, y, columns, rows, cells: vec![(1.0, "all".into())] }.svg();
        assert!(svg.contains("viewBox=\"0 0 400 132\""), "{svg}");
        assert!(svg.contains("fill=\"#08306b\""), "{svg}");
    }
}
