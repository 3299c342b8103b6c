//! Regular expressions of a URL map: `regexMatch`, `allowOriginRegexes` [G 7b, 7c].
//!
//! Google's are RE2's; these are the `regex` crate's, which came from it: both take time that grows with the text and
//! never explodes. What the two read differently is refused, so that a pattern means here what it means there. A pattern
//! speaks for the whole text. Text is bytes: `\d`, `\w` and `\s` are ASCII, as RE2 has them.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// Largest compiled pattern, in bytes. With it, and with heads of at most 64 KiB, a match is a matter of milliseconds at
/// the very worst.
pub const MAX_COMPILED: usize = 64 * 1024;
/// Bytes that a pattern may use on each thread to be fast.
const CACHE: usize = 256 * 1024;

/// A compiled pattern. Two are equal when their texts are.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Box<str>,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        // By itself first: what would end the group around it is a flaw of its own.
        find(text)?;
        let regex = compile(&format!("\\A(?:{text})\\z"))?;
        Ok(Self { text: text.into(), regex })
    }

    /// Whether all of `text` matches.
    #[must_use]
    pub fn takes(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The same for a piece of a text, wherever in it.
pub(super) fn find(text: &str) -> Result<Regex, String> {
    if let Some(foreign) = foreign(text) {
        return Err(format!("RE2 reads otherwise, or not at all, {foreign}"));
    }
    compile(text)
}

fn compile(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).unicode(false).size_limit(MAX_COMPILED).dfa_size_limit(CACHE).build();
    built.map_err(|error| match error {
        // The pattern with a mark below it, and what is wrong in the last line.
        regex::Error::Syntax(long) => {
            let last = long.lines().next_back().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
        regex::Error::CompiledTooBig(most) => format!("it takes more than {most} bytes when compiled"),
        other => other.to_string(),
    })
}

/// What RE2 reads otherwise, if it stands in a pattern.
fn foreign(text: &str) -> Option<&'static str> {
    if !text.is_ascii() {
        return Some("letters other than ASCII, which no path or header has: a path has them as `%C3%A4`");
    }
    let mut class = Class::Outside;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        class = match (class, c) {
            (_, '\\') => {
                chars.next();
                let brace = matches!(next, Some('b' | 'B')) && chars.peek() == Some(&'{');
                if matches!(next, Some('<' | '>')) || brace {
                    return Some("word boundaries other than `\\b` and `\\B`");
                }
                class.inside()
            }
            (Class::Outside, '[') => Class::Start,
            (Class::Outside, '(') if next == Some('?') => {
                let mut flags = chars.clone().skip(1).take_while(|c| !matches!(c, ')' | ':' | 'P' | '<'));
                if flags.any(|flag| matches!(flag, 'x' | 'u' | 'R')) {
                    return Some("flags other than `i`, `m`, `s` and `U`");
                }
                class
            }
            (Class::Outside, _) => class,
            (Class::Start, '^') => Class::Start,
            (Class::Inside, ']') => Class::Outside,
            (_, '[') if next == Some(':') => {
                // `[:alpha:]`: its bracket does not end the class.
                chars.by_ref().find(|c| *c == ']');
                Class::Inside
            }
            (_, '[') => return Some("a bracket inside of brackets; write `\\[`"),
            (_, '&' | '-' | '~') if next == Some(c) => {
                return Some("`&&`, `--` and `~~` inside of brackets");
            }
            _ => Class::Inside,
        };
    }
    None
}

/// Where in a pattern: outside of brackets, right behind the first one, further inside.
#[derive(Clone, Copy)]
enum Class {
    Outside,
    Start,
    Inside,
}

impl Class {
    const fn inside(self) -> Self {
        match self {
            Self::Outside => Self::Outside,
            Self::Start | Self::Inside => Self::Inside,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn takes(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).unwrap().takes(text.as_bytes())
    }

    #[test]
    fn g_7b_the_whole_text_must_match() {
        assert!(takes("/a.*", "/abc") && !takes("/a", "/ab") && !takes("b", "/b"));
        assert!(takes("a|bc", "bc") && !takes("a|bc", "abc"), "both ends belong to every alternative");
        assert!(takes("", "") && !takes("", "a") && !takes("a$", "a\n"));
        assert!(takes("(?i)/ABC", "/abc") && takes("[]a]+", "]a") && takes(r"/\d+(/[^/]*)?", "/12/x"));
        assert!(takes("[[:alpha:]]+", "ab") && !takes(r"\w", "\u{e4}") && takes("(?P<name>a)", "a"));
    }

    #[test]
    fn a_flaw_is_told_in_words() {
        let flaw = |text: &str| Pattern::parse(text).unwrap_err();
        for text in
            ["(", "a)|(b", "a**b{", "[z-a]", r"\Qa\E", "(?=a)", r"(a)\1", "a{2000}{2000}", r"\pL", "*"]
        {
            assert!(!flaw(text).is_empty() && !flaw(text).contains('\n'), "{text}: {}", flaw(text));
        }
        assert!(flaw("((a{100}){100}){100}").contains("65536"), "{}", flaw("((a{100}){100}){100}"));
    }

    #[test]
    fn what_re2_reads_otherwise_is_refused() {
        for text in
            ["[a&&b]", "[[a]b]", "[a--b]", "[a~~b]", r"\<a", r"\b{start}", "(?x)a #b", "(?iR:a)", "\u{e4}"]
        {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        for text in [
            "a&&b--c~~d",
            r"[\[a]",
            r"\[\[",
            "[[:^digit:]a]",
            "[^]]",
            "(?i-s:x)",
            "[a-]",
            "[-a]",
            "(?P<Rux>a)",
        ] {
            assert!(Pattern::parse(text).is_ok(), "{text}: {:?}", Pattern::parse(text));
        }
    }

    #[test]
    fn no_text_takes_long() {
        // Exponential where a machine goes back, linear here.
        assert!(!takes("(a*)*b", &"a".repeat(60_000)));
        assert!(!takes("(a|aa)+", &"a".repeat(60_000).replace("aaa", "aab")));
    }
}
