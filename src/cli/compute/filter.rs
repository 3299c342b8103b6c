//! `--filter`: gcloud's language for choosing rows of a list, and what of it the server is asked instead [G 10.10].

use std::cmp::Ordering;

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use super::format::Key;

/// A parsed filter.
#[derive(Debug, Clone)]
pub(super) enum Filter {
    /// Both.
    And(Box<Self>, Box<Self>),
    /// One of both.
    Or(Box<Self>, Box<Self>),
    /// The opposite.
    Not(Box<Self>),
    /// One key against one value.
    Term(Term),
}

/// `key OPERATOR value`.
#[derive(Debug, Clone)]
pub(super) struct Term {
    key: Key,
    name: String,
    test: Test,
    value: String,
}

#[derive(Debug, Clone)]
enum Test {
    Equal,
    NotEqual,
    Has,
    Matches(Regex),
    MatchesNot(Regex),
    Compare(&'static [Ordering]),
}

/// Deepest nesting of parentheses and negations.
const MAX_DEPTH: usize = 50;

impl Filter {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
        let filter = parser.any()?;
        match parser.peek() {
            None => Ok(filter),
            Some(token) => Err(format!("`{token}` is not expected there")),
        }
    }

    /// Whether a resource is shown.
    pub(super) fn holds(&self, resource: &Value) -> bool {
        match self {
            Self::And(a, b) => a.holds(resource) && b.holds(resource),
            Self::Or(a, b) => a.holds(resource) || b.holds(resource),
            Self::Not(inner) => !inner.holds(resource),
            Self::Term(term) => term.holds(resource),
        }
    }

    /// The keys that it looks at, as they are written.
    pub(super) fn keys(&self) -> Vec<(&Key, &str)> {
        match self {
            Self::And(a, b) | Self::Or(a, b) => a.keys().into_iter().chain(b.keys()).collect(),
            Self::Not(inner) => inner.keys(),
            Self::Term(term) => vec![(&term.key, &term.name)],
        }
    }

    /// The same for the server, as gcloud rewrites it; `None` when it has no words for it.
    pub(super) fn for_server(&self) -> Option<String> {
        let Self::Term(Term { name, test, value, .. }) = self else { return None };
        if value.contains('"') {
            return None;
        }
        if value.parse::<f64>().is_ok() {
            return match test {
                Test::Equal => Some(format!("{name} eq {value}")),
                Test::NotEqual => Some(format!("{name} ne {value}")),
                _ => None,
            };
        }
        let word = || format!(".*\\b{}\\b.*", regex::escape(value).replace("\\-", "-"));
        match test {
            Test::Has if value.contains('*') => None,
            Test::Equal | Test::Has => Some(format!("{name} eq \"{}\"", word())),
            Test::NotEqual => Some(format!("{name} ne \"{}\"", word())),
            Test::Matches(_) => Some(format!("{name} eq \".*({value}).*\"")),
            Test::MatchesNot(_) => Some(format!("{name} ne \".*({value}).*\"")),
            Test::Compare(_) => None,
        }
    }
}

impl Term {
    fn holds(&self, resource: &Value) -> bool {
        let found = self.key.find(resource);
        let values = match &found {
            Value::Array(list) => list.iter().collect(),
            Value::Null => Vec::new(),
            value => vec![value],
        };
        let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|value| test(&text(value)));
        match &self.test {
            Test::Equal => any(&|text| is_equal(text, &self.value)),
            Test::NotEqual => !any(&|text| is_equal(text, &self.value)),
            Test::Has if self.value == "*" => !values.is_empty(),
            Test::Has => any(&|text| has(text, &self.value)),
            Test::Matches(regex) => any(&|text| regex.is_match(text.as_bytes())),
            Test::MatchesNot(regex) => !any(&|text| regex.is_match(text.as_bytes())),
            Test::Compare(wanted) => any(&|text| wanted.contains(&compare(text, &self.value))),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_equal(text: &str, value: &str) -> bool {
    compare(text, value) == Ordering::Equal || text.eq_ignore_ascii_case(value)
}

/// Numbers by size, all else by letters.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x.total_cmp(&y),
        _ => a.cmp(b),
    }
}

/// `web*` begins so, `*web` ends so; a word without a star is one of the words of the text.
fn has(text: &str, value: &str) -> bool {
    let (text, value) = (text.to_ascii_lowercase(), value.to_ascii_lowercase());
    match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(value.trim_matches('*')),
        (None, Some(start)) => words(&text).any(|at| at.starts_with(start)),
        (Some(end), None) => text.ends_with(end),
        (None, None) => words(&text).any(|at| {
            at.strip_prefix(value.as_str())
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        }),
    }
}

/// The text from each beginning of a word on.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut was_word = false;
    text.char_indices().filter_map(move |(at, c)| {
        let is_start = !was_word;
        was_word = c.is_ascii_alphanumeric();
        if is_start { text.get(at..) } else { None }
    })
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn takes(&mut self, token: &str) -> bool {
        let is_there = self.peek() == Some(token);
        self.at += usize::from(is_there);
        is_there
    }

    fn next(&mut self) -> Result<String, String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token.ok_or_else(|| "it ends too early".to_owned())
    }

    fn any(&mut self) -> Result<Filter, String> {
        let mut filter = self.all()?;
        while self.takes("OR") {
            filter = Filter::Or(Box::new(filter), Box::new(self.all()?));
        }
        Ok(filter)
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut filter = self.one()?;
        loop {
            match self.peek() {
                Some("AND") => self.at += 1,
                None | Some("OR" | ")") => return Ok(filter),
                Some(_) => {}
            }
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
    }

    fn one(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        let filter = if self.takes("NOT") || self.takes("-") {
            Filter::Not(Box::new(self.one()?))
        } else if self.takes("(") {
            let inner = self.any()?;
            if !self.takes(")") {
                return Err("`(` is not closed".to_owned());
            }
            inner
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn term(&mut self) -> Result<Filter, String> {
        let name = self.next()?;
        let key = Key::parse(&name)?;
        let operator = self.next()?;
        if !OPERATORS.contains(&operator.as_str()) {
            return Err(format!(
                "`{operator}` follows `{name}`, where one of = != : ~ !~ < <= > >= is expected"
            ));
        }
        if !self.takes("(") {
            let value = self.next()?;
            return Ok(Filter::Term(term(&name, &key, &operator, value)?));
        }
        let mut filter: Option<Filter> = None;
        while !self.takes(")") {
            let value = self.next()?;
            if value == "OR" || value == "," {
                continue;
            }
            let next = Filter::Term(term(&name, &key, &operator, value)?);
            filter = Some(match filter {
                None => next,
                Some(before) => Filter::Or(Box::new(before), Box::new(next)),
            });
        }
        filter.ok_or_else(|| "`()` holds no value".to_owned())
    }
}

fn term(name: &str, key: &Key, operator: &str, value: String) -> Result<Term, String> {
    let regex = || {
        RegexBuilder::new(&value)
            .unicode(false)
            .build()
            .map_err(|error| format!("`{value}` is no regular expression: {error}"))
    };
    let test = match operator {
        "=" | "==" => Test::Equal,
        "!=" => Test::NotEqual,
        ":" => Test::Has,
        "~" => Test::Matches(regex()?),
        "!~" => Test::MatchesNot(regex()?),
        "<" => Test::Compare(&[Ordering::Less]),
        "<=" => Test::Compare(&[Ordering::Less, Ordering::Equal]),
        ">" => Test::Compare(&[Ordering::Greater]),
        _ => Test::Compare(&[Ordering::Greater, Ordering::Equal]),
    };
    Ok(Term { key: key.clone(), name: name.to_owned(), test, value })
}

const OPERATORS: &[&str] = &["!=", "!~", "<=", ">=", "==", "=", ":", "~", "<", ">"];

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_after_operator = tokens.last().is_some_and(|last| OPERATORS.contains(&last.as_str()));
        let operator =
            OPERATORS.iter().find(|operator| rest.starts_with(**operator)).filter(|_| !is_after_operator);
        let length = if let Some(operator) = operator {
            operator.len()
        } else if matches!(first, '(' | ')' | ',') || (first == '-' && !is_after_operator) {
            1
        } else if matches!(first, '"' | '\'') {
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner.find(first).ok_or_else(|| format!("{first} is not closed"))?;
            tokens.extend(inner.get(..end).map(str::to_owned));
            rest = inner.get(end + 1..).unwrap_or_default().trim_start();
            continue;
        } else if is_after_operator {
            rest.find(|c: char| c.is_whitespace() || c == ')').unwrap_or(rest.len())
        } else {
            rest.find(|c: char| c.is_whitespace() || "()=!:~<>,".contains(c))
                .unwrap_or(rest.len())
                .max(first.len_utf8())
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    Ok(tokens)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_chooses_rows() {
        let row = json!({"name": "web-1", "protocol": "HTTP", "timeoutSec": 30,
            "backends": [{"group": "http://h/zones/z/instanceGroups/ig"}]});
        for yes in [
            "name=web-1",
            "name:web",
            "name:web*",
            "name:*-1",
            "name~^web",
            "name!~^x AND protocol=http",
            "timeoutSec>9 timeoutSec<=30",
            "name=x OR protocol=HTTP",
            "NOT name=x",
            "-name=x",
            "(name=x OR name:web) AND timeoutSec=30",
            "name=(a web-1)",
            "backends.group:ig",
            "backends[].group~instanceGroups/ig$",
            "name:*",
            "portName!=http",
            "name=\"web-1\"",
        ] {
            assert!(Filter::parse(yes).unwrap().holds(&row), "{yes}");
        }
        for no in [
            "name=web",
            "name:we",
            "timeoutSec>=31",
            "portName:*",
            "NOT (name:web)",
            "name=web-1 AND protocol=TCP",
        ] {
            assert!(!Filter::parse(no).unwrap().holds(&row), "{no}");
        }
        for wrong in [
            "",
            "name",
            "name=",
            "(name=a",
            "name=a)",
            "name~(",
            "=a",
            "name ? b",
            "name=()",
            &"(".repeat(99),
        ] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_server_is_asked_in_its_own_words() {
        let sent = |text| Filter::parse(text).unwrap().for_server();
        assert_eq!(sent("name=web").as_deref(), Some(r#"name eq ".*\bweb\b.*""#));
        assert_eq!(sent("name:web").as_deref(), Some(r#"name eq ".*\bweb\b.*""#));
        assert_eq!(sent("name~^g").as_deref(), Some(r#"name eq ".*(^g).*""#));
        assert_eq!(sent("networkEndpoint.port=81").as_deref(), Some("networkEndpoint.port eq 81"));
        assert_eq!((sent("a=b OR a=c"), sent("a<3"), sent("a:b*")), (None, None, None));
    }
}
