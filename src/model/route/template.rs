//! `pathTemplateMatch` and `pathTemplateRewrite` [G 7b].

use std::fmt;
use std::sync::Arc;

/// Most operators of a template [G 7b].
const MAX_OPERATORS: usize = 5;

/// `/{country}/videos/{name=**}`: compared segment by segment; nothing is decoded.
///
/// `*` takes one segment that is not empty, `**` all that is left, also nothing: `/a/**` takes `/a/` and `/a/b/c`, and
/// not `/a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: Arc<str>,
    segments: Box<[Segment]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    /// `*`, with the variable's name.
    One(Option<Box<str>>),
    /// `**`, with the variable's name.
    Rest(Option<Box<str>>),
}

impl PathTemplate {
    /// Reads a template. The error says what would be right.
    ///
    /// # Errors
    /// When it breaks one of the rules of [G 7b].
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix('/') else { return Err("a template that starts with `/` [G 7b]") };
        let segments: Box<[Segment]> = rest.split('/').map(segment).collect::<Result<_, _>>()?;
        let last = segments.len() - 1;
        if segments.iter().take(last).any(|segment| matches!(segment, Segment::Rest(_))) {
            return Err("`**` as the last segment only [G 7b]");
        }
        if segments.iter().filter(|segment| !matches!(segment, Segment::Literal(_))).count() > MAX_OPERATORS {
            return Err("at most 5 operators [G 7b]");
        }
        let template = Self { text: text.into(), segments };
        let mut names: Vec<&str> = template.names().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err("each variable once [G 7b]");
        }
        Ok(template)
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names of its variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::One(name) | Segment::Rest(name) => name.as_deref(),
            Segment::Literal(_) => None,
        })
    }

    /// Whether a path matches.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        self.walk(path, |_, _| {})
    }

    /// Shows each variable and what it stands for.
    fn walk<'a>(&'a self, path: &'a str, mut found: impl FnMut(&'a str, &'a str)) -> bool {
        let mut rest = Some(path);
        for segment in &self.segments {
            // A segment begins behind a slash.
            let Some(open) = rest.and_then(|rest| rest.strip_prefix('/')) else { return false };
            let end = open.find('/').unwrap_or(open.len());
            let (own, behind) = open.split_at(end);
            let taken = match segment {
                Segment::Literal(literal) if **literal != *own => return false,
                Segment::One(_) if own.is_empty() => return false,
                Segment::Literal(_) => continue_with(&mut rest, behind),
                Segment::One(name) => {
                    continue_with(&mut rest, behind);
                    name.as_deref().map(|name| (name, own))
                }
                Segment::Rest(name) => {
                    rest = None;
                    name.as_deref().map(|name| (name, open))
                }
            };
            if let Some((name, value)) = taken {
                found(name, value);
            }
        }
        rest.is_none_or(str::is_empty)
    }
}

fn continue_with<'a>(rest: &mut Option<&'a str>, behind: &'a str) -> Option<(&'a str, &'a str)> {
    *rest = Some(behind);
    None
}

fn segment(text: &str) -> Result<Segment, &'static str> {
    const OPERATORS: &str = "`*`, `**`, `{name}`, `{name=*}` or `{name=**}` as a whole segment [G 7b]";
    match text {
        "*" => return Ok(Segment::One(None)),
        "**" => return Ok(Segment::Rest(None)),
        _ => {}
    }
    if let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        let (name, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
        if !is_variable(name) {
            return Err("a variable's name of letters, digits and `_`, a letter first [G 7b]");
        }
        return match pattern {
            "*" => Ok(Segment::One(Some(name.into()))),
            "**" => Ok(Segment::Rest(Some(name.into()))),
            _ => Err(OPERATORS),
        };
    }
    if text.contains(['*', '{', '}']) {
        return Err(OPERATORS);
    }
    if text.contains(['?', '#']) || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("a path without `?`, `#`, spaces and control characters");
    }
    Ok(Segment::Literal(text.into()))
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `pathTemplateRewrite`: `/{name}/of/{country}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRewrite {
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Variable(Box<str>),
}

impl TemplateRewrite {
    /// Reads a rewrite. The error says what would be right.
    ///
    /// # Errors
    /// When it does not start with `/`, or has braces that hold no name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("a path that starts with `/` [G 7c]");
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, behind)) = rest.split_once('{') {
            let Some((name, behind)) = behind.split_once('}').filter(|(name, _)| is_variable(name)) else {
                return Err("variables as `{name}` [G 7c]");
            };
            pieces.push(Piece::Literal(literal.into()));
            pieces.push(Piece::Variable(name.into()));
            rest = behind;
        }
        pieces.push(Piece::Literal(rest.into()));
        let is_plain = |piece: &Piece| match piece {
            Piece::Literal(text) => {
                !text.contains(['}', '*', '?', '#'])
                    && !text.chars().any(|c| c.is_control() || c.is_whitespace())
            }
            Piece::Variable(_) => true,
        };
        if !pieces.iter().all(is_plain) {
            return Err("a path without `*`, `?`, `#`, spaces and lone braces [G 7c]");
        }
        Ok(Self { pieces: pieces.into() })
    }

    /// Names of the variables that it uses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(name) => Some(&**name),
            Piece::Literal(_) => None,
        })
    }

    /// The new path for one that `template` matches.
    #[must_use]
    pub fn fill(&self, template: &PathTemplate, path: &str) -> String {
        let mut values = Vec::new();
        template.walk(path, |name, value| values.push((name, value)));
        let value =
            |name: &str| values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
        let text = |piece: &Piece| match piece {
            Piece::Literal(text) => text.to_string(),
            Piece::Variable(name) => value(name).to_owned(),
        };
        self.pieces.iter().map(text).collect()
    }
}
