//! What of a flawed object is sound, field by field. Reports nothing: the walk through the document has done so.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::document::{Node, Value};
use super::flaw::nearest;
use super::path::Path;
use super::schema::Table;
use super::walk::{Misfit, Walk};

/// The fields of an object.
#[derive(Debug, Default)]
pub struct Loose {
    sound: Map<String, Json>,
    flawed: Vec<&'static str>,
    meant: Vec<&'static str>,
}

impl Loose {
    /// Holds each field of the node against the table by itself.
    #[must_use]
    pub fn new(node: &Node, table: &Table) -> Self {
        // Who misspells more than this has written something else.
        const MISSPELT: usize = 100;
        let mut out = Self::default();
        let Value::Object(entries) = &node.value else { return out };
        for entry in entries.iter().filter(|entry| !entry.node.is_null()) {
            match table.find(&entry.key) {
                Some(field) => match Walk::default().field(&entry.node, entry.key_spot, field, &Path::Root) {
                    Ok(Some(value)) => drop(out.sound.insert(entry.key.clone(), value)),
                    Ok(None) => {}
                    Err(Misfit) => out.flawed.push(field.key),
                },
                None if out.meant.len() < MISSPELT => {
                    out.meant.extend(nearest(&entry.key, table.fields.iter().map(|field| field.key)));
                }
                None => {}
            }
        }
        out
    }

    /// A field that is sound.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_value(self.sound.get(key)?.clone()).ok()
    }

    /// The object of its sound fields; `None` when one is missing that it is nothing without.
    #[must_use]
    pub fn whole<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(Json::Object(self.sound.clone())).ok()
    }

    /// Fields that stand there and cannot be used.
    #[must_use]
    pub fn flawed(&self) -> &[&'static str] {
        &self.flawed
    }

    /// Fields that misspelt keys are probably meant to be.
    #[must_use]
    pub fn meant(&self) -> &[&'static str] {
        &self.meant
    }

    /// Whether every field that stands there is sound.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.flawed.is_empty() && self.meant.is_empty()
    }

    /// Whether the field is not there, sound or not, and nothing else is meant to be it.
    #[must_use]
    pub fn lacks(&self, key: &str) -> bool {
        !self.sound.contains_key(key) && !self.is_unsure(key)
    }

    /// Whether something is said of the field that cannot be used.
    #[must_use]
    pub fn is_unsure(&self, key: &str) -> bool {
        self.flawed.contains(&key) || self.meant.contains(&key)
    }
}
