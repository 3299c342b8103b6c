//! AIP-160: comparisons with `=`, `!=`, `<`, `<=`, `>`, `>=` and `:`, joined by `AND`, `OR`, `NOT`, `-` and
//! parentheses.

use std::cmp::Ordering;

use super::{DEEPEST, Literal, MOST, Node, Test, eat, field, quoted, skip};

/// Reads a whole filter.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut reader = Reader { rest: text, count: 0 };
    let node = reader.expression(DEEPEST)?;
    if reader.rest.is_empty() { Ok(node) } else { Err("there is a parenthesis too many.".to_owned()) }
}

struct Reader<'a> {
    rest: &'a str,
    count: usize,
}

impl Reader<'_> {
    /// Sequences with `AND` between. Leaves nothing, or a closing parenthesis.
    fn expression(&mut self, depth: usize) -> Result<Node, String> {
        let mut all = vec![self.factor(depth)?];
        loop {
            skip(&mut self.rest);
            if self.rest.is_empty() || self.rest.starts_with(')') {
                break;
            }
            // Side by side is an AND too.
            self.keyword("AND");
            all.push(self.factor(depth)?);
        }
        Ok(only(all, Node::All))
    }

    /// Terms with `OR` between.
    fn factor(&mut self, depth: usize) -> Result<Node, String> {
        let mut any = vec![self.term(depth)?];
        loop {
            skip(&mut self.rest);
            if !self.keyword("OR") {
                break;
            }
            any.push(self.term(depth)?);
        }
        Ok(only(any, Node::Any))
    }

    fn term(&mut self, depth: usize) -> Result<Node, String> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deep.")?;
        skip(&mut self.rest);
        if self.keyword("NOT") || eat(&mut self.rest, "-") {
            return Ok(Node::Not(Box::new(self.term(depth)?)));
        }
        if eat(&mut self.rest, "(") {
            let node = self.expression(depth)?;
            if !eat(&mut self.rest, ")") {
                return Err("a closing parenthesis is missing.".to_owned());
            }
            return Ok(node);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Node, String> {
        self.count += 1;
        if self.count > MOST {
            return Err(format!("it has more than {MOST} comparisons."));
        }
        let field = field(&mut self.rest).ok_or("a field name is expected.")?;
        skip(&mut self.rest);
        let operator = self.operator()?;
        skip(&mut self.rest);
        let literal = self.literal()?;
        let is = |test| Ok(Node::Is(field.clone(), test));
        match operator {
            "=" => is(Test::Equals(literal)),
            "!=" => Ok(Node::Not(Box::new(is(Test::Equals(literal))?))),
            ":" if literal.0.len() == 2 && literal.0.iter().all(String::is_empty) => is(Test::IsThere),
            ":" => is(Test::Has(literal)),
            "<" => is(Test::Compares(&[Ordering::Less], literal)),
            "<=" => is(Test::Compares(&[Ordering::Less, Ordering::Equal], literal)),
            ">" => is(Test::Compares(&[Ordering::Greater], literal)),
            _ => is(Test::Compares(&[Ordering::Greater, Ordering::Equal], literal)),
        }
    }

    fn operator(&mut self) -> Result<&'static str, String> {
        // The longer ones first.
        let all = ["<=", ">=", "!=", "=", "<", ">", ":"];
        if let Some(found) = all.into_iter().find(|operator| eat(&mut self.rest, operator)) {
            return Ok(found);
        }
        if self.keyword("eq") || self.keyword("ne") {
            return Err("eq and ne do not mix with other operators.".to_owned());
        }
        Err("an operator is expected: =, !=, <, <=, >, >= or :.".to_owned())
    }

    fn literal(&mut self) -> Result<Literal, String> {
        match quoted(&mut self.rest) {
            Some(None) => return Err("a closing quote is missing.".to_owned()),
            Some(Some(inside)) => return Ok(literal(inside)),
            None => {}
        }
        let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '\'');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        if word.is_empty() {
            return Err("a value is expected.".to_owned());
        }
        self.rest = after;
        Ok(literal(word))
    }

    /// Takes a whole word off the beginning; whether it was there.
    fn keyword(&mut self, word: &str) -> bool {
        let Some(after) = self.rest.strip_prefix(word) else { return false };
        let is_whole =
            after.is_empty() || after.starts_with(|c: char| c.is_whitespace() || matches!(c, '(' | '"'));
        if is_whole {
            self.rest = after;
        }
        is_whole
    }
}

fn only(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(one) if nodes.is_empty() => one,
        last => {
            nodes.extend(last);
            join(nodes)
        }
    }
}

/// Undoes backslashes; each `*` without one is a wildcard.
fn literal(text: &str) -> Literal {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '*' => {
                parts.push(String::new());
                continue;
            }
            '\\' => chars.next().unwrap_or('\\'),
            other => other,
        };
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    Literal(parts)
}
