//! Where a resource is: from a name and scope flags, or from any part of a URL, to a path of the API.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::fault::Fault;
use super::kind::{Kind, Place};

/// A place by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everywhere.
    Global,
    /// A region.
    Region(String),
    /// A zone.
    Zone(String),
}

impl Scope {
    /// As a path has it.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Global => "global".to_owned(),
            Self::Region(region) => format!("regions/{}", escaped(region)),
            Self::Zone(zone) => format!("zones/{}", escaped(zone)),
        }
    }

    /// As messages of gcloud have it: `zone [us-central1-a]`.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Global => "scope [global]".to_owned(),
            Self::Region(region) => format!("region [{region}]"),
            Self::Zone(zone) => format!("zone [{zone}]"),
        }
    }

    /// The region's or zone's name.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Global => None,
            Self::Region(name) | Self::Zone(name) => Some(name),
        }
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) project: String,
    pub(super) scope: Scope,
    pub(super) collection: String,
    pub(super) name: String,
}

impl Target {
    /// Where the API has it.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.collection_path(), escaped(&self.name))
    }

    /// Where its like are.
    pub(super) fn collection_path(&self) -> String {
        let project = escaped(&self.project);
        match (self.collection.as_str(), &self.scope) {
            ("serviceLbPolicies", scope) => {
                let location = escaped(scope.name().unwrap_or("global"));
                format!("/v1/projects/{project}/locations/{location}/serviceLbPolicies")
            }
            ("zones" | "regions", _) => format!("/compute/v1/projects/{project}/{}", self.collection),
            (collection, scope) => {
                format!("/compute/v1/projects/{project}/{}/{collection}", scope.path())
            }
        }
    }

    /// From a path or URL, partial or full: its last segments say what and where. `None` for a bare name, and for what
    /// is no such path.
    pub(super) fn read(url: &str, project: &str) -> Option<Self> {
        let path = url.split_once("://").map_or(url, |(_, rest)| rest);
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let mut project = project;
        for pair in segments.windows(2) {
            if let ["projects", name] = pair {
                project = name;
            }
        }
        let (scope, collection, name) = match segments.as_slice() {
            [.., "zones", zone, collection, name] => (Scope::Zone((*zone).to_owned()), *collection, *name),
            [.., "regions", region, collection, name] => {
                (Scope::Region((*region).to_owned()), *collection, *name)
            }
            [.., "global", collection, name] => (Scope::Global, *collection, *name),
            [.., collection @ ("zones" | "regions"), name] => (Scope::Global, *collection, *name),
            _ => return None,
        };
        Some(Self {
            project: project.to_owned(),
            scope,
            collection: collection.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Whether both are the same resource, whatever the project is called: there is one.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.scope == other.scope && self.collection == other.collection && self.name == other.name
    }
}

/// The last segment of a path or URL.
pub(super) fn basename(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// A segment of a path; names are the server's to judge [G 10.7], so they may hold anything.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The flags for where a resource lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScopeFlags {
    pub(super) places: &'static [Place],
    /// What they are called: global, region, zone.
    pub(super) names: [&'static str; 3],
    /// What they are called together; at most one is given.
    pub(super) group: &'static str,
}

impl ScopeFlags {
    /// Those of a command on one resource of this kind.
    pub(super) const fn of(kind: &Kind) -> Self {
        Self { places: kind.places, names: ["global", "region", "zone"], group: "scope" }
    }

    /// Adds them to a command.
    pub(super) fn onto(self, command: Command) -> Command {
        let command = self.places.iter().fold(command, |command, place| {
            let id = self.id(*place);
            let arg = Arg::new(id).long(id);
            command.arg(match place {
                Place::Global => arg.action(ArgAction::SetTrue).help("It is global"),
                Place::Region => arg.value_name("REGION").help("Region that it is in"),
                Place::Zone => arg.value_name("ZONE").help("Zone that it is in"),
            })
        });
        let ids = self.places.iter().map(|place| self.id(*place));
        command.group(clap::ArgGroup::new(self.group).args(ids).multiple(false))
    }

    const fn id(self, place: Place) -> &'static str {
        let [global, region, zone] = self.names;
        match place {
            Place::Global => global,
            Place::Region => region,
            Place::Zone => zone,
        }
    }

    /// What was said, if anything.
    pub(super) fn said(self, matches: &ArgMatches) -> Option<Scope> {
        for place in self.places {
            let id = self.id(*place);
            let found = match place {
                Place::Global => {
                    (matches.try_get_one::<bool>(id).ok().flatten() == Some(&true)).then_some(Scope::Global)
                }
                Place::Region => matches.get_one::<String>(id).map(|name| Scope::Region(last(name))),
                Place::Zone => matches.get_one::<String>(id).map(|name| Scope::Zone(last(name))),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Which flags there are, for whoever used none [G 10.5].
    pub(super) fn underspecified(self, name: &str) -> Fault {
        let mut flags: Vec<String> =
            self.places.iter().map(|place| format!("--{}", self.id(*place))).collect();
        flags.sort();
        Fault::new(match flags.as_slice() {
            [one] => format!("Underspecified resource [{name}]. Specify the [{one}] flag."),
            _ => {
                format!("Underspecified resource [{name}]. Specify one of the [{}] flags.", flags.join(", "))
            }
        })
    }
}

/// A zone or region may be given as a URL too.
fn last(name: &str) -> String {
    basename(name).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_a_url_that_names_place_and_kind_is_understood() {
        let full = Target::read(
            "https://www.googleapis.com/compute/v1/projects/p/zones/z/instanceGroups/ig",
            "local",
        );
        let full = full.unwrap();
        assert_eq!(full.path(), "/compute/v1/projects/p/zones/z/instanceGroups/ig");
        let part = Target::read("zones/z/instanceGroups/ig", "local").unwrap();
        assert_eq!(part.project, "local");
        assert!(part.is_same_as(&full));
        assert_eq!(Target::read("global/urlMaps/m", "p").unwrap().scope, Scope::Global);
        assert!(["ig", "instanceGroups/ig", ""].iter().all(|word| Target::read(word, "p").is_none()));
    }

    #[test]
    fn whatever_a_name_holds_stays_one_segment() {
        let target = Target {
            project: "p".into(),
            scope: Scope::Global,
            collection: "urlMaps".into(),
            name: "a/b c?d".into(),
        };
        assert_eq!(target.path(), "/compute/v1/projects/p/global/urlMaps/a%2Fb%20c%3Fd");
    }
}
