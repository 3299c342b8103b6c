//! Where a mistake in YAML stands. The parser stops where it cannot go on, often lines after a tab or a bracket that
//! nobody closed; this reads the text again, by simple rules, and finds those.

use super::flaw::Spot;

/// What to tell about a text that is no YAML.
#[derive(Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Where the mistake is.
    pub spot: Spot,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: String,
}

/// Explains why the parser stopped at `stop` with `complaint`.
#[must_use]
pub fn diagnose(text: &str, stop: Spot, complaint: &str) -> Diagnosis {
    if let Some(spot) = tab(text, stop.line, complaint.contains("tab")) {
        let expected = "spaces at the beginning of a line: YAML does not indent with tabs";
        return Diagnosis {
            spot,
            message: "this line is indented with a tab".into(),
            expected: expected.into(),
        };
    }
    if let Some((bracket, spot)) = unclosed(text, stop.line) {
        let close = if bracket == '[' { ']' } else { '}' };
        let message = format!("this `{bracket}` is never closed");
        return Diagnosis { spot, message, expected: format!("a `{close}` behind what belongs to it") };
    }
    let line = lines(text).nth(stop.line.saturating_sub(1)).unwrap_or_default();
    let expected = hint(complaint, line, stop.column).into();
    Diagnosis { spot: stop, message: format!("this is not YAML: {complaint}"), expected }
}

/// Lines as YAML counts them: ended by `\n`, `\r\n` or `\r`.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('\r'))
}

/// The tabs that indent the line where parsing stopped, or a later one where the complaint is about a tab: then it
/// stopped at the word before.
fn tab(text: &str, from: usize, is_about_tab: bool) -> Option<Spot> {
    let lines = lines(text).enumerate().skip(from.saturating_sub(1));
    lines.take(if is_about_tab { usize::MAX } else { 1 }).find_map(|(index, line)| {
        let blank = line.get(..indent(line)).unwrap_or_default();
        let before = blank.find('\t')?;
        let width = blank.chars().skip(before).take_while(|c| *c == '\t').count();
        Some(Spot { line: index + 1, column: before + 1, width })
    })
}

/// The innermost bracket that is open where a line up to `last` begins as far left as the line of the outermost, or
/// where the text ends: what is in brackets stands further right.
fn unclosed(text: &str, last: usize) -> Option<Bracket> {
    let mut reading = Reading::default();
    for (index, line) in lines(text).enumerate().take(last) {
        if let Some(forgotten) = reading.line(line, index + 1) {
            return Some(forgotten);
        }
    }
    let is_at_end = lines(text).nth(last.saturating_sub(1)).is_none();
    reading.open.pop().filter(|_| is_at_end)
}

type Bracket = (char, Spot);

/// Reads brackets line by line, past quotes, comments and literal text.
#[derive(Default)]
struct Reading {
    open: Vec<Bracket>,
    /// Indentation of the line with the outermost open bracket.
    least: usize,
    /// The quote that ends the text under way.
    quote: Option<char>,
    /// Text behind `|` or `>`, which is taken as it stands, is indented deeper than this.
    literal: Option<usize>,
}

impl Reading {
    /// The bracket that this line shows to be forgotten.
    fn line(&mut self, line: &str, number: usize) -> Option<Bracket> {
        let indent = indent(line);
        let first = line.trim_start().chars().next()?;
        if self.literal.is_some_and(|of| indent > of) {
            return None;
        }
        self.literal = None;
        let goes_on = self.quote.is_some() || matches!(first, '#' | ']' | '}');
        if !goes_on && indent <= self.least && !self.open.is_empty() {
            return self.open.pop();
        }
        let (mut before, mut may_begin) = (' ', true);
        for (at, c) in line.chars().enumerate() {
            match (self.quote, c) {
                (Some('"'), '"') if before == '\\' => {}
                (Some(end), c) if c == end => self.quote = None,
                (Some(_), _) => {}
                (None, '#') if before.is_whitespace() => return None,
                (None, '"' | '\'') if may_begin => self.quote = Some(c),
                (None, '|' | '>') if may_begin && self.open.is_empty() => {
                    self.literal = Some(indent);
                    return None;
                }
                (None, '[' | '{') if may_begin || !self.open.is_empty() => {
                    if self.open.is_empty() {
                        self.least = indent;
                    }
                    self.open.push((c, Spot { line: number, column: at + 1, width: 1 }));
                }
                // A bracket of the other kind closes what is around the innermost one: that was forgotten.
                (None, ']' | '}') => match self.open.pop() {
                    Some(innermost) if (innermost.0 == '[') != (c == ']') => return Some(innermost),
                    _ => {}
                },
                (None, _) => {}
            }
            may_begin = c.is_whitespace() && (may_begin || matches!(before, ':' | '-' | ','))
                || matches!(c, '[' | '{' | ',') && !self.open.is_empty();
            before = c;
        }
        None
    }
}

/// Bytes of white space before a line's first word.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// What to do about any other complaint.
fn hint(complaint: &str, line: &str, column: usize) -> &'static str {
    let before: String = line.chars().take(column.saturating_sub(1)).collect();
    let here = line.chars().nth(column.saturating_sub(1));
    if matches!(here, Some('@' | '`' | '%')) {
        return "quotes around a value that begins with `@`, `` ` `` or `%`";
    }
    if complaint.starts_with("mapping values") {
        return if before.contains(": ") {
            "quotes around a value with a colon and a space in it, or a line for each key"
        } else {
            "a colon and a space behind the key just above, or the same indentation"
        };
    }
    "YAML; look for a missing colon, quote or bracket, or a wrong indentation, here or just above"
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use crate::wire::flaw::Flaws;
    use crate::wire::yaml::parse;

    #[test]
    fn mistakes_are_shown_where_they_stand() {
        for (text, line, column, words) in [
            ("a:\n\t- b\n", 2, 1, "spaces"),
            ("a:\n  - b: c\n  \t\td: e\n", 3, 3, "spaces"),
            ("a:\n  - {b: c, d: e\n  - {b: f, d: g}\nh: {i: j}\n", 2, 5, "a `}`"),
            ("a:\n  - {b: c\nd: {e: f}\n", 2, 5, "a `}`"),
            ("a:\n  - {b: [{c: d, e: 8}}\n  - {b: f}\n", 2, 9, "a `]`"),
            ("a: [b\n", 1, 4, "a `]`"),
            ("a: [b", 1, 4, "a `]`"),
            ("a: \"[\"\nb: '{' # [\nc: it's {\nd: |\n  - [\n  x: {\ne: {f: g\nh: i\n", 7, 4, "a `}`"),
            ("a: [\n  b,\n]\nc: {\n  d: [e,\n}\n", 5, 6, "a `]`"),
            // What is wrong inside of brackets is shown itself.
            ("a: [\n  1,\n  \"x\" \"y\"\n]\n", 3, 7, "quote"),
            ("a:\n  - {b: c d: e}\n", 2, 12, "colon"),
            ("a:\n  - {b: c}}\n", 2, 11, "bracket"),
            ("a:\n  b c\n  d: e\n", 3, 4, "just above"),
            ("a:\n  b: c: d\n", 2, 7, "quotes"),
            ("a: @b\n", 1, 4, "quotes"),
        ] {
            let mut flaws = Flaws::default();
            parse(text, &mut flaws);
            let flaws = flaws.into_vec();
            let [flaw] = &flaws[..] else { panic!("{text:?}: {flaws:?}") };
            assert_eq!(
                (flaw.code, flaw.spot.line, flaw.spot.column),
                ("yaml-syntax", line, column),
                "{text:?}"
            );
            assert!(flaw.expected.as_deref().unwrap().contains(words), "{text:?}: {flaw:?}");
        }
    }
}
