//! Tables in Markdown, and a drawing that can be read on white and on black.

use std::fmt::Write as _;

/// Of one panel, with room for labels.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 330.0;
/// Of the axes in a panel: left, top, right, bottom.
const FRAME: [f64; 4] = [64.0, 40.0, 300.0, 270.0];
const COLUMNS: usize = 2;
/// Of middling brightness, so that they stand out from white and from black; a line beyond the last begins again, dashed.
const COLOURS: [&str; 6] = ["#2f81f7", "#d1652b", "#2da44e", "#bf5af2", "#c69026", "#e5534b"];
const INK: &str = "#7d8590";

/// One thing against another.
pub(crate) struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Line {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), points: Vec::new() }
    }

    pub(crate) fn add(&mut self, x: u32, y: f64) {
        self.points.push((f64::from(x), y));
    }

    fn at(&self, x: f64) -> Option<f64> {
        self.points.iter().find(|(place, _)| (place - x).abs() < 0.5).map(|(_, y)| *y)
    }
}

/// Some lines over the same ground.
pub(crate) struct Plot {
    title: &'static str,
    /// With units.
    x: &'static str,
    y: &'static str,
    lines: Vec<Line>,
}

impl Plot {
    pub(crate) fn new(title: &'static str, (x, y): (&'static str, &'static str), lines: Vec<Line>) -> Self {
        Self { title, x, y, lines }
    }

    /// All places that any line has.
    fn places(&self) -> Vec<f64> {
        let mut places: Vec<f64> = self.lines.iter().flat_map(|line| &line.points).map(|(x, _)| *x).collect();
        places.sort_unstable_by(f64::total_cmp);
        places.dedup();
        places
    }

    pub(crate) fn print(&self) {
        let places = self.places();
        let head: Vec<String> = places.iter().map(|x| format!("{x:.0}")).collect();
        println!("**{}, {}, against {}**\n", self.title, self.y, self.x);
        println!("| | {} |\n|---|{}", head.join(" | "), "---|".repeat(head.len()));
        for line in &self.lines {
            let cells: Vec<String> =
                places.iter().map(|x| line.at(*x).map_or(String::new(), short)).collect();
            println!("| {} | {} |", line.name, cells.join(" | "));
        }
        println!();
    }

    /// The highest value, rounded up to what a person would write at an axis.
    fn top(&self) -> f64 {
        let most = self
            .lines
            .iter()
            .flat_map(|line| &line.points)
            .map(|(_, y)| *y)
            .fold(f64::MIN_POSITIVE, f64::max);
        let power = 10_f64.powf(most.log10().floor());
        [1.0, 2.0, 3.0, 5.0, 10.0].iter().map(|step| step * power).find(|top| *top >= most).unwrap_or(most)
    }

    /// Decades when values differ by more than thirty times: then the smaller ones would lie on the ground.
    fn is_logarithmic(&self) -> bool {
        let values = || self.lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
        values().fold(0.0, f64::max) > 30.0 * values().fold(f64::INFINITY, f64::min)
    }

    fn draw(&self, (left, top): (f64, f64)) -> String {
        let places = self.places();
        let (first, last) = (places.first().copied().unwrap_or(1.0), places.last().copied().unwrap_or(1.0));
        let scale = Scale { first, last, vertical: self.vertical() };
        let mut text = format!("<g transform=\"translate({left} {top})\">\n");
        let _ =
            writeln!(text, "<text x=\"{}\" y=\"22\" font-weight=\"bold\">{}</text>", FRAME[0], self.title);
        self.draw_axes(&mut text, &scale, &places);
        for (place, line) in self.lines.iter().enumerate() {
            let colour = COLOURS.get(place % COLOURS.len()).copied().unwrap_or(INK);
            let dash = if place < COLOURS.len() { "" } else { " stroke-dasharray=\"5 3\"" };
            let points = line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y)));
            let points = points.collect::<Vec<_>>().join(" ");
            let _ = writeln!(
                text,
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>"
            );
            for (x, y) in &line.points {
                let _ = writeln!(
                    text,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                    scale.x(*x),
                    scale.y(*y)
                );
            }
            let (x, y) = (FRAME[2] + 14.0, FRAME[1] + 16.0 * place as f64 + 4.0);
            let _ = writeln!(
                text,
                "<path d=\"M{x} {} h16\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/><text x=\"{}\" y=\"{y}\">{}</text>",
                y - 4.0,
                x + 21.0,
                line.name
            );
        }
        text + "</g>\n"
    }

    fn vertical(&self) -> Vertical {
        if !self.is_logarithmic() {
            return Vertical::Linear { top: self.top() };
        }
        let values = || self.lines.iter().flat_map(|line| &line.points).map(|(_, y)| y.log10());
        let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        Vertical::Decades { from: least.floor(), to: most.ceil() }
    }

    fn draw_axes(&self, text: &mut String, scale: &Scale, places: &[f64]) {
        let [left, top, right, bottom] = FRAME;
        let _ =
            writeln!(text, "<path d=\"M{left} {top} V{bottom} H{right}\" fill=\"none\" stroke=\"{INK}\"/>");
        for y in scale.marks() {
            let (at, label) = (scale.y(y), short(y));
            let _ = writeln!(
                text,
                "<path d=\"M{left} {at:.1} H{right}\" stroke=\"{INK}\" stroke-opacity=\"0.25\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 6.0,
                at + 4.0
            );
        }
        for x in places {
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                scale.x(*x),
                bottom + 16.0,
                short(*x)
            );
        }
        let (middle, under) = (f64::midpoint(left, right), bottom + 36.0);
        let _ = writeln!(text, "<text x=\"{middle}\" y=\"{under}\" text-anchor=\"middle\">{}</text>", self.x);
        let height = f64::midpoint(top, bottom);
        let _ = writeln!(
            text,
            "<text transform=\"translate(14 {height}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            self.y
        );
    }
}

#[derive(Debug, Clone, Copy)]
enum Vertical {
    /// From 0.
    Linear { top: f64 },
    /// Powers of ten.
    Decades { from: f64, to: f64 },
}

/// Where values lie in a panel. Places are always in decades.
struct Scale {
    first: f64,
    last: f64,
    vertical: Vertical,
}

impl Scale {
    fn x(&self, x: f64) -> f64 {
        let [left, _, right, _] = FRAME;
        let share = (x / self.first).log10() / (self.last / self.first).log10().max(f64::MIN_POSITIVE);
        (right - left).mul_add(share, left)
    }

    fn y(&self, y: f64) -> f64 {
        let [_, top, _, bottom] = FRAME;
        let share = match self.vertical {
            Vertical::Linear { top } => y / top,
            Vertical::Decades { from, to } => (y.log10() - from) / (to - from),
        };
        (top - bottom).mul_add(share, bottom)
    }

    fn marks(&self) -> Vec<f64> {
        match self.vertical {
            Vertical::Linear { top } => (0..=5).map(|n| top * f64::from(n) / 5.0).collect(),
            Vertical::Decades { from, to } => {
                (from as i32..=to as i32).map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

/// As people write it.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 100_000.0 => format!("{:.0}k", v / 1e3),
        v if v >= 100.0 || (v - v.round()).abs() < 1e-9 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// All panels in one drawing.
pub(crate) fn svg(plots: &[Plot]) -> String {
    let (columns, rows) = (COLUMNS.min(plots.len()).max(1), plots.len().div_ceil(COLUMNS));
    let (width, height) = (WIDTH * columns as f64, HEIGHT * rows as f64);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"{INK}\">\n"
    );
    for (place, plot) in plots.iter().enumerate() {
        let (column, row) = (place % COLUMNS, place / COLUMNS);
        text += &plot.draw((WIDTH * column as f64, HEIGHT * row as f64));
    }
    text + "</svg>\n"
}
