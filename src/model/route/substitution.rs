//! `regexRewrite`: what a regular expression finds in a path, by something else [G 7c].
//!
//! As RE2's `GlobalReplace`, which Envoy uses: every piece that is found is replaced, from the left, none inside of another; `\1` to
//! `\9` in the new text stand for what a group of the expression has found, `\0` for all of the piece, `\\` for a backslash.
//! The expression is that of [`super::pattern`], but speaks for a piece of the path and not for all of it: `^` and `$`
//! are its ends. Query and host are not looked at.

use regex::bytes::Regex;

use super::pattern;

/// Longest path that may come out, in bytes: what a URI of ours can hold.
pub const MAX_PATH: usize = 65_534;

/// A compiled `regexRewrite`. Two are equal when their texts are.
#[derive(Debug, Clone)]
pub struct RegexRewrite {
    texts: (Box<str>, Box<str>),
    regex: Regex,
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Box<str>),
    /// What the group of this number has found; 0 = everything.
    Group(usize),
}

/// Which of the two texts is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// `pathPattern`.
    Pattern(String),
    /// `pathSubstitution`.
    Substitution(String),
}

impl RegexRewrite {
    /// Compiles `pathPattern` and `pathSubstitution`.
    ///
    /// # Errors
    /// What is wrong with one of them, in words.
    pub fn parse(pattern: &str, substitution: &str) -> Result<Self, Flaw> {
        let regex = pattern::find(pattern).map_err(Flaw::Pattern)?;
        let pieces = pieces(substitution).map_err(|flaw| Flaw::Substitution(flaw.to_owned()))?;
        let groups = regex.captures_len() - 1;
        let highest = pieces.iter().filter_map(|piece| match piece {
            Piece::Group(number) => Some(*number),
            Piece::Text(_) => None,
        });
        if let Some(number) = highest.max().filter(|number| *number > groups) {
            return Err(Flaw::Substitution(format!("it names group {number}, and the pattern has {groups}")));
        }
        Ok(Self { texts: (pattern.into(), substitution.into()), regex, pieces })
    }

    /// The new path. `None` when it is longer than [`MAX_PATH`], or does not begin with `/`.
    #[must_use]
    pub fn fill(&self, path: &str) -> Option<String> {
        let mut new = String::with_capacity(path.len());
        let mut end = 0;
        for found in self.regex.captures_iter(path.as_bytes()) {
            let whole = found.get(0)?;
            new.push_str(path.get(end..whole.start())?);
            end = whole.end();
            for piece in &self.pieces {
                new.push_str(match piece {
                    Piece::Text(text) => text,
                    // A group that had no part in it is empty.
                    Piece::Group(number) => {
                        found.get(*number).map_or(Some(""), |group| path.get(group.range()))?
                    }
                });
            }
            if new.len() > MAX_PATH {
                return None;
            }
        }
        new.push_str(path.get(end..)?);
        (new.len() <= MAX_PATH && new.starts_with('/')).then_some(new)
    }
}

impl PartialEq for RegexRewrite {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Eq for RegexRewrite {}

fn pieces(text: &str) -> Result<Box<[Piece]>, &'static str> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
        return Err("it would put spaces, `?`, `#` or letters beyond ASCII into a path");
    }
    let mut out = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('\\') => plain.push('\\'),
            Some(digit) if digit.is_ascii_digit() => {
                if !plain.is_empty() {
                    out.push(Piece::Text(std::mem::take(&mut plain).into()));
                }
                out.push(Piece::Group(digit as usize - '0' as usize));
            }
            _ => return Err("a backslash is followed by a digit or by another one"),
        }
    }
    if !plain.is_empty() {
        out.push(Piece::Text(plain.into()));
    }
    Ok(out.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn becomes(pattern: &str, substitution: &str, path: &str) -> Option<String> {
        RegexRewrite::parse(pattern, substitution).unwrap().fill(path)
    }

    #[test]
    fn g_7c_every_piece_that_is_found_is_replaced_and_groups_may_change_places() {
        for (pattern, substitution, path, want) in [
            ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
            ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
            ("^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
            ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
            ("/old", r"/\0\\", "/old", r"//old\"),
            ("(a)|b", r"[\1]", "/ab", "/[a][]"),
            ("x*", "-", "/xa", "-/-a-"),
            ("nothing", "x", "/a", "/a"),
            ("%2F", "/", "/a%2Fb", "/a/b"),
        ] {
            let got = becomes(pattern, substitution, path);
            let want = Some(want.to_owned()).filter(|want| want.starts_with('/'));
            assert_eq!(got, want, "{pattern} {substitution} {path}");
        }
    }

    #[test]
    fn a_path_that_would_be_none_or_far_too_long_is_not_made() {
        assert_eq!(becomes("^/", "", "/a"), None);
        assert_eq!(becomes("^.*$", "", "/a"), None);
        let long = format!("/{}", "a".repeat(60_000));
        assert_eq!(becomes("a", &"b".repeat(1000), &long), None);
        assert_eq!(becomes("a", "bb", &long), None);
        assert_eq!(becomes("a", "b", &long).unwrap().len(), long.len());
    }

    #[test]
    fn what_is_wrong_is_told_of_the_text_that_is() {
        let flaw = |pattern, substitution| RegexRewrite::parse(pattern, substitution).unwrap_err();
        for pattern in ["(", "a)|(b", "(?=a)", r"\pL", "((a{100}){100}){100}"] {
            assert!(matches!(flaw(pattern, "x"), Flaw::Pattern(_)), "{pattern}");
        }
        for substitution in [r"\", r"\x", "a b", "\u{e4}", "?", "#", r"\2", "\r\n"] {
            assert!(matches!(flaw("(a)", substitution), Flaw::Substitution(_)), "{substitution}");
        }
    }

    #[test]
    fn no_path_takes_long() {
        let path = format!("/{}", "a".repeat(60_000));
        assert_eq!(becomes("(a*)*b", "x", &path), Some(path));
    }
}
