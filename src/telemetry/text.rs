//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

/// Kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, sum and count.
    Histogram,
}

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    out: String,
    name: &'static str,
}

/// Labels in order; empty values stay, since they mean something.
pub(super) type Labels<'a> = [(&'static str, &'a str)];

impl Page {
    /// Opens a family; its samples follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        self.name = name;
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A whole number.
    pub(super) fn count(&mut self, labels: &Labels<'_>, value: u64) {
        self.head("", labels, None);
        let _ = writeln!(self.out, " {value}");
    }

    /// A number; one that is not known (NaN) is left out.
    pub(super) fn number(&mut self, labels: &Labels<'_>, value: f64) {
        if !value.is_nan() {
            self.head("", labels, None);
            self.value(value);
        }
    }

    /// A histogram: counts of single buckets, their upper bounds, the sum. One more count than bounds.
    pub(super) fn histogram(&mut self, labels: &Labels<'_>, buckets: &[u64], bounds: &[f64], sum: f64) {
        let mut cumulated = 0;
        let ends = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (count, end) in buckets.iter().zip(ends) {
            cumulated += count;
            self.head("_bucket", labels, Some(&end));
            let _ = writeln!(self.out, " {cumulated}");
        }
        self.head("_sum", labels, None);
        self.value(sum);
        self.head("_count", labels, None);
        let _ = writeln!(self.out, " {cumulated}");
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn head(&mut self, suffix: &str, labels: &Labels<'_>, le: Option<&str>) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        let mut open = '{';
        for (label, value) in labels.iter().copied().chain(le.map(|le| ("le", le))) {
            self.out.push(open);
            self.out.push_str(label);
            self.out.push_str("=\"");
            escape(&mut self.out, value);
            self.out.push('"');
            open = ',';
        }
        if open == ',' {
            self.out.push('}');
        }
    }

    fn value(&mut self, value: f64) {
        let _ = if value.is_infinite() {
            writeln!(self.out, " {}Inf", if value > 0.0 { '+' } else { '-' })
        } else {
            writeln!(self.out, " {value}")
        };
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str(r"\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped_and_unknown_numbers_left_out() {
        let mut page = Page::default();
        page.family("a", Kind::Gauge, "Line\nand \\.");
        page.number(&[("x", "q\"\\\n"), ("y", "")], f64::INFINITY);
        page.number(&[], f64::NAN);
        page.count(&[], 3);
        let expected = "# HELP a Line\\nand \\\\.\n# TYPE a gauge\na{x=\"q\\\"\\\\\\n\",y=\"\"} +Inf\na 3\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn buckets_are_cumulated_and_the_last_is_the_count() {
        let mut page = Page::default();
        page.family("h", Kind::Histogram, "H.");
        page.histogram(&[("s", "web")], &[1, 2, 4], &[0.1, 1.0], 3.5);
        let expected = "# HELP h H.\n# TYPE h histogram\nh_bucket{s=\"web\",le=\"0.1\"} 1\n\
                        h_bucket{s=\"web\",le=\"1\"} 3\nh_bucket{s=\"web\",le=\"+Inf\"} 7\n\
                        h_sum{s=\"web\"} 3.5\nh_count{s=\"web\"} 7\n";
        assert_eq!(page.finish(), expected);
    }
}
