//! Curves over two logarithmic axes, and heat maps, as SVG.

mod heat_map;

pub use heat_map::HeatMap;

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

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
/// Left, right, top, bottom.
const MARGINS: [f64; 4] = [80.0, 120.0, 40.0, 50.0];
/// Distinguishable with color vision deficiencies too (Okabe and Ito 2008).
const COLORS: [&str; 6] = ["#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// An axis of powers of two.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let (low, high) = values
            .map(f64::log2)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        // Without points, or with all in one place, there is still an axis.
        let (low, high) = if low.is_finite() { (low.floor(), high.ceil()) } else { (0.0, 1.0) };
        Axis { low, high: high.max(low + 1.0), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log2() - self.low) / (self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    /// At most a dozen powers of two.
    fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let step = ((self.high - self.low) / 12.0).ceil().max(1.0);
        let (low, count) = (self.low, ((self.high - self.low) / step) as usize);
        (0..=count).map(move |i| (low + i as f64 * step).exp2())
    }
}

/// 65536 as 64K.
fn short(value: f64) -> String {
    let units = ["", "K", "M", "G", "T", "P"];
    let unit = ((value.log2() / 10.0).floor().max(0.0) as usize).min(units.len() - 1);
    format!("{}{}", value / 1024f64.powi(unit as i32), units[unit])
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The beginning of a picture.
fn start(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    )
}

/// Which part of a text is at its place.
enum Anchor {
    Start,
    Middle,
    End,
}

/// A text, with `more` attributes.
fn text([x, y]: [f64; 2], anchor: Anchor, more: &str, text: &str) -> String {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let text = escaped(text);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{text}</text>\n")
}

impl Plot {
    pub fn svg(&self) -> String {
        let [left, right, top, bottom] = MARGINS;
        let all = || self.lines.iter().flat_map(|l| l.points.iter().chain(&l.marks));
        let x = Axis::new(all().map(|p| p.0), left, WIDTH - right);
        let y = Axis::new(all().map(|p| p.1), HEIGHT - bottom, top);
        let mut out = start(WIDTH, HEIGHT);
        out += &text([WIDTH / 2.0, 22.0], Anchor::Middle, " font-size=\"15\"", &self.title);
        out += &text([(x.from + x.to) / 2.0, HEIGHT - 12.0], Anchor::Middle, "", &self.x);
        let middle = (y.from + y.to) / 2.0;
        let turned = format!(" transform=\"rotate(-90 18 {middle})\"");
        out += &text([18.0, middle], Anchor::Middle, &turned, &self.y);
        for tick in x.ticks() {
            out += &text([x.at(tick), y.from + 18.0], Anchor::Middle, "", &short(tick));
        }
        for tick in y.ticks() {
            out += &text([x.from - 8.0, y.at(tick) + 4.0], Anchor::End, "", &short(tick));
        }
        // Labels at the ends of the curves, moved apart where they would overlap.
        let end = |line: &Line| line.points.last().map_or(middle, |p| y.at(p.1));
        let mut order: Vec<usize> = (0..self.lines.len()).collect();
        order.sort_by(|&a, &b| end(&self.lines[a]).total_cmp(&end(&self.lines[b])));
        let mut last = f64::NEG_INFINITY;
        for index in order {
            let line = &self.lines[index];
            last = (end(line) + 4.0).max(last + 14.0);
            let color = format!(" fill=\"{}\"", COLORS[index % COLORS.len()]);
            out += &text([x.to + 8.0, last], Anchor::Start, &color, &line.name);
        }
        let rule = |a: (f64, f64), b: (f64, f64), color: &str| {
            format!(
                "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{color}\"/>\n",
                a.0, a.1, b.0, b.1
            )
        };
        for tick in x.ticks().map(|t| x.at(t)) {
            out += &rule((tick, y.from), (tick, y.to), "#dddddd");
        }
        for tick in y.ticks().map(|t| y.at(t)) {
            out += &rule((x.from, tick), (x.to, tick), "#dddddd");
        }
        for (index, line) in self.lines.iter().enumerate() {
            let color = COLORS[index % COLORS.len()];
            let points: Vec<String> =
                line.points.iter().map(|p| format!("{:.1},{:.1}", x.at(p.0), y.at(p.1))).collect();
            out += &format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>\n",
                points.join(" ")
            );
            for mark in &line.marks {
                let (x, y) = (x.at(mark.0), y.at(mark.1));
                out +=
                    &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"/>\n");
            }
        }
        out + "</svg>\n"
    }
}
