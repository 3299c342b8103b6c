//! One chart as inline SVG with its legend: lines or stacked areas over time, marks for events.

use std::fmt::Write as _;

/// Width and height of the picture, in its own units.
const SIZE: (f64, f64) = (1000.0, 250.0);
/// Left, top, right and bottom of the field inside it.
const FIELD: (f64, f64, f64, f64) = (64.0, 14.0, 974.0, 222.0);
/// Points of a line; longer ones are averaged.
const MOST_POINTS: usize = 500;
/// Colours that the page has.
pub(super) const COLOURS: usize = 8;

/// A chart.
#[derive(Debug, Clone, Default)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What the numbers are, such as `requests/s`.
    pub(super) unit: &'a str,
    /// What a chart without any number says.
    pub(super) nothing: &'a str,
    /// When the points are, in seconds.
    pub(super) times: &'a [f64],
    pub(super) lines: Vec<Line>,
    /// Lines are laid on each other and filled.
    pub(super) is_stacked: bool,
    /// A level to hold to, with its name.
    pub(super) level: Option<(f64, &'a str)>,
    /// When something happened; numbered from 1.
    pub(super) marks: &'a [f64],
}

/// A line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) is_dashed: bool,
    /// One for each time; what is not finite leaves a gap.
    pub(super) values: Vec<f64>,
}

impl Chart<'_> {
    /// The figure as HTML.
    pub(super) fn render(mut self) -> String {
        let mut out = format!(
            "<figure><figcaption><b>{}</b> <span>{}</span></figcaption>",
            escaped(self.title),
            escaped(self.unit)
        );
        self.lines.retain(|line| line.values.iter().any(|value| value.is_finite()));
        if !self.lines.iter().flat_map(|line| &line.values).any(|value| *value > 0.0) {
            let _ = write!(out, "<p class=\"none\">{}</p></figure>", escaped(self.nothing));
            return out;
        }
        self.legend(&mut out);
        self.picture(&mut out);
        out.push_str("</figure>\n");
        out
    }

    fn legend(&self, out: &mut String) {
        out.push_str("<div class=\"legend\">");
        // A dashed line belongs to the solid one of its colour, as the unit says.
        for line in self.lines.iter().filter(|line| !line.is_dashed) {
            let _ = write!(
                out,
                "<span><i style=\"--c:var(--c{})\"></i>{}</span>",
                line.colour % COLOURS,
                escaped(&line.name)
            );
        }
        if let Some((_, name)) = self.level {
            let _ =
                write!(out, "<span><i class=\"dash\" style=\"--c:var(--dim)\"></i>{}</span>", escaped(name));
        }
        out.push_str("</div>");
    }

    fn picture(&self, out: &mut String) {
        let tops = self.stacked();
        let greatest = tops
            .iter()
            .flatten()
            .copied()
            .filter(|value| value.is_finite())
            .chain(self.level.map(|level| level.0))
            .fold(0.0, f64::max);
        let (step, top) = scale(greatest);
        let end = self.times.last().copied().unwrap_or(1.0);
        let grid = Grid { end, top };
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
            SIZE.0,
            SIZE.1,
            escaped(self.title)
        );
        grid.axes(out, step);
        for (number, at) in (1..).zip(self.marks) {
            grid.mark(out, number, *at);
        }
        if let Some((level, _)) = self.level {
            let y = grid.y(level);
            let _ = write!(out, "<path class=\"level\" d=\"M{:.1} {y:.1}H{:.1}\"/>", FIELD.0, FIELD.2);
        }
        let floor = vec![0.0; self.times.len()];
        for (n, line) in self.lines.iter().enumerate() {
            let Some(upper) = tops.get(n) else { continue };
            let colour = line.colour % COLOURS;
            if self.is_stacked {
                let lower = n.checked_sub(1).and_then(|below| tops.get(below)).unwrap_or(&floor);
                let path = grid.area(self.times, lower, upper);
                let _ = write!(out, "<path class=\"area\" style=\"--c:var(--c{colour})\" d=\"{path}\"/>");
            } else {
                let path = grid.line(self.times, upper);
                let class = if line.is_dashed { "line dashed" } else { "line" };
                let _ = write!(out, "<path class=\"{class}\" style=\"--c:var(--c{colour})\" d=\"{path}\"/>");
            }
        }
        out.push_str("</svg>");
    }

    /// Upper edges of the areas, or the lines themselves.
    fn stacked(&self) -> Vec<Vec<f64>> {
        let mut below = vec![0.0; self.times.len()];
        let edge = |line: &Line| {
            if !self.is_stacked {
                return line.values.clone();
            }
            for (sum, value) in below.iter_mut().zip(&line.values) {
                *sum += if value.is_finite() { *value } else { 0.0 };
            }
            below.clone()
        };
        self.lines.iter().map(edge).collect()
    }
}

/// From numbers to places.
struct Grid {
    end: f64,
    top: f64,
}

impl Grid {
    fn x(&self, seconds: f64) -> f64 {
        FIELD.0 + (FIELD.2 - FIELD.0) * seconds / self.end.max(1e-9)
    }

    fn y(&self, value: f64) -> f64 {
        FIELD.3 - (FIELD.3 - FIELD.1) * value / self.top.max(1e-9)
    }

    fn axes(&self, out: &mut String, step: f64) {
        let mut value = 0.0;
        while value <= self.top * 1.0001 {
            let y = self.y(value);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{:.1} {y:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" class=\"left\">{}</text>",
                FIELD.0,
                FIELD.2,
                FIELD.0 - 8.0,
                y + 4.5,
                short(value)
            );
            value += step;
        }
        let (step, _) = scale_of_time(self.end);
        let mut at = 0.0;
        while at <= self.end * 1.0001 {
            let x = self.x(at);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{x:.1} {:.1}v5\"/><text x=\"{x:.1}\" y=\"{:.1}\" class=\"below\">{}</text>",
                FIELD.3,
                FIELD.3 + 21.0,
                clock(at, self.end)
            );
            at += step;
        }
    }

    fn mark(&self, out: &mut String, number: usize, at: f64) {
        let x = self.x(at);
        let _ = write!(
            out,
            "<path class=\"mark\" d=\"M{x:.1} {:.1}V{:.1}\"/><text x=\"{x:.1}\" y=\"{:.1}\" class=\"mark\">{number}</text>",
            FIELD.1,
            FIELD.3,
            FIELD.1 - 3.0
        );
    }

    fn line(&self, times: &[f64], values: &[f64]) -> String {
        let mut path = String::new();
        let mut is_open = false;
        for (at, value) in thinned(times, values) {
            if value.is_finite() {
                let letter = if is_open { 'L' } else { 'M' };
                let _ = write!(path, "{letter}{:.1} {:.1}", self.x(at), self.y(value));
            }
            is_open = value.is_finite();
        }
        path
    }

    fn area(&self, times: &[f64], lower: &[f64], upper: &[f64]) -> String {
        let mut path = self.line(times, upper);
        for (at, value) in thinned(times, lower).into_iter().rev() {
            let _ = write!(path, "L{:.1} {:.1}", self.x(at), self.y(value));
        }
        path + "Z"
    }
}

/// At most [`MOST_POINTS`]; neighbours are averaged.
#[allow(clippy::cast_precision_loss)]
fn thinned(times: &[f64], values: &[f64]) -> Vec<(f64, f64)> {
    let size = times.len().div_ceil(MOST_POINTS).max(1);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    times.chunks(size).zip(values.chunks(size)).map(|(times, values)| (mean(times), mean(values))).collect()
}

/// Step and top of an axis that holds `greatest`, with four or five steps.
fn scale(greatest: f64) -> (f64, f64) {
    let rough = greatest.max(1e-6) / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    (step, (greatest / step).ceil().max(1.0) * step)
}

/// The same for seconds.
fn scale_of_time(end: f64) -> (f64, f64) {
    const STEPS: [f64; 18] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0,
        21_600.0, 43_200.0, 86_400.0,
    ];
    let step = STEPS.into_iter().find(|step| end / step <= 12.0).unwrap_or(end / 10.0);
    (step, end)
}

/// A moment: seconds in short runs, hours and minutes in long ones.
fn clock(seconds: f64, end: f64) -> String {
    match end {
        end if end <= 600.0 => format!("{seconds} s"),
        end if end <= 7200.0 => format!("{} min", seconds / 60.0),
        _ => format!("{} h", seconds / 3600.0),
    }
}

/// A number on an axis.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e4 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Text that stands in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_four_or_five_round_steps() {
        assert_eq!(scale(970.0), (250.0, 1000.0));
        assert_eq!(scale(1.2), (0.5, 1.5));
        assert_eq!((short(20_000.0), short(0.25)), ("20k".to_owned(), "0.25".to_owned()));
    }

    #[test]
    fn gaps_stay_gaps_and_long_lines_are_thinned() {
        let grid = Grid { end: 4.0, top: 1.0 };
        let path = grid.line(&[1.0, 2.0, 3.0, 4.0], &[0.0, f64::NAN, 1.0, 1.0]);
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1));
        let times: Vec<_> = (0..2000).map(f64::from).collect();
        assert_eq!(thinned(&times, &times).len(), 500);
    }

    #[test]
    fn what_stands_in_a_page_is_escaped() {
        assert_eq!(escaped("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }
}
