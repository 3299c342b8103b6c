//! Flags as data: a flag's name, how its value is written [G 10c], and the field of the resource that it sets.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::place::Scope;
use super::session::Session;

/// One flag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    /// Without the dashes.
    pub(super) long: &'static str,
    /// How its value is written.
    pub(super) form: Form,
    /// The field that it sets, such as `connectionDraining.drainingTimeoutSec`; empty where the command reads it by hand.
    pub(super) field: &'static str,
    /// For `--help`.
    pub(super) help: &'static str,
}

/// How a flag's value is written, and what it becomes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// Text; none of it clears the field.
    Text,
    /// Texts between commas; none clears the list. Several flags add up.
    List,
    /// One text for each time that the flag is given.
    Repeated,
    /// A whole number in a range.
    Whole(i64, i64),
    /// A number in a range.
    Real(f64, f64),
    /// A length of time in whole seconds, in a range.
    Seconds(i64, i64),
    /// One of the API's words, in any case and with dashes or underscores.
    Word(&'static [&'static str]),
    /// A word of gcloud's for a word of the API's.
    Renamed(&'static [(&'static str, &'static str)]),
    /// `--x` for true, and the flag named here for false.
    YesNo(&'static str),
    /// `--x` for true.
    Yes,
    /// `--x` empties the list.
    Empties,
    /// `--x` takes the field away.
    Clears,
    /// A resource of this kind.
    Refers(&'static Kind),
    /// Resources of this kind, between commas.
    ReferToAll(&'static Kind),
}

/// The largest numbers of the API's int32 fields.
pub(super) const INT32: i64 = 2_147_483_647;

/// A flag.
pub(super) const fn flag(long: &'static str, form: Form, field: &'static str, help: &'static str) -> Flag {
    Flag { long, form, field, help }
}

/// Adds flags to a command.
pub(super) fn with(command: Command, flags: &[Flag]) -> Command {
    flags.iter().fold(command, |command, flag| {
        let command = command.arg(flag.arg());
        match flag.form {
            Form::YesNo(no) => {
                let arg = Arg::new(no).long(no).action(ArgAction::SetTrue);
                command.arg(arg.overrides_with(flag.long).hide(true))
            }
            _ => command,
        }
    })
}

/// At most one of these flags [G 10.4].
pub(super) fn exclusive(command: Command, name: &'static str, flags: &[&'static str]) -> Command {
    command.group(clap::ArgGroup::new(name).args(flags).multiple(false))
}

impl Flag {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.long).long(self.long).help(self.help);
        match self.form {
            Form::Text => arg.value_name("TEXT").allow_hyphen_values(true),
            Form::List => arg.value_name("A,B").action(ArgAction::Append).value_delimiter(','),
            Form::Repeated => arg.value_name("TEXT").action(ArgAction::Append),
            Form::Whole(least, most) => arg
                .value_name("N")
                .value_parser(clap::value_parser!(i64).range(least..=most))
                .allow_negative_numbers(true),
            Form::Real(least, most) => arg
                .value_name("N")
                .value_parser(ValueParser::new(move |word: &str| real(word, least, most)))
                .allow_negative_numbers(true),
            Form::Seconds(least, most) => arg
                .value_name("TIME")
                .value_parser(ValueParser::new(move |word: &str| seconds(word, least, most))),
            Form::Word(words) => {
                let words = Words { read: move |word: &str| api_word(word, words), shown: words.to_vec() };
                arg.value_name("WORD").value_parser(words).hide_possible_values(true)
            }
            Form::Renamed(pairs) => {
                let shown = pairs.iter().map(|(ours, _)| *ours).collect();
                let words = Words { read: move |word: &str| renamed(word, pairs), shown };
                arg.value_name("WORD").value_parser(words).hide_possible_values(true)
            }
            Form::YesNo(no) => arg.action(ArgAction::SetTrue).overrides_with(no),
            Form::Yes | Form::Empties | Form::Clears => arg.action(ArgAction::SetTrue),
            Form::Refers(_) => arg.value_name("NAME"),
            Form::ReferToAll(_) => arg.value_name("A,B").action(ArgAction::Append).value_delimiter(','),
        }
    }

    /// What the command line says, as the API has it; `Null` where the field is to go. `None`: it says nothing.
    fn value(&self, matches: &ArgMatches, session: &Session<'_>, scope: &Scope) -> Option<Value> {
        let text = || text(matches, self.long);
        let link = |kind: &'static Kind, name: &str| Value::from(session.reference(kind, name, scope));
        match self.form {
            Form::Text => text().map(|text| if text.is_empty() { Value::Null } else { json!(text) }),
            Form::Word(_) | Form::Renamed(_) => text().map(|word| json!(word)),
            Form::List | Form::Repeated => {
                let all = texts(matches, self.long)?;
                Some(all.into_iter().filter(|text| !text.is_empty()).collect())
            }
            Form::Whole(..) | Form::Seconds(..) => {
                matches.try_get_one::<i64>(self.long).ok()?.map(|n| json!(n))
            }
            Form::Real(..) => matches.try_get_one::<f64>(self.long).ok()?.map(|n| json!(n)),
            Form::YesNo(no) if is_set(matches, no) => Some(json!(false)),
            Form::YesNo(_) | Form::Yes => is_set(matches, self.long).then_some(json!(true)),
            Form::Empties => is_set(matches, self.long).then_some(json!([])),
            Form::Clears => is_set(matches, self.long).then_some(Value::Null),
            Form::Refers(kind) => text().map(|name| link(kind, name)),
            Form::ReferToAll(kind) => {
                let all = texts(matches, self.long)?;
                Some(all.into_iter().filter(|name| !name.is_empty()).map(|name| link(kind, name)).collect())
            }
        }
    }
}

/// Reads a word in any spelling; a shell completes those that are shown.
#[derive(Clone)]
struct Words<R> {
    read: R,
    shown: Vec<&'static str>,
}

impl<R> TypedValueParser for Words<R>
where
    R: Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static,
{
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        self.read.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.shown.iter().map(PossibleValue::new)))
    }
}

/// Whether this switch is on; not where the command has no such switch.
pub(super) fn is_set(matches: &ArgMatches, long: &str) -> bool {
    matches.try_get_one::<bool>(long).ok().flatten() == Some(&true)
}

/// Whether the command line has this flag, not a default.
pub(super) fn is_given(matches: &ArgMatches, long: &str) -> bool {
    matches.try_contains_id(long).is_ok_and(|is_there| is_there)
        && matches.value_source(long) == Some(clap::parser::ValueSource::CommandLine)
}

/// All texts that a flag was given.
pub(super) fn texts<'a>(matches: &'a ArgMatches, long: &str) -> Option<Vec<&'a str>> {
    Some(matches.try_get_many::<String>(long).ok()??.map(String::as_str).collect())
}

/// The text that a flag was given.
pub(super) fn text<'a>(matches: &'a ArgMatches, long: &str) -> Option<&'a str> {
    matches.try_get_one::<String>(long).ok()?.map(String::as_str)
}

/// Sets the field of each flag that was given. How many were: an update of nothing is refused.
pub(super) fn fill(
    body: &mut Value,
    flags: &[Flag],
    matches: &ArgMatches,
    session: &Session<'_>,
    scope: &Scope,
) -> usize {
    let mut given = 0;
    for flag in flags {
        if let Some(value) = flag.value(matches, session, scope) {
            given += 1;
            if !flag.field.is_empty() {
                set(body, flag.field, value);
            }
        }
    }
    given
}

/// Sets a field, and makes the objects on the way to it.
pub(super) fn set(body: &mut Value, field: &str, value: Value) {
    let mut at = body;
    for key in field.split('.') {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[key];
    }
    *at = value;
}

/// Takes fields of an object away.
pub(super) fn remove(body: &mut Value, keys: &[&str]) {
    if let Some(object) = body.as_object_mut() {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

/// Takes away what is null or an empty list: a body of POST or PUT has what there is.
pub(super) fn compact(body: &mut Value) {
    if let Some(object) = body.as_object_mut() {
        object.retain(|_, value| !value.is_null() && *value != json!([]));
        object.values_mut().for_each(compact);
    }
}

/// Takes fields away that are null.
pub(super) fn drop_nulls(body: &mut Value) {
    if let Some(object) = body.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
}

fn real(word: &str, least: f64, most: f64) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) => Err(format!("Value must be in the range [{least:?}, {most:?}]")),
        Err(_) => Err("must be a number".to_owned()),
    }
}

/// `30`, `30s`, `2m`, `1h30m`, `1d`, in either case [G 10c].
fn seconds(word: &str, least: i64, most: i64) -> Result<i64, String> {
    let wrong = || format!("{word:?} is no duration such as 30, 30s, 2m or 1h30m; whole seconds only");
    let mut rest = word;
    let mut total: i64 = 0;
    // Units must come from large to small, each once.
    let mut ceiling = i64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let scale = match unit.chars().next().map(|c| c.to_ascii_lowercase()) {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') | None => 1,
            Some(_) => return Err(wrong()),
        };
        if scale >= ceiling || (unit.is_empty() && rest != word) {
            return Err(wrong());
        }
        ceiling = scale;
        total = number.checked_mul(scale).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = unit.get(1..).unwrap_or_default();
    }
    if word.is_empty() {
        return Err(wrong());
    }
    if (least..=most).contains(&total) {
        Ok(total)
    } else {
        Err(format!("value must be from {least}s to {most}s"))
    }
}

fn api_word(word: &str, words: &[&'static str]) -> Result<String, String> {
    let upper = word.to_ascii_uppercase().replace('-', "_");
    match words.iter().find(|known| **known == upper) {
        Some(known) => Ok((*known).to_owned()),
        None => Err(format!("Invalid choice; valid choices are: {}", words.join(", "))),
    }
}

fn renamed(word: &str, pairs: &[(&'static str, &'static str)]) -> Result<String, String> {
    let lower = word.to_ascii_lowercase().replace('_', "-");
    match pairs.iter().find(|(ours, api)| *ours == lower || api.eq_ignore_ascii_case(word)) {
        Some((_, api)) => Ok((*api).to_owned()),
        None => {
            let words: Vec<&str> = pairs.iter().map(|(ours, _)| *ours).collect();
            Err(format!("Invalid choice; valid choices are: {}", words.join(", ")))
        }
    }
}

/// `a=1,b=2` as pairs; a part without `=` has no value. A JSON value of the user's may hold commas: such are not cut.
pub(super) fn pairs(text: &str) -> Vec<(&str, Option<&str>)> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value))))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_gcloud_reads_them() {
        let read = |word| seconds(word, 0, i64::MAX);
        for (word, expected) in [
            ("30", 30),
            ("30s", 30),
            ("2m", 120),
            ("1h", 3600),
            ("1h30m", 5400),
            ("1d", 86_400),
            ("10S", 10),
            ("0", 0),
        ] {
            assert_eq!(read(word), Ok(expected), "{word}");
        }
        for word in [
            "",
            "0.5s",
            "s",
            "1x",
            "1m1h",
            "1m2m",
            "1h30",
            "-1",
            "99999999999999999999",
            "9223372036854775807d",
        ] {
            assert!(read(word).is_err(), "{word}");
        }
        assert!(seconds("2h", 0, 3600).is_err());
    }

    #[test]
    fn words_of_the_api_may_be_written_small_and_with_dashes() {
        let words = &["EXTERNAL", "EXTERNAL_MANAGED"];
        assert_eq!(api_word("external-managed", words).unwrap(), "EXTERNAL_MANAGED");
        assert!(api_word("extern", words).unwrap_err().contains("EXTERNAL, EXTERNAL_MANAGED"));
    }

    #[test]
    fn a_field_is_set_where_it_belongs() {
        let mut body = json!({"a": 1, "b": {"c": 2}});
        set(&mut body, "b.d", json!(3));
        set(&mut body, "e.f", Value::Null);
        assert_eq!(body, json!({"a": 1, "b": {"c": 2, "d": 3}, "e": {"f": null}}));
    }
}
