//! Holds a node against a [`Kind`]: every misfit becomes a flaw, what fits becomes JSON for the resource's struct.
//!
//! The JSON holds supported settings alone: no nulls, no output-only fields, numbers as numbers even where they stood in quotes.

use serde_json::{Map, Value as Json};

use super::document::{Node, Scalar, Value};
use super::flaw::{Flaw, Flaws, Spot, nearest, quote};
use super::path::Path;
use super::schema::{Field, Kind, NAME_RULE, Off, Table, Word, is_name};

/// Collects flaws on the way through a document.
#[derive(Debug, Default)]
pub struct Walk {
    /// All misfits so far.
    pub flaws: Flaws,
}

/// A misfit was reported; the value cannot be used.
#[derive(Debug)]
pub struct Misfit;

impl Walk {
    /// The node as `table` wants it. All its misfits are reported, not only the first.
    ///
    /// # Errors
    /// When at least one was.
    pub fn object(&mut self, node: &Node, table: &Table, path: &Path<'_>) -> Result<Json, Misfit> {
        let Value::Object(entries) = &node.value else {
            return Err(self.wrong_type(node, path, &format!("{}: keys with values", table.noun)));
        };
        let mut out = Map::new();
        let mut is_sound = true;
        for entry in entries {
            let at = path.key(&entry.key);
            let Some(field) = table.find(&entry.key) else {
                self.unknown_key(&entry.key, entry.key_spot, table, path);
                is_sound = false;
                continue;
            };
            if entry.node.is_null() {
                continue;
            }
            match self.field(&entry.node, entry.key_spot, field, &at) {
                Ok(Some(value)) => {
                    out.insert(entry.key.clone(), value);
                }
                Ok(None) => {}
                Err(Misfit) => is_sound = false,
            }
        }
        for field in table.fields.iter().filter(|field| field.is_required) {
            if node.get(field.key).is_none_or(Node::is_null) {
                let message = format!("{} has no `{}`", table.noun, field.key);
                let expected = format!("`{}: …`, {}", field.key, wanted(field));
                self.report("missing-field", (node.point(), path), message, expected);
                is_sound = false;
            }
        }
        if is_sound { Ok(Json::Object(out)) } else { Err(Misfit) }
    }

    /// One field; `None` when nothing follows from it.
    pub(super) fn field(
        &mut self,
        node: &Node,
        key: Spot,
        field: &Field,
        at: &Path<'_>,
    ) -> Result<Option<Json>, Misfit> {
        match &field.kind {
            Kind::OutputOnly | Kind::Note => Ok(None),
            Kind::LimitedNote(most) => self.value(node, &Kind::Text(*most), field, at).map(|_| None),
            Kind::Later(_, off) | Kind::Never(_, off) if off.iter().any(|off| off.matches(node)) => Ok(None),
            Kind::Later(what, off) | Kind::Never(what, off) => {
                let why = if matches!(field.kind, Kind::Never(..)) { NEVER } else { LATER };
                let message = format!("`{}` is {why}: {what}", field.key);
                let expected = match off.iter().map(Off::text).collect::<Vec<_>>().as_slice() {
                    [] => format!("no `{}`", field.key),
                    values => format!("no `{}`, or {}", field.key, values.join(" or ")),
                };
                Err(self.report("not-supported", (key, at), message, expected))
            }
            kind => self.value(node, kind, field, at).map(Some),
        }
    }

    fn value(&mut self, node: &Node, kind: &Kind, field: &Field, at: &Path<'_>) -> Result<Json, Misfit> {
        match kind {
            Kind::Object(table) => self.object(node, table, at),
            Kind::List(of, most) => self.list(node, (of, *most), field, at),
            Kind::Map(of) => self.map(node, of, field, at),
            Kind::WordOr(word, _) if node.text() == Some(word) => Ok(Json::from(*word)),
            Kind::WordOr(_, other) if matches!(node.value, Value::Scalar(_)) && !other.is_scalar() => {
                Err(self.wrong_type(node, at, &wanted(field)))
            }
            Kind::WordOr(_, other) => self.value(node, other, field, at),
            _ => match &node.value {
                Value::Scalar(scalar) => self.scalar(scalar, node.spot, (kind, field), at),
                _ => Err(self.wrong_type(node, at, &wanted(field))),
            },
        }
    }

    fn list(
        &mut self,
        node: &Node,
        (of, most): (&Kind, usize),
        field: &Field,
        at: &Path<'_>,
    ) -> Result<Json, Misfit> {
        let Value::List(items) = &node.value else {
            return Err(self.wrong_type(node, at, &wanted(field)));
        };
        if items.len() > most {
            let message = format!("`{}` has {} entries", field.key, items.len());
            return Err(self.report(
                "too-many",
                (node.point(), at),
                message,
                join(format!("at most {most}"), field.rule),
            ));
        }
        let mut out = Vec::with_capacity(items.len());
        let mut is_sound = true;
        for (index, item) in items.iter().enumerate() {
            match self.value(item, of, field, &at.item(index)) {
                Ok(value) => out.push(value),
                Err(Misfit) => is_sound = false,
            }
        }
        if is_sound { Ok(Json::Array(out)) } else { Err(Misfit) }
    }

    fn map(&mut self, node: &Node, of: &Kind, field: &Field, at: &Path<'_>) -> Result<Json, Misfit> {
        let Value::Object(entries) = &node.value else {
            return Err(self.wrong_type(node, at, &wanted(field)));
        };
        let mut out = Map::new();
        let mut is_sound = true;
        for entry in entries {
            if !is_name(&entry.key) {
                let message = format!("{} is no name", quote(&entry.key));
                self.report("bad-name", (entry.key_spot, at), message, NAME_RULE.into());
                is_sound = false;
            }
            match self.value(&entry.node, of, field, &at.key(&entry.key)) {
                Ok(value) => {
                    out.insert(entry.key.clone(), value);
                }
                Err(Misfit) => is_sound = false,
            }
        }
        if is_sound { Ok(Json::Object(out)) } else { Err(Misfit) }
    }

    fn scalar(
        &mut self,
        scalar: &Scalar,
        spot: Spot,
        (kind, field): (&Kind, &Field),
        at: &Path<'_>,
    ) -> Result<Json, Misfit> {
        let text = scalar.text.as_str();
        let wrong = |walk: &mut Self, code, message: String| {
            Err(walk.report(code, (spot, at), message, wanted_kind(kind, field)))
        };
        let misread = |what: &str| format!("{} is no {what}", quote(text));
        match kind {
            Kind::Name if is_name(text) => Ok(Json::from(text)),
            Kind::Name => wrong(self, "bad-name", misread("name")),
            Kind::Text(most) if text.chars().count() > *most => {
                wrong(self, "too-long", format!("`{}` has {} characters", field.key, text.chars().count()))
            }
            Kind::Text(_) if scalar.is_plain && (scalar.flag().is_some() || scalar.number().is_some()) => {
                let message = format!("{} is a number or a flag here, not a string", quote(text));
                let expected = format!("quotes around it: {}", quote(text).replace('`', "\""));
                Err(self.report("wrong-type", (spot, at), message, expected))
            }
            Kind::Text(_) | Kind::Ports => Ok(Json::from(text)),
            Kind::Flag => match scalar.flag() {
                Some(flag) => Ok(Json::from(flag)),
                None => wrong(self, "wrong-type", misread("flag")),
            },
            Kind::Integer(least, most) => match scalar.integer() {
                Some(n) if (i128::from(*least)..=i128::from(*most)).contains(&n) => {
                    Ok(i64::try_from(n).map_or(Json::Null, Json::from))
                }
                Some(_) => wrong(
                    self,
                    "out-of-range",
                    format!("`{}` is {}", field.key, quote(text).replace('`', "")),
                ),
                None => wrong(self, "wrong-type", misread("whole number")),
            },
            Kind::Number(least, most) => match scalar.number() {
                Some(n) if (*least..=*most).contains(&n) => Ok(Json::from(n)),
                Some(_) => wrong(
                    self,
                    "out-of-range",
                    format!("`{}` is {}", field.key, quote(text).replace('`', "")),
                ),
                None => wrong(self, "wrong-type", misread("number")),
            },
            Kind::Word(words) => self.word(text, spot, (words, field), at),
            _ => wrong(self, "wrong-type", misread("such value")),
        }
    }

    fn word(
        &mut self,
        text: &str,
        spot: Spot,
        (words, field): (&[Word], &Field),
        at: &Path<'_>,
    ) -> Result<Json, Misfit> {
        match words.iter().find(|word| word.text() == text) {
            Some(Word::Known(word)) => Ok(Json::from(*word)),
            Some(found @ (Word::Later(word, what) | Word::Never(word, what))) => {
                let why = if matches!(found, Word::Never(..)) { NEVER } else { LATER };
                let message = format!("`{}: {word}` is {why}: {what}", field.key);
                Err(self.report("not-supported", (spot, at), message, join(known(words), field.rule)))
            }
            None if self.flaws.is_full() => Err(Misfit),
            None => {
                let expected = match nearest(text, words.iter().map(Word::text)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => join(known(words), field.rule),
                };
                let message = format!("`{}` cannot be {}", field.key, quote(text));
                Err(self.report("unknown-value", (spot, at), message, expected))
            }
        }
    }

    fn unknown_key(&mut self, key: &str, spot: Spot, table: &Table, path: &Path<'_>) {
        if self.flaws.is_full() {
            return;
        }
        let fields = || table.fields.iter().filter(|field| !field.kind.is_refused());
        let all = || table.fields.iter().map(|field| field.key);
        let expected = if key == "<<" {
            "the fields themselves: merge keys are no part of YAML 1.2".to_owned()
        } else if let Some(near) =
            nearest(key, fields().map(|field| field.key)).or_else(|| nearest(key, all()))
        {
            format!("did you mean `{near}`?")
        } else {
            format!("one of {}", fields().map(|field| field.key).collect::<Vec<_>>().join(", "))
        };
        let message = format!("{} has no field {}", table.noun, quote(key));
        self.report("unknown-key", (spot, &path.key(key)), message, expected);
    }

    fn wrong_type(&mut self, node: &Node, at: &Path<'_>, expected: &str) -> Misfit {
        let message = match &node.value {
            Value::Scalar(scalar) if scalar.is_null() => "there is nothing here".to_owned(),
            Value::Scalar(scalar) => format!("{} stands here", quote(&scalar.text)),
            Value::List(_) => "a list stands here".to_owned(),
            Value::Object(_) => "an object stands here".to_owned(),
        };
        self.report("wrong-type", (node.point(), at), message, expected.to_owned())
    }

    /// Notes a flaw. Returns the misfit so that callers can say `Err(self.report(…))`.
    pub fn report(
        &mut self,
        code: &'static str,
        (spot, at): (Spot, &Path<'_>),
        message: String,
        expected: String,
    ) -> Misfit {
        self.flaws.push(Flaw { code, path: at.to_string(), spot, message, expected: Some(expected) });
        Misfit
    }
}

/// What is refused for now.
const LATER: &str = "not supported yet";
/// What will never come.
const NEVER: &str = "not for this kind of load balancer";

impl Kind {
    /// Nothing that a file should say.
    const fn is_refused(&self) -> bool {
        matches!(self, Self::OutputOnly | Self::Later(..) | Self::Never(..))
    }

    const fn is_scalar(&self) -> bool {
        !matches!(self, Self::Object(_) | Self::List(..) | Self::Map(_))
    }
}

impl Word {
    /// The word.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Known(word) | Self::Later(word, _) | Self::Never(word, _) => word,
        }
    }
}

impl Off {
    fn matches(&self, node: &Node) -> bool {
        match (self, &node.value) {
            (Self::False, Value::Scalar(scalar)) => scalar.flag() == Some(false),
            (Self::Zero, Value::Scalar(scalar)) => scalar.integer() == Some(0),
            (Self::Empty, Value::Scalar(scalar)) => scalar.text.is_empty(),
            (Self::Empty, Value::List(items)) => items.is_empty(),
            (Self::Empty, Value::Object(entries)) => entries.is_empty(),
            (Self::Word(word), Value::Scalar(scalar)) => scalar.text == *word,
            (Self::Disabled(key), Value::Object(_)) => {
                node.get(key).is_some_and(|flag| Self::False.matches(flag))
            }
            (Self::Choice(key, word), Value::Object(entries)) => {
                entries.len() == 1 && node.get(key).and_then(Node::text) == Some(word)
            }
            _ => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::False => "false".into(),
            Self::Zero => "0".into(),
            Self::Empty => "an empty one".into(),
            Self::Word(word) => (*word).into(),
            Self::Disabled(key) => format!("{{{key}: false}}"),
            Self::Choice(key, word) => format!("{{{key}: {word}}}"),
        }
    }
}

/// What a field wants, in words, with the rule.
fn wanted(field: &Field) -> String {
    wanted_kind(&field.kind, field)
}

fn wanted_kind(kind: &Kind, field: &Field) -> String {
    if matches!(kind, Kind::Name) {
        return NAME_RULE.into();
    }
    join(describe(kind), field.rule)
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Name => "a name".into(),
        Kind::Text(most) if *most >= 2048 => "a name or a URL that ends in one".into(),
        Kind::Text(most) | Kind::LimitedNote(most) => format!("a string of at most {most} characters"),
        Kind::Ports => "a port, such as \"8080\"".into(),
        Kind::Flag => "true or false".into(),
        Kind::Integer(least, most) => format!("a whole number from {least} to {most}"),
        Kind::Number(f64::MIN, _) => "a finite number".into(),
        Kind::Number(least, f64::MAX) => format!("a finite number, {least} or more"),
        Kind::Number(least, most) => format!("a number from {least} to {most}"),
        Kind::Word(words) => known(words),
        Kind::WordOr(word, other) => format!("`{word}`, or {}", describe(other)),
        Kind::Object(table) => {
            let keys: Vec<_> = table.fields.iter().filter(|f| !f.kind.is_refused()).map(|f| f.key).collect();
            format!("an object with {}", keys.join(", "))
        }
        Kind::Map(of) => format!("an object: a name, a colon, and {}", describe(of)),
        Kind::List(of, _) => match of {
            Kind::Object(table) => format!("a list, each entry {}", table.noun),
            other => format!("a list, each entry {}", describe(other)),
        },
        Kind::OutputOnly | Kind::Note | Kind::Later(..) | Kind::Never(..) => "nothing".into(),
    }
}

/// The supported words: `HTTP or HTTPS`.
fn known(words: &[Word]) -> String {
    let known: Vec<_> = words
        .iter()
        .filter_map(|word| if let Word::Known(word) = word { Some(*word) } else { None })
        .collect();
    match known.as_slice() {
        [] => "nothing".into(),
        [one] => (*one).into(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

fn join(words: String, rule: &str) -> String {
    if rule.is_empty() { words } else { format!("{words} {rule}") }
}
