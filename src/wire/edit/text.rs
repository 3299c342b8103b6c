//! Lines, columns and blanks of a text.

use std::ops::Range;

/// The ends of lines as YAML has them.
pub(super) const fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// The end of the line at `at`, before its line break.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.find(is_break).unwrap_or(rest.len())
}

/// The beginning of the next line, or the end of the text.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    let end = line_end(text, at);
    let rest = text.get(end..).unwrap_or_default();
    end + if rest.starts_with("\r\n") { 2 } else { usize::from(!rest.is_empty()) }
}

/// The beginning of the line at `at`.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind(is_break).map_or(0, |found| found + 1);
    if start == 0 && text.starts_with('\u{feff}') { '\u{feff}'.len_utf8().min(at) } else { start }
}

/// The beginning of the line before the one that begins at `start`.
pub(super) fn line_before(text: &str, start: usize) -> Option<usize> {
    let before = text.get(..start)?;
    let before = before.strip_suffix("\r\n").or_else(|| before.strip_suffix(is_break))?;
    Some(line_start(text, before.len()))
}

/// Characters before `at` on its line.
pub(super) fn column(text: &str, at: usize) -> usize {
    text.get(line_start(text, at)..at).unwrap_or_default().chars().count()
}

/// Whether nothing but blanks stands before `at` on its line.
pub(super) fn is_first(text: &str, at: usize) -> bool {
    is_blank(text, line_start(text, at)..at)
}

/// Whether there are only spaces and tabs.
pub(super) fn is_blank(text: &str, range: Range<usize>) -> bool {
    text.get(range).is_some_and(|part| part.chars().all(|c| matches!(c, ' ' | '\t')))
}

/// Behind blanks, line breaks and comments.
pub(super) fn skip(text: &str, from: usize) -> usize {
    let mut at = from;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let word = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        at += rest.len() - word.len();
        if !word.starts_with('#') {
            return at;
        }
        at = line_end(text, at);
    }
}

/// Behind blanks of the same line.
pub(super) fn skip_blanks(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.len() - rest.trim_start_matches([' ', '\t']).len()
}

/// The end of the line if nothing but a comment stands behind `at`.
pub(super) fn rest_of_line(text: &str, at: usize) -> Option<usize> {
    let word = skip_blanks(text, at);
    let end = line_end(text, at);
    (word == end || text.get(word..).is_some_and(|rest| rest.starts_with('#'))).then_some(end)
}

/// Whether a whole value with its brackets goes over several lines.
pub(super) fn has_breaks(text: &str, range: Range<usize>) -> bool {
    text.get(range).is_some_and(|part| part.contains(is_break))
}

/// Replacements of parts of a text, none of which overlap.
#[derive(Default)]
pub(super) struct Patch {
    parts: Vec<(Range<usize>, String)>,
}

impl Patch {
    pub(super) fn put(&mut self, range: Range<usize>, with: impl Into<String>) {
        self.parts.push((range, with.into()));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// `None` where parts overlap.
    pub(super) fn apply(mut self, text: &str) -> Option<String> {
        self.parts.sort_by_key(|(range, _)| (range.start, range.end));
        let (mut out, mut at) = (String::with_capacity(text.len() + 256), 0);
        for (range, with) in self.parts {
            out.push_str(text.get(at..range.start)?);
            out.push_str(&with);
            at = range.end.max(range.start);
        }
        out.push_str(text.get(at..)?);
        Some(out)
    }
}
