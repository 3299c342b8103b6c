//! What a method and a URL path ask, as data; and the way back, from a resource to its path and its `selfLink`.

use std::borrow::Cow;
use std::fmt;

use axum::http::Method;

use super::error::ApiError;
use super::kinds::{self, About, Kind, ScopeKind, Verb, VerbRule, can};
use crate::wire::schema::is_name;

/// Longest path that is read, in bytes.
const LONGEST: usize = 2048;

/// One question or change, of one API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The API and its version; links in the answer carry it.
    pub(crate) api: Api,
    /// What is asked.
    pub(crate) what: What,
}

/// An API and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// `/compute/{v1|beta|alpha}`.
    Compute(&'static str),
    /// `/{v1|v1beta1|v1alpha1}`.
    NetworkServices(&'static str),
}

impl Api {
    /// What stands between the host and `projects/`, with slashes at both ends.
    pub(crate) fn prefix(self) -> String {
        match self {
            Self::Compute(version) => format!("/compute/{version}/"),
            Self::NetworkServices(version) => format!("/{version}/"),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// The resources of one scope.
    List(Place),
    /// A new resource; its name stands in the body, or in `serviceLbPolicyId`.
    Insert(Place),
    /// The resources of all scopes [G 12.6].
    Aggregated {
        /// Of which kind.
        kind: &'static Kind,
        /// Of which project.
        project: String,
    },
    /// Another question to a collection.
    About(Place, About),
    /// One resource.
    Get(Resource),
    /// PUT.
    Update(Resource),
    /// PATCH.
    Patch(Resource),
    /// DELETE.
    Delete(Resource),
    /// A verb of one resource.
    Verb(Resource, Verb),
}

impl What {
    /// Whether nothing changes by it.
    pub(crate) const fn only_looks(&self) -> bool {
        match self {
            Self::List(_) | Self::Aggregated { .. } | Self::About(..) | Self::Get(_) => true,
            Self::Verb(_, verb) => verb.only_looks(),
            Self::Insert(_) | Self::Update(_) | Self::Patch(_) | Self::Delete(_) => false,
        }
    }
}

/// A collection in one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Of which kind.
    pub(crate) kind: &'static Kind,
    /// Project, as the client calls it: here all are the same.
    pub(crate) project: String,
    /// Where in the project.
    pub(crate) scope: Scope,
}

impl Place {
    /// The path from `projects/` on.
    pub(crate) fn path(&self) -> String {
        let Self { kind, project, scope } = self;
        match scope {
            Scope::Project => format!("projects/{project}/{}", kind.collection),
            _ => format!("projects/{project}/{scope}/{}", kind.collection),
        }
    }

    /// The resource of this name in here.
    pub(crate) fn resource(&self, name: impl Into<String>) -> Resource {
        Resource { place: self.clone(), name: name.into() }
    }
}

/// Where in a project. Ordered as aggregated lists are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    /// Everywhere.
    Global,
    /// A region, by its name.
    Region(String),
    /// A zone, by its name.
    Zone(String),
    /// The project itself.
    Project,
    /// `locations/global`.
    Location,
}

impl Scope {
    /// Which sort of scope it is.
    pub(crate) const fn kind(&self) -> ScopeKind {
        match self {
            Self::Global => ScopeKind::Global,
            Self::Region(_) => ScopeKind::Region,
            Self::Zone(_) => ScopeKind::Zone,
            Self::Project => ScopeKind::Project,
            Self::Location => ScopeKind::Location,
        }
    }
}

/// As it stands in a path, and as the key of an aggregated list: `global`, `regions/r`, `zones/z`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Region(name) => write!(f, "regions/{name}"),
            Self::Zone(name) => write!(f, "zones/{name}"),
            Self::Project => Ok(()),
            Self::Location => f.write_str("locations/global"),
        }
    }
}

/// One resource, which may or may not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Where it stands.
    pub(crate) place: Place,
    /// Its name, or its numeric id [G 12.7].
    pub(crate) name: String,
}

impl Resource {
    /// The path from `projects/` on, as messages have it.
    pub(crate) fn path(&self) -> String {
        // A project stands in no collection within itself.
        if self.place.kind.collection == "projects" {
            return format!("projects/{}", self.name);
        }
        format!("{}/{}", self.place.path(), self.name)
    }

    /// The resource's URL; `base` ends before `projects/`, such as `http://127.0.0.1:9901/compute/v1/`.
    pub(crate) fn self_link(&self, base: &str) -> String {
        link(base, &self.path())
    }

    /// The id, if it was asked for by id: no name starts with a digit. `None` too for one that fits into no int64.
    pub(crate) fn id(&self) -> Option<u64> {
        self.name.parse().ok()
    }
}

/// `base` and a path, with one slash between them.
pub(crate) fn link(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

/// Reads a request's method and the path of its URL.
///
/// # Errors
///
/// 404 for what is no path of the API, 405 for one that has other methods, 400 for what can be no name.
pub(crate) fn parse(method: &Method, path: &str) -> Result<Asked, ApiError> {
    let unknown = || ApiError::no_such_url(path);
    if path.len() > LONGEST {
        return Err(ApiError::new(http::StatusCode::URI_TOO_LONG, "invalid", "The URL is too long"));
    }
    let segments: Option<Vec<_>> =
        path.strip_prefix('/').ok_or_else(unknown)?.split('/').map(decode).collect();
    let segments = segments.ok_or_else(|| ApiError::invalid("The URL is not percent-encoded UTF-8"))?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return Err(unknown());
    }
    let (api, rest) = match &*segments {
        ["compute", version, "projects", rest @ ..] => {
            let version = ["v1", "beta", "alpha"].into_iter().find(|known| known == version);
            (Api::Compute(version.ok_or_else(unknown)?), rest)
        }
        [version, "projects", rest @ ..] => {
            let version = ["v1", "v1beta1", "v1alpha1"].into_iter().find(|known| known == version);
            (Api::NetworkServices(version.ok_or_else(unknown)?), rest)
        }
        _ => return Err(unknown()),
    };
    let (project, rest) = rest.split_first().ok_or_else(unknown)?;
    if !is_project(project) {
        let why = "Must be the id or the number of a project.";
        return Err(ApiError::invalid_field("project", project, why));
    }
    let target = match api {
        Api::Compute(_) => compute(project, rest)?,
        Api::NetworkServices(_) => network_services(project, rest)?,
    };
    let target = target.ok_or_else(unknown)?;
    Ok(Asked { api, what: target.asked(method)? })
}

/// What a path names, before the method says what to do with it.
enum Target {
    Collection(Place),
    Aggregated(&'static Kind, String),
    About(Place, About),
    Resource(Resource),
    Verb(Resource, &'static VerbRule),
}

fn compute(project: &str, rest: &[&str]) -> Result<Option<Target>, ApiError> {
    Ok(match rest {
        [] => {
            let Some(kind) = kinds::of_collection("projects") else { return Ok(None) };
            let place = Place { kind, project: project.to_owned(), scope: Scope::Project };
            Some(Target::Resource(place.resource(project)))
        }
        ["aggregated", collection] => kinds::of_collection(collection)
            .filter(|kind| kind.aggregated_kind().is_some())
            .map(|kind| Target::Aggregated(kind, project.to_owned())),
        ["global", rest @ ..] => within(project, Scope::Global, rest)?,
        ["regions", region, rest @ ..] if !rest.is_empty() => {
            within(project, Scope::Region(name("region", region)?), rest)?
        }
        ["zones", zone, rest @ ..] if !rest.is_empty() => {
            within(project, Scope::Zone(name("zone", zone)?), rest)?
        }
        ["projects", ..] => None,
        [collection, resource, verb] => bare_verb(project, collection, resource, verb)?,
        rest => within(project, Scope::Project, rest)?,
    })
}

fn network_services(project: &str, rest: &[&str]) -> Result<Option<Target>, ApiError> {
    let ["locations", "global", collection, rest @ ..] = rest else { return Ok(None) };
    let Some(kind) = kinds::of_network_services(collection) else { return Ok(None) };
    let place = Place { kind, project: project.to_owned(), scope: Scope::Location };
    in_place(place, rest)
}

fn within(project: &str, scope: Scope, rest: &[&str]) -> Result<Option<Target>, ApiError> {
    let Some((collection, rest)) = rest.split_first() else { return Ok(None) };
    let kind = kinds::of_collection(collection).filter(|kind| kind.methods(scope.kind()).is_some());
    let Some(kind) = kind else { return Ok(None) };
    in_place(Place { kind, project: project.to_owned(), scope }, rest)
}

fn in_place(place: Place, rest: &[&str]) -> Result<Option<Target>, ApiError> {
    let kind = place.kind;
    Ok(match rest {
        [] => Some(Target::Collection(place)),
        [word] => match kind.about.filter(|(about, _)| about == word) {
            Some((_, about)) => Some(Target::About(place, about)),
            None => Some(Target::Resource(place.resource(name(kind.word, word)?))),
        },
        [resource, verb] => {
            let scope = place.scope.kind();
            let mut rules = kind.verbs.iter().filter(|rule| rule.name == *verb);
            let rule = rules
                .find(|rule| rule.scopes.contains(&scope) && !(rule.is_bare && scope == ScopeKind::Global));
            match rule {
                Some(rule) => Some(Target::Verb(place.resource(name(kind.word, resource)?), rule)),
                None => None,
            }
        }
        _ => None,
    })
}

/// `targetHttpProxies/{name}/setUrlMap`: of a global resource, though the path does not say so.
fn bare_verb(
    project: &str,
    collection: &str,
    resource: &str,
    verb: &str,
) -> Result<Option<Target>, ApiError> {
    let Some(kind) = kinds::of_collection(collection) else { return Ok(None) };
    let Some(rule) = kind.verbs.iter().find(|rule| rule.is_bare && rule.name == verb) else {
        return Ok(None);
    };
    let place = Place { kind, project: project.to_owned(), scope: Scope::Global };
    Ok(Some(Target::Verb(place.resource(name(kind.word, resource)?), rule)))
}

impl Target {
    fn asked(self, method: &Method) -> Result<What, ApiError> {
        let allowed = self.methods();
        // HEAD is GET without a body.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        if !allowed.contains(method) {
            let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
            return Err(ApiError::method_not_allowed(method.as_str(), &allowed));
        }
        Ok(match (self, method.as_str()) {
            (Self::Collection(place), "POST") => What::Insert(place),
            (Self::Collection(place), _) => What::List(place),
            (Self::Aggregated(kind, project), _) => What::Aggregated { kind, project },
            (Self::About(place, about), _) => What::About(place, about),
            (Self::Resource(resource), "PUT") => What::Update(resource),
            (Self::Resource(resource), "PATCH") => What::Patch(resource),
            (Self::Resource(resource), "DELETE") => What::Delete(resource),
            (Self::Resource(resource), _) => What::Get(resource),
            (Self::Verb(resource, rule), _) => What::Verb(resource, rule.verb),
        })
    }

    fn methods(&self) -> Vec<Method> {
        let of = |place: &Place, table: &[(u8, Method)]| {
            let methods = place.kind.methods(place.scope.kind()).unwrap_or(0);
            table.iter().filter(|(bit, _)| methods & bit != 0).map(|(_, method)| method.clone()).collect()
        };
        match self {
            Self::Collection(place) => of(place, &[(can::LIST, Method::GET), (can::INSERT, Method::POST)]),
            Self::Resource(resource) => of(
                &resource.place,
                &[
                    (can::GET, Method::GET),
                    (can::UPDATE, Method::PUT),
                    (can::PATCH, Method::PATCH),
                    (can::DELETE, Method::DELETE),
                ],
            ),
            Self::Aggregated(..) | Self::About(..) => vec![Method::GET],
            Self::Verb(_, rule) => vec![rule.method()],
        }
    }
}

/// A name or a numeric id [G 12.7].
fn name(field: &str, text: &str) -> Result<String, ApiError> {
    if is_name(text) || is_id(text) {
        return Ok(text.to_owned());
    }
    let why = "Must be a match of regex '[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?|[1-9][0-9]{0,19}'";
    Err(ApiError::invalid_field(field, text, why))
}

fn is_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=20).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit) && bytes.first() != Some(&b'0')
}

/// A project's id, perhaps with a domain before it, or its number.
fn is_project(text: &str) -> bool {
    let (domain, id) = text.rsplit_once(':').map_or((None, text), |(domain, id)| (Some(domain), id));
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| plain(&b))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    is_label(id) && domain.is_none_or(|domain| domain.len() <= 253 && domain.split('.').all(is_label))
}

/// Undoes percent-encoding; `None` for half an escape and for what is no UTF-8 then.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => digit(bytes.next())? * 16 + digit(bytes.next())?,
            other => other,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    const P: &str = "/compute/v1/projects/p";

    fn ask(method: &str, path: &str) -> Result<String, u16> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let asked = parse(&method, path).map_err(|error| error.status.as_u16())?;
        Ok(match asked.what {
            What::List(place) => format!("list {}", place.path()),
            What::Insert(place) => format!("insert {}", place.path()),
            What::Aggregated { kind, project } => format!("aggregated {project} {}", kind.collection),
            What::About(place, about) => format!("{about:?} {}", place.path()),
            What::Get(resource) => format!("get {}", resource.path()),
            What::Update(resource) => format!("update {}", resource.path()),
            What::Patch(resource) => format!("patch {}", resource.path()),
            What::Delete(resource) => format!("delete {}", resource.path()),
            What::Verb(resource, verb) => format!("{verb:?} {}", resource.path()),
        })
    }

    /// Section 12 of the semantics, row by row, and what gcloud asks in 10b: method, path, what is read.
    const ROWS: &[(&str, &str, &str)] = &[
        ("GET", "", "get projects/p"),
        ("GET", "/zones", "list projects/p/zones"),
        ("GET", "/zones/z", "get projects/p/zones/z"),
        ("GET", "/regions/r", "get projects/p/regions/r"),
        ("GET", "/global/backendServices", "list projects/p/global/backendServices"),
        ("POST", "/global/backendServices", "insert projects/p/global/backendServices"),
        ("HEAD", "/global/backendServices/a", "get projects/p/global/backendServices/a"),
        ("PUT", "/global/backendServices/a", "update projects/p/global/backendServices/a"),
        ("PATCH", "/global/backendServices/a", "patch projects/p/global/backendServices/a"),
        ("DELETE", "/global/backendServices/a", "delete projects/p/global/backendServices/a"),
        ("POST", "/global/backendServices/a/getHealth", "GetHealth projects/p/global/backendServices/a"),
        ("GET", "/global/backendServices/listUsable", "Usable projects/p/global/backendServices"),
        ("GET", "/global/backendServices/a/getIamPolicy", "GetIamPolicy projects/p/global/backendServices/a"),
        ("GET", "/aggregated/backendServices", "aggregated p backendServices"),
        ("PUT", "/regions/r/backendServices/a", "update projects/p/regions/r/backendServices/a"),
        ("PUT", "/regions/r/healthChecks/a", "update projects/p/regions/r/healthChecks/a"),
        ("PATCH", "/global/httpHealthChecks/a", "patch projects/p/global/httpHealthChecks/a"),
        ("PUT", "/global/httpsHealthChecks/a", "update projects/p/global/httpsHealthChecks/a"),
        (
            "POST",
            "/zones/z/instanceGroups/g/addInstances",
            "AddInstances projects/p/zones/z/instanceGroups/g",
        ),
        (
            "POST",
            "/regions/r/instanceGroups/g/listInstances",
            "ListInstances projects/p/regions/r/instanceGroups/g",
        ),
        ("POST", "/zones/z/instances", "insert projects/p/zones/z/instances"),
        (
            "POST",
            "/global/networkEndpointGroups/g/attachNetworkEndpoints",
            "AttachNetworkEndpoints projects/p/global/networkEndpointGroups/g",
        ),
        ("DELETE", "/zones/z/networkEndpointGroups/g", "delete projects/p/zones/z/networkEndpointGroups/g"),
        ("POST", "/regions/r/urlMaps/m/validate", "Validate projects/p/regions/r/urlMaps/m"),
        ("POST", "/targetHttpProxies/t/setUrlMap", "SetUrlMap projects/p/global/targetHttpProxies/t"),
        (
            "POST",
            "/regions/r/targetHttpProxies/t/setUrlMap",
            "SetUrlMap projects/p/regions/r/targetHttpProxies/t",
        ),
        (
            "POST",
            "/targetHttpsProxies/t/setSslCertificates",
            "SetSslCertificates projects/p/global/targetHttpsProxies/t",
        ),
        (
            "POST",
            "/global/targetHttpsProxies/t/setSslPolicy",
            "SetSslPolicy projects/p/global/targetHttpsProxies/t",
        ),
        ("GET", "/global/targetSslProxies", "list projects/p/global/targetSslProxies"),
        ("GET", "/global/targetTcpProxies/t", "get projects/p/global/targetTcpProxies/t"),
        (
            "POST",
            "/regions/r/forwardingRules/f/setTarget",
            "SetTarget projects/p/regions/r/forwardingRules/f",
        ),
        ("DELETE", "/global/sslCertificates/c", "delete projects/p/global/sslCertificates/c"),
        ("GET", "/global/sslPolicies/listAvailableFeatures", "Features projects/p/global/sslPolicies"),
        ("POST", "/zones/z/operations/o/wait", "Wait projects/p/zones/z/operations/o"),
        ("DELETE", "/regions/r/operations/o", "delete projects/p/regions/r/operations/o"),
        ("GET", "/aggregated/operations", "aggregated p operations"),
        ("GET", "/zones/z/instanceGroupManagers", "list projects/p/zones/z/instanceGroupManagers"),
        ("GET", "/aggregated/autoscalers", "aggregated p autoscalers"),
    ];

    #[test]
    fn each_row_of_the_table_is_read() {
        for (method, path, expected) in ROWS {
            assert_eq!(ask(method, &format!("{P}{path}")).as_deref(), Ok(*expected), "{method} {path}");
        }
    }

    #[test]
    fn only_questions_leave_everything_as_it_is() {
        for (method, path, read) in ROWS {
            let asked =
                parse(&Method::from_bytes(method.as_bytes()).unwrap(), &format!("{P}{path}")).unwrap();
            let first = read.split(' ').next().unwrap();
            let changes = ["insert", "update", "patch", "delete"].contains(&first)
                || ["Set", "Add", "Remove", "Attach"].iter().any(|word| first.starts_with(word));
            assert_eq!(asked.what.only_looks(), !changes, "{method} {path}");
        }
    }

    #[test]
    fn service_lb_policies_stand_in_another_api() {
        let path = "projects/p/locations/global/serviceLbPolicies";
        assert_eq!(ask("POST", &format!("/v1/{path}")), Ok(format!("insert {path}")));
        assert_eq!(ask("PATCH", &format!("/v1/{path}/x")), Ok(format!("patch {path}/x")));
        assert_eq!(ask("PUT", &format!("/v1/{path}/x")), Err(405));
        let operation = "projects/p/locations/global/operations/operation-1-2";
        assert_eq!(ask("GET", &format!("/v1beta1/{operation}")), Ok(format!("get {operation}")));
        assert_eq!(ask("GET", &format!("/compute/v1/{path}")), Err(404));
    }

    #[test]
    fn what_is_not_in_the_table_is_404() {
        for path in [
            "",
            "/",
            "/compute/v1",
            "/compute/v2/projects/p/zones",
            "/compute/v1/projects/p/global",
            "/compute/v1/projects/p/aggregated",
            "/compute/v1/projects/p/zones/",
            "/compute/v1/projects/p/projects",
            "/compute/v1/projects/p/global/backendServices/a/b/c",
            "/compute/v1/projects/p/global/backendServices/a/explode",
            "/compute/v1/projects/p/global/instanceGroups",
            "/compute/v1/projects/p/zones/z/backendServices",
            "/compute/v1/projects/p/regions/r/targetSslProxies",
            "/compute/v1/projects/p/aggregated/httpHealthChecks",
            // [G 12]: without `global`.
            "/compute/v1/projects/p/global/targetHttpProxies/t/setUrlMap",
            "/compute/v1/projects/p/targetHttpProxies/t",
            "/compute/v1/projects/p/backendServices/a/getHealth",
            "/v1/projects/p/locations/us/serviceLbPolicies",
            "compute/v1/projects/p",
        ] {
            assert_eq!(ask("GET", path), Err(404), "{path}");
        }
    }

    #[test]
    fn a_known_path_with_another_method_is_405_and_says_which_it_has() {
        let cases = [
            ("PUT", "/global/backendServices", "GET, POST"),
            ("POST", "/global/backendServices/a", "GET, PUT, PATCH, DELETE"),
            // [G 12]: no PUT or PATCH.
            ("PATCH", "/zones/z/instanceGroups/g", "GET, DELETE"),
            ("POST", "/regions/r/instanceGroups", "GET"),
            ("PATCH", "/global/sslCertificates/c", "GET, DELETE"),
            ("GET", "/global/backendServices/a/getHealth", "POST"),
            ("POST", "/aggregated/backendServices", "GET"),
            ("DELETE", "", "GET"),
        ];
        for (method, path, allowed) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let error = parse(&method, &format!("{P}{path}")).unwrap_err();
            assert_eq!((error.status.as_u16(), error.allow.as_deref()), (405, Some(allowed)), "{path}");
        }
    }

    #[test]
    fn names_may_be_ids_and_percent_encoded_and_nothing_else() {
        let get = |name: &str| ask("GET", &format!("{P}/global/urlMaps/{name}"));
        // [G 12.7].
        for good in ["a", "web-1", "%77eb", "1", "18446744073709551615", &"a".repeat(63)] {
            assert!(get(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in
            ["bad_name", "A", "a-", "0", "012345", "%", "%2", "%zz", "%ff", "a%2Fb", "%00", "..", &long]
        {
            assert_eq!(get(bad), Err(400), "{bad}");
        }
        assert_eq!(get(&"9".repeat(3000)), Err(414));
        for (project, expected) in
            [("12345", true), ("example.com:p-1", true), ("a b", false), ("-p", false), ("", false)]
        {
            let asked = ask("GET", &format!("/compute/v1/projects/{project}"));
            assert_eq!(asked.is_ok(), expected, "{project}");
        }
    }

    #[test]
    fn a_resource_knows_its_path_and_link_and_id() {
        let path = format!("{P}/zones/z/instanceGroups/123");
        let What::Get(resource) = parse(&Method::GET, &path).unwrap().what else { unreachable!() };
        assert_eq!(resource.id(), Some(123));
        assert_eq!(resource.path(), "projects/p/zones/z/instanceGroups/123");
        for base in ["http://h:1/compute/v1", "http://h:1/compute/v1/"] {
            assert_eq!(resource.self_link(base), format!("http://h:1{path}"));
        }
        assert_eq!(Api::Compute("beta").prefix(), "/compute/beta/");
    }

    #[test]
    fn kinds_have_the_words_of_the_discovery_document() {
        let words = |collection: &str| {
            let kind = kinds::of_collection(collection).unwrap();
            (kind.kind(), kind.list_kind(ScopeKind::Region), kind.aggregated_kind().unwrap_or_default())
        };
        let (one, list, all) = words("backendServices");
        assert_eq!((&*one, &*list), ("compute#backendService", "compute#backendServiceList"));
        // [G 12.6].
        assert_eq!(all, "compute#backendServiceAggregatedList");
        assert_eq!(words("sslPolicies").1, "compute#sslPoliciesList");
        assert_eq!(words("instanceGroups").1, "compute#regionInstanceGroupList");
        assert_eq!(words("urlMaps").2, "compute#urlMapsAggregatedList");
    }

    proptest! {
        #[test]
        fn no_path_breaks_the_reader(path in any::<String>(), tail in "[a-zA-Z0-9/%._:-]{0,80}") {
            let _ = parse(&Method::GET, &path);
            let _ = parse(&Method::POST, &format!("{P}/{tail}"));
        }

        #[test]
        fn the_path_of_what_was_read_is_read_again(
            at in 0..kinds::of_all().len(), name in "[a-z][a-z0-9]{0,9}",
        ) {
            let kind = kinds::of_all()[at];
            for (scope, _) in kind.scopes {
                let scope = match scope {
                    ScopeKind::Global => Scope::Global,
                    ScopeKind::Region => Scope::Region("r".to_owned()),
                    ScopeKind::Zone => Scope::Zone("z".to_owned()),
                    ScopeKind::Project => Scope::Project,
                    ScopeKind::Location => Scope::Location,
                };
                let place = Place { kind, project: name.clone(), scope };
                let api = if place.scope == Scope::Location { "/v1" } else { "/compute/alpha" };
                let resource = place.resource(name.clone());
                let asked = parse(&Method::GET, &resource.self_link(api)).unwrap();
                assert_eq!(asked.what, What::Get(resource));
            }
        }
    }
}
