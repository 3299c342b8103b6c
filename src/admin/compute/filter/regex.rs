//! `field eq pattern` and `field ne pattern`, one by itself or several in parentheses, all of which must hold.
//!
//! gcloud sends this form and does not filter again [G 10.10]; of three terms it makes `((a eq x)(b eq y))(c eq z)`.

use super::{DEEPEST, Literal, MOST, Node, Test, eat, field, quoted, skip};
use crate::model::route::pattern::Pattern;

/// Whether the first comparison is `eq` or `ne`.
pub(super) fn is_meant(text: &str) -> bool {
    let mut rest = text.trim_start_matches(|c: char| c == '(' || c.is_whitespace());
    field(&mut rest).is_some() && operator(&mut rest).is_some()
}

/// Reads a whole filter.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut rest = text.trim();
    if !rest.starts_with('(') {
        return term(&mut rest, false);
    }
    let mut count = 0;
    let node = groups(&mut rest, DEEPEST, &mut count)?;
    if rest.is_empty() {
        return Ok(node);
    }
    Err("expressions with eq and ne stand in parentheses one after the other, and do not mix with other operators.".to_owned())
}

/// `(…)(…)`, each a term or more groups.
fn groups(rest: &mut &str, depth: usize, count: &mut usize) -> Result<Node, String> {
    let depth = depth.checked_sub(1).ok_or("it is nested too deep.")?;
    let mut all = Vec::new();
    while eat(rest, "(") {
        skip(rest);
        all.push(if rest.starts_with('(') {
            groups(rest, depth, count)?
        } else {
            *count += 1;
            if *count > MOST {
                return Err(format!("it has more than {MOST} comparisons."));
            }
            term(rest, true)?
        });
        skip(rest);
        if !eat(rest, ")") {
            return Err("a closing parenthesis is missing.".to_owned());
        }
        skip(rest);
    }
    Ok(Node::All(all))
}

fn term(rest: &mut &str, is_grouped: bool) -> Result<Node, String> {
    let field = field(rest).ok_or("a field name is expected.")?;
    let is_equal = operator(rest).ok_or("eq or ne is expected; they do not mix with other operators.")?;
    skip(rest);
    let pattern = match quoted(rest) {
        Some(None) => return Err("a closing quote is missing.".to_owned()),
        Some(Some(inside)) => inside,
        None => bare(rest, is_grouped)?,
    };
    skip(rest);
    if !is_grouped && !rest.is_empty() {
        return Err("several expressions with eq and ne must stand in parentheses each.".to_owned());
    }
    // What gcloud escapes in a literal, and the quote it escaped, RE2 takes escaped too.
    let literal = Literal(vec![pattern.to_owned()]);
    let pattern = Pattern::parse(pattern).map_err(|why| format!("{why}."))?;
    let node = Node::Is(field, Test::Matches(pattern, literal));
    Ok(if is_equal { node } else { Node::Not(Box::new(node)) })
}

/// ` eq ` or ` ne `; whether it is the first.
fn operator(rest: &mut &str) -> Option<bool> {
    let after = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let (is_equal, after) = match (after.strip_prefix("eq"), after.strip_prefix("ne")) {
        (Some(after), _) => (true, after),
        (None, after) => (false, after?),
    };
    if !after.is_empty() && !after.starts_with(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '(')) {
        return None;
    }
    *rest = after;
    Some(is_equal)
}

/// A pattern without quotes: up to the parenthesis that closes the group, or to the end.
fn bare<'a>(rest: &mut &'a str, is_grouped: bool) -> Result<&'a str, String> {
    let end = if is_grouped { end_of_group(rest) } else { rest.len() };
    let (pattern, after) = rest.split_at_checked(end).unwrap_or((*rest, ""));
    *rest = after;
    let pattern = pattern.trim_end();
    if pattern.is_empty() {
        return Err("a pattern is expected.".to_owned());
    }
    let is_operator = |word: &str| {
        matches!(word, "AND" | "OR" | "NOT" | "eq" | "ne" | "=" | "!=" | "<" | ">" | "<=" | ">=")
    };
    if pattern.split_whitespace().any(is_operator) {
        return Err(
            "expressions with eq and ne do not mix with others; a pattern with such words stands in quotes."
                .to_owned(),
        );
    }
    Ok(pattern)
}

fn end_of_group(text: &str) -> usize {
    let (mut depth, mut is_escaped) = (0_usize, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '(' => depth += 1,
            ')' if depth == 0 => return at,
            ')' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}
