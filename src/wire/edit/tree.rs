//! What a document means, without its form: the measure of an edit. An edit of the text is right when the new text means
//! what the old one meant with this one value changed.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Edit, Refused, Step, show};
use crate::wire::document::{Node, Scalar, Value};

/// A value, aliases expanded.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Null,
    /// A number or a flag as it is written.
    Word(String),
    /// A string.
    Text(String),
    List(Vec<Self>),
    /// Keys are unique; their order means nothing.
    Object(Vec<(String, Self)>),
}

impl Tree {
    pub(super) fn of_node(node: &Node) -> Self {
        match &node.value {
            Value::Scalar(scalar) => Self::of_scalar(scalar.clone()),
            Value::List(items) => Self::List(items.iter().map(Self::of_node).collect()),
            Value::Object(entries) => {
                let entry =
                    |entry: &crate::wire::document::Entry| (entry.key.clone(), Self::of_node(&entry.node));
                Self::Object(entries.iter().map(entry).collect())
            }
        }
    }

    pub(super) fn of_scalar(scalar: Scalar) -> Self {
        if !scalar.is_plain {
            Self::Text(scalar.text)
        } else if scalar.is_null() {
            Self::Null
        } else if scalar.flag().is_some() || scalar.integer().is_some() || scalar.number().is_some() {
            Self::Word(scalar.text)
        } else {
            Self::Text(scalar.text)
        }
    }

    /// `None` where it is deeper than `most` levels of lists and objects.
    pub(super) fn of_json(value: &Json, most: usize) -> Option<Self> {
        let deeper = |value: &Json| Self::of_json(value, most.checked_sub(1)?);
        Some(match value {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Word(flag.to_string()),
            Json::Number(number) => Self::Word(number.to_string()),
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) => Self::List(items.iter().map(deeper).collect::<Option<_>>()?),
            Json::Object(entries) => {
                let mut entries: Vec<(String, Self)> = entries
                    .iter()
                    .map(|(key, value)| Some((key.clone(), deeper(value)?)))
                    .collect::<Option<_>>()?;
                // Maps come sorted by their keys, and people look for the name first.
                entries.sort_by_key(|(key, _)| key != "name");
                Self::Object(entries)
            }
        })
    }

    /// Whether both mean the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Word(one), Self::Word(other)) | (Self::Text(one), Self::Text(other)) => one == other,
            (Self::List(one), Self::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is(other))
            }
            (Self::Object(one), Self::Object(other)) => {
                let others: BTreeMap<_, _> = other.iter().map(|(key, value)| (key, value)).collect();
                one.len() == other.len()
                    && one.iter().all(|(key, value)| others.get(key).is_some_and(|other| value.is(other)))
            }
            _ => false,
        }
    }

    pub(super) const fn is_collection(&self) -> bool {
        matches!(self, Self::List(_) | Self::Object(_))
    }

    pub(super) const fn is_empty_collection(&self) -> bool {
        match self {
            Self::List(items) => items.is_empty(),
            Self::Object(entries) => entries.is_empty(),
            _ => false,
        }
    }

    pub(super) fn get(&self, step: &Step) -> Option<&Self> {
        match (self, step) {
            (Self::Object(entries), Step::Key(key)) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            (Self::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    fn get_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (self, step) {
            (Self::Object(entries), Step::Key(key)) => {
                entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            (Self::List(items), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        }
    }

    pub(super) fn find(&self, at: &[Step]) -> Option<&Self> {
        at.iter().try_fold(self, |tree, step| tree.get(step))
    }

    fn find_mut(&mut self, at: &[Step]) -> Option<&mut Self> {
        at.iter().try_fold(self, |tree, step| tree.get_mut(step))
    }

    /// The same edit on the value.
    pub(super) fn edit(&mut self, edit: &Change) -> Result<(), Refused> {
        let missing = || Refused::Missing(format!("there is no {}", show(edit.at())));
        match edit {
            Change::Set { at, value } => {
                if let Some(old) = self.find_mut(at) {
                    *old = value.clone();
                    return Ok(());
                }
                let (Some(Step::Key(key)), parent) = (at.last(), parent(at)) else { return Err(missing()) };
                match self.find_mut(parent).ok_or_else(missing)? {
                    Self::Object(entries) => entries.push((key.clone(), value.clone())),
                    null @ Self::Null => *null = Self::Object(vec![(key.clone(), value.clone())]),
                    _ => return Err(Refused::Missing(format!("{} is no object", show(parent)))),
                }
            }
            Change::Insert { at, index, value } => match self.find_mut(at).ok_or_else(missing)? {
                Self::List(items) if *index <= items.len() => items.insert(*index, value.clone()),
                null @ Self::Null if *index == 0 => *null = Self::List(vec![value.clone()]),
                Self::List(items) => {
                    let message = format!("{} has {} entries, none before {index}", show(at), items.len());
                    return Err(Refused::Missing(message));
                }
                _ => return Err(Refused::Missing(format!("{} is no list", show(at)))),
            },
            Change::Remove { at } => {
                let last = at.last().ok_or_else(missing)?;
                match (self.find_mut(parent(at)).ok_or_else(missing)?, last) {
                    (Self::Object(entries), Step::Key(key)) => {
                        let index = entries.iter().position(|(name, _)| name == key).ok_or_else(missing)?;
                        entries.remove(index);
                    }
                    (Self::List(items), Step::Index(index)) if *index < items.len() => {
                        items.remove(*index);
                    }
                    _ => return Err(missing()),
                }
            }
        }
        Ok(())
    }
}

/// An edit as it will be made.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Set { at: Vec<Step>, value: Tree },
    Remove { at: Vec<Step> },
    Insert { at: Vec<Step>, index: usize, value: Tree },
}

impl Change {
    pub(super) fn at(&self) -> &[Step] {
        match self {
            Self::Set { at, .. } | Self::Remove { at } | Self::Insert { at, .. } => at,
        }
    }
}

/// Most changes that a new list or object over an old one is taken apart into; with more it is written anew.
const MAX_PARTS: usize = 64;

/// The changes that an edit comes to: none where the value is there already, few small ones where a list or an object
/// replaces another, the collection where the last entry of a collection at the root goes.
pub(super) fn plan(root: &Tree, edit: &Edit, most: usize) -> Result<Vec<Change>, Refused> {
    let tree = |value: &Json, at: &[Step]| {
        let too_deep = || Refused::TooLarge(format!("the value for {} is nested too deeply", show(at)));
        Tree::of_json(value, most.saturating_sub(at.len())).ok_or_else(too_deep)
    };
    Ok(match edit {
        Edit::Set { at, value } => {
            let (new, mut parts) = (tree(value, at)?, Vec::new());
            match root.find(at) {
                Some(old) if compare(old, &new, at, &mut parts) && parts.len() <= MAX_PARTS => parts,
                _ => vec![Change::Set { at: at.clone(), value: new }],
            }
        }
        Edit::Remove { at } => match (at.as_slice(), root.find(parent(at))) {
            ([Step::Key(_), Step::Index(0)], Some(Tree::List(items))) if items.len() == 1 => {
                vec![Change::Remove { at: parent(at).to_vec() }]
            }
            _ => vec![Change::Remove { at: at.clone() }],
        },
        Edit::Insert { at, index, value } => {
            let value = tree(value, at)?;
            if root.find(at).is_none() && *index == 0 {
                vec![Change::Set { at: at.clone(), value: Tree::List(vec![value]) }]
            } else {
                vec![Change::Insert { at: at.clone(), index: *index, value }]
            }
        }
    })
}

/// The way to what holds the last step.
pub(super) fn parent(at: &[Step]) -> &[Step] {
    at.split_last().map_or(&[], |(_, parent)| parent)
}

/// Adds the changes that make `new` of `old`; false where it is better written anew.
fn compare(old: &Tree, new: &Tree, at: &[Step], out: &mut Vec<Change>) -> bool {
    if old.is(new) {
        return true;
    }
    if out.len() > MAX_PARTS {
        return false;
    }
    let below = |step: Step| at.iter().cloned().chain([step]).collect::<Vec<_>>();
    let set = |at: Vec<Step>, value: &Tree| Change::Set { at, value: value.clone() };
    match (old, new) {
        (Tree::Object(before), Tree::Object(after)) => {
            let step = |key: &str| Step::Key(key.to_owned());
            if !after.iter().any(|(key, _)| old.get(&step(key)).is_some()) {
                return false;
            }
            for (key, value) in after {
                match old.get(&step(key)) {
                    Some(old) => compare_or_set(old, value, &below(step(key)), out),
                    None => out.push(set(below(step(key)), value)),
                }
            }
            let gone = before.iter().filter(|(key, _)| new.get(&step(key)).is_none());
            out.extend(gone.map(|(key, _)| Change::Remove { at: below(step(key)) }));
            true
        }
        (Tree::List(before), Tree::List(after)) if !before.is_empty() && !after.is_empty() => {
            let same_at_start = before.iter().zip(after).take_while(|(one, other)| one.is(other)).count();
            let left = before.len().min(after.len()) - same_at_start;
            let ends = before.iter().rev().zip(after.iter().rev()).take(left);
            let same_at_end = ends.take_while(|(one, other)| one.is(other)).count();
            let both = same_at_start..before.len().min(after.len()) - same_at_end;
            for (index, (old, new)) in before.iter().zip(after).enumerate().skip(both.start).take(both.len())
            {
                compare_or_set(old, new, &below(Step::Index(index)), out);
            }
            for index in (both.end..before.len() - same_at_end).rev() {
                out.push(Change::Remove { at: below(Step::Index(index)) });
            }
            for (index, value) in after.iter().enumerate().take(after.len() - same_at_end).skip(both.end) {
                out.push(Change::Insert { at: at.to_vec(), index, value: value.clone() });
            }
            true
        }
        _ => false,
    }
}

fn compare_or_set(old: &Tree, new: &Tree, at: &[Step], out: &mut Vec<Change>) {
    let before = out.len();
    if !compare(old, new, at, out) {
        out.truncate(before);
        out.push(Change::Set { at: at.to_vec(), value: new.clone() });
    }
}
