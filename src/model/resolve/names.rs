//! Names and references [G 7.11, 12.7]: a name, or any partial or full URL whose last segments name the resource.

use std::collections::BTreeMap;

use super::report::Report;
use crate::wire::flaw::{nearest, quote};
use crate::wire::path::Path;
use crate::wire::read::Collection;
use crate::wire::schema::is_name;

/// A reference taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    pub(super) collection: Option<&'a str>,
    pub(super) zone: Option<&'a str>,
    pub(super) region: Option<&'a str>,
    pub(super) name: &'a str,
}

/// Where resources of one kind are found by name.
#[derive(Debug)]
pub(super) struct Names<'a> {
    collection: &'static str,
    noun: &'static str,
    by_name: BTreeMap<&'a str, usize>,
    hides_names: bool,
}

impl<'a> Names<'a> {
    /// Indexes a collection whose names are global, and reports doubles.
    pub(super) fn new<T>(of: &'a Collection<T>, noun: &'static str, report: &mut Report<'_>) -> Self {
        let mut names =
            Self { collection: of.key, noun, by_name: BTreeMap::new(), hides_names: of.hides_names };
        let list = Path::Root.key(of.key);
        for (index, entry) in of.entries.iter().enumerate() {
            let Some(name) = entry.name.as_deref() else { continue };
            if names.by_name.contains_key(name) {
                let message = format!("there is a {noun} {} already", quote(name));
                report.error(
                    &list.item(index).key("name"),
                    "duplicate-name",
                    message,
                    format!("a name of its own for each {noun}"),
                );
            } else {
                names.by_name.insert(name, index);
            }
        }
        names
    }

    /// The collection's key.
    pub(super) const fn collection(&self) -> &'static str {
        self.collection
    }

    /// Whether both are of one collection.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.collection == other.collection
    }

    /// Whether there is a resource of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// All names.
    pub(super) fn known(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.by_name.keys().copied()
    }

    /// Whether there may be more names than can be read.
    pub(super) const fn hides_names(&self) -> bool {
        self.hides_names
    }

    /// The index that `text` refers to; `None` when a problem has been reported, here or where the resource stands.
    pub(super) fn follow(&self, text: &str, at: &Path<'_>, report: &mut Report<'_>) -> Option<usize> {
        let reference = read_reference(text, at, self.noun, report)?;
        if let Some(found) = reference.collection.filter(|found| *found != self.collection) {
            let message = format!("{} names one of `{found}`, and a {} belongs here", quote(text), self.noun);
            report.error(
                at,
                "wrong-reference",
                message,
                format!("a name, or a URL that ends in {}/NAME", self.collection),
            );
            return None;
        }
        let found = self.by_name.get(reference.name).copied();
        if found.is_none() && !self.hides_names {
            dangling(reference.name, self.noun, self.by_name.keys().copied(), (at, report));
        }
        found
    }
}

/// Takes a reference apart; reports what is none.
pub(super) fn read_reference<'a>(
    text: &'a str,
    at: &Path<'_>,
    noun: &str,
    report: &mut Report<'_>,
) -> Option<Reference<'a>> {
    match parse(text) {
        Ok(reference) => Some(reference),
        Err(expected) => {
            report.error(at, "bad-reference", format!("{} names no {noun}", quote(text)), expected);
            None
        }
    }
}

/// Says that nothing has that name, and what was probably meant.
pub(super) fn dangling<'n>(
    name: &str,
    noun: &str,
    known: impl Iterator<Item = &'n str> + Clone,
    (at, report): (&Path<'_>, &mut Report<'_>),
) {
    const SHOWN: usize = 8;
    // Distances to all names for each of many mistakes would take minutes.
    const EXPLAINED: usize = 100;
    let near = if report.errors() < EXPLAINED { nearest(name, known.clone()) } else { None };
    let expected = if let Some(near) = near {
        format!("did you mean `{near}`?")
    } else {
        let shown: Vec<_> = known.clone().take(SHOWN).collect();
        match (shown.len(), known.count()) {
            (0, _) => format!("a {noun} of that name; the document has none at all")
                .replace("a instance", "an instance")
                .replace("a SSL", "an SSL"),
            (few, all) if few < all => format!("one of {} and {} more", shown.join(", "), all - few),
            _ => format!("one of {}", shown.join(", ")),
        }
    };
    report.error(at, "dangling-reference", format!("there is no {noun} {}", quote(name)), expected);
}

/// The region that a reference names, if it does.
pub(super) fn region_of(text: &str) -> Option<&str> {
    parse(text).ok()?.region
}

fn parse(text: &str) -> Result<Reference<'_>, &'static str> {
    let path = match text.split_once("://") {
        Some(("https" | "http", rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        Some(_) => return Err("a URL that begins with https://"),
        None => text,
    };
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (name, collection, scope) = match segments.as_slice() {
        [name] => (*name, None, [].as_slice()),
        [scope @ .., collection, name] => (*name, Some(*collection), scope),
        [] => return Err("a name, or a URL that ends in one"),
    };
    if !is_name(name) {
        return Err("a name, or a URL that ends in one: lower-case letters, digits and hyphens");
    }
    let (zone, region) = match scope {
        [.., "regions", region] => (None, Some(*region)),
        [.., "locations", location] if *location != "global" => {
            return Err("a global resource: regional ones are not supported yet");
        }
        [.., "zones", zone] => (Some(*zone), None),
        _ => (None, None),
    };
    Ok(Reference { collection, zone, region, name })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn references_are_names_or_partial_or_full_urls() {
        let name = |collection, zone| Reference { collection, zone, region: None, name: "x" };
        for (text, expected) in [
            ("x", name(None, None)),
            ("backendServices/x", name(Some("backendServices"), None)),
            ("global/backendServices/x", name(Some("backendServices"), None)),
            ("projects/p/global/backendServices/x", name(Some("backendServices"), None)),
            ("zones/z-a/instanceGroups/x", name(Some("instanceGroups"), Some("z-a"))),
            (
                "https://www.googleapis.com/compute/v1/projects/p/zones/z-a/instanceGroups/x",
                name(Some("instanceGroups"), Some("z-a")),
            ),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        let regional = parse("projects/p/regions/r/backendServices/x").unwrap();
        assert_eq!(regional, Reference { region: Some("r"), ..name(Some("backendServices"), None) });
        for bad in ["", "/", "a/B", "ftp://h/x", "https://h", "locations/us-east1/serviceLbPolicies/x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
