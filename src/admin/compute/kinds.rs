//! The kinds of resources: where each stands in the URL and in the file, and what may be asked of it [G 12].

use axum::http::Method;

use super::table::{KINDS, NETWORK_SERVICES};

/// Where a collection may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScopeKind {
    /// `projects/{p}/global`.
    Global,
    /// `projects/{p}/regions/{r}`.
    Region,
    /// `projects/{p}/zones/{z}`.
    Zone,
    /// `projects/{p}` itself: zones and regions.
    Project,
    /// `projects/{p}/locations/global`, of the Network Services API.
    Location,
}

/// What a method does, whatever its spelling in HTTP.
pub(crate) mod can {
    /// GET of the collection.
    pub(crate) const LIST: u8 = 1;
    /// POST to the collection.
    pub(crate) const INSERT: u8 = 2;
    /// GET of a resource.
    pub(crate) const GET: u8 = 4;
    /// PUT of a resource.
    pub(crate) const UPDATE: u8 = 8;
    /// PATCH of a resource.
    pub(crate) const PATCH: u8 = 16;
    /// DELETE of a resource.
    pub(crate) const DELETE: u8 = 32;
    /// Looking only.
    pub(crate) const READ: u8 = LIST | GET;
    /// What every resource that a user makes has.
    pub(crate) const KEEP: u8 = READ | INSERT | DELETE;
    /// All of it.
    pub(crate) const ALL: u8 = KEEP | UPDATE | PATCH;
}

/// One kind of resource.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// In the URL, such as `backendServices`.
    pub(crate) collection: &'static str,
    /// Key of the collection in the configuration file; `None` for what no file holds.
    pub(crate) file: Option<&'static str>,
    /// `backendService` of `compute#backendService`.
    pub(crate) word: &'static str,
    /// In messages, such as `backend_service`.
    pub(crate) singular: &'static str,
    /// Where it stands, and the methods it has there.
    pub(crate) scopes: &'static [(ScopeKind, u8)],
    /// Word of the list's kind, where it is not `{word}List`.
    pub(super) list: Option<&'static str>,
    /// The same for a region's list.
    pub(super) regional_list: Option<&'static str>,
    /// Word of the kind of the list over all scopes; `None` where there is none.
    pub(super) aggregated: Option<&'static str>,
    /// More questions to the collection.
    pub(crate) about: Option<(&'static str, About)>,
    /// Questions to one resource, and changes of a part of it.
    pub(crate) verbs: &'static [VerbRule],
    /// Whether it has a `fingerprint` [G 12.3].
    pub(crate) has_fingerprint: bool,
}

/// A question to a collection besides its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// `GET backendServices/listUsable`.
    Usable,
    /// `GET sslPolicies/listAvailableFeatures`.
    Features,
}

/// A verb of a kind: its name in the URL, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VerbRule {
    /// What it does.
    pub(crate) verb: Verb,
    /// Last segment of the URL.
    pub(crate) name: &'static str,
    /// Scopes that have it.
    pub(crate) scopes: &'static [ScopeKind],
    /// Whether the global form stands at `projects/{p}/{collection}/{name}/{verb}`, without `global`.
    pub(crate) is_bare: bool,
}

impl VerbRule {
    /// GET for what only reads IAM, POST for all else.
    pub(crate) fn method(&self) -> Method {
        if self.verb == Verb::GetIamPolicy { Method::GET } else { Method::POST }
    }
}

/// What a verb does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the API's own method name")]
pub(crate) enum Verb {
    GetHealth,
    AddInstances,
    RemoveInstances,
    ListInstances,
    SetNamedPorts,
    AttachNetworkEndpoints,
    DetachNetworkEndpoints,
    ListNetworkEndpoints,
    Validate,
    InvalidateCache,
    SetUrlMap,
    SetSslCertificates,
    SetSslPolicy,
    SetQuicOverride,
    SetCertificateMap,
    SetBackendService,
    SetProxyHeader,
    SetTarget,
    SetLabels,
    Wait,
    SetSecurityPolicy,
    SetEdgeSecurityPolicy,
    AddSignedUrlKey,
    DeleteSignedUrlKey,
    GetIamPolicy,
    SetIamPolicy,
    TestIamPermissions,
}

impl Verb {
    /// Whether it only looks, so that a reader may ask it.
    pub(crate) const fn only_looks(self) -> bool {
        matches!(
            self,
            Self::GetHealth
                | Self::ListInstances
                | Self::ListNetworkEndpoints
                | Self::Validate
                | Self::Wait
                | Self::GetIamPolicy
                | Self::TestIamPermissions
        )
    }
}

impl Kind {
    /// `compute#backendService`.
    pub(crate) fn kind(&self) -> String {
        format!("compute#{}", self.word)
    }

    /// `compute#backendServiceList`; some kinds say it otherwise, some in a region only.
    pub(crate) fn list_kind(&self, scope: ScopeKind) -> String {
        let regional = self.regional_list.filter(|_| scope == ScopeKind::Region);
        match regional.or(self.list) {
            Some(word) => format!("compute#{word}"),
            None => format!("compute#{}List", self.word),
        }
    }

    /// `compute#backendServiceAggregatedList`; `None` where the API has no such list [G 12.6].
    pub(crate) fn aggregated_kind(&self) -> Option<String> {
        self.aggregated.map(|word| format!("compute#{word}"))
    }

    /// The methods in a scope; `None` if the collection does not stand there.
    pub(crate) fn methods(&self, scope: ScopeKind) -> Option<u8> {
        self.scopes.iter().find(|(at, _)| *at == scope).map(|(_, methods)| *methods)
    }
}

/// The kind of a collection in the URL of the Compute API.
pub(crate) fn of_collection(collection: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.collection == collection)
}

/// The kind of a collection of the Network Services API.
pub(crate) fn of_network_services(collection: &str) -> Option<&'static Kind> {
    NETWORK_SERVICES.iter().find(|kind| kind.collection == collection)
}

/// Every kind of both APIs.
#[cfg(test)]
pub(super) fn of_all() -> Vec<&'static Kind> {
    KINDS.iter().chain(NETWORK_SERVICES).collect()
}
