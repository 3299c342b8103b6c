//! The table of kinds. Methods, verbs and words are those of the discovery document of version v1 [G 12].

use super::kinds::{About, Kind, ScopeKind, Verb, VerbRule, can};

const GLOBAL: &[ScopeKind] = &[ScopeKind::Global];
const ZONE: &[ScopeKind] = &[ScopeKind::Zone];
const BOTH: &[ScopeKind] = &[ScopeKind::Global, ScopeKind::Region];
const LOCAL: &[ScopeKind] = &[ScopeKind::Zone, ScopeKind::Region];
const THREE: &[ScopeKind] = &[ScopeKind::Global, ScopeKind::Region, ScopeKind::Zone];

/// A kind with what most kinds have.
const PLAIN: Kind = Kind {
    collection: "",
    file: None,
    word: "",
    singular: "",
    scopes: &[],
    list: None,
    regional_list: None,
    aggregated: None,
    about: None,
    verbs: &[],
    has_fingerprint: false,
};

const fn verb(verb: Verb, name: &'static str, scopes: &'static [ScopeKind]) -> VerbRule {
    VerbRule { verb, name, scopes, is_bare: false }
}

/// A verb whose global form stands without `global`.
const fn bare(verb: Verb, name: &'static str) -> VerbRule {
    VerbRule { verb, name, scopes: BOTH, is_bare: true }
}

/// The kinds of the Network Services API.
pub(super) static NETWORK_SERVICES: &[Kind] = &[
    Kind {
        collection: "serviceLbPolicies",
        file: Some("serviceLbPolicies"),
        word: "serviceLbPolicy",
        singular: "service_lb_policy",
        scopes: &[(ScopeKind::Location, can::KEEP | can::PATCH)],
        ..PLAIN
    },
    Kind {
        collection: "operations",
        word: "operation",
        singular: "operation",
        scopes: &[(ScopeKind::Location, can::READ | can::DELETE)],
        ..PLAIN
    },
];

/// All kinds of the Compute API.
pub(super) static KINDS: &[Kind] = &[
    Kind {
        collection: "backendServices",
        file: Some("backendServices"),
        word: "backendService",
        singular: "backend_service",
        scopes: &[(ScopeKind::Global, can::ALL), (ScopeKind::Region, can::ALL)],
        aggregated: Some("backendServiceAggregatedList"),
        about: Some(("listUsable", About::Usable)),
        verbs: &[
            verb(Verb::GetHealth, "getHealth", BOTH),
            verb(Verb::SetSecurityPolicy, "setSecurityPolicy", BOTH),
            verb(Verb::SetEdgeSecurityPolicy, "setEdgeSecurityPolicy", GLOBAL),
            verb(Verb::AddSignedUrlKey, "addSignedUrlKey", GLOBAL),
            verb(Verb::DeleteSignedUrlKey, "deleteSignedUrlKey", GLOBAL),
            verb(Verb::GetIamPolicy, "getIamPolicy", BOTH),
            verb(Verb::SetIamPolicy, "setIamPolicy", BOTH),
            verb(Verb::TestIamPermissions, "testIamPermissions", BOTH),
        ],
        has_fingerprint: true,
        ..PLAIN
    },
    Kind {
        collection: "healthChecks",
        file: Some("healthChecks"),
        word: "healthCheck",
        singular: "health_check",
        scopes: &[(ScopeKind::Global, can::ALL), (ScopeKind::Region, can::ALL)],
        aggregated: Some("healthChecksAggregatedList"),
        ..PLAIN
    },
    Kind {
        collection: "httpHealthChecks",
        file: Some("httpHealthChecks"),
        word: "httpHealthCheck",
        singular: "http_health_check",
        scopes: &[(ScopeKind::Global, can::ALL)],
        ..PLAIN
    },
    Kind {
        collection: "httpsHealthChecks",
        file: Some("httpsHealthChecks"),
        word: "httpsHealthCheck",
        singular: "https_health_check",
        scopes: &[(ScopeKind::Global, can::ALL)],
        ..PLAIN
    },
    Kind {
        collection: "instanceGroups",
        file: Some("instanceGroups"),
        word: "instanceGroup",
        singular: "instance_group",
        // A region's groups are managed ones, which nobody makes here.
        scopes: &[(ScopeKind::Zone, can::KEEP), (ScopeKind::Region, can::READ)],
        regional_list: Some("regionInstanceGroupList"),
        aggregated: Some("instanceGroupAggregatedList"),
        verbs: &[
            verb(Verb::AddInstances, "addInstances", ZONE),
            verb(Verb::RemoveInstances, "removeInstances", ZONE),
            verb(Verb::ListInstances, "listInstances", LOCAL),
            verb(Verb::SetNamedPorts, "setNamedPorts", LOCAL),
        ],
        has_fingerprint: true,
        ..PLAIN
    },
    Kind {
        collection: "instances",
        file: Some("instances"),
        word: "instance",
        singular: "instance",
        scopes: &[(ScopeKind::Zone, can::KEEP | can::UPDATE)],
        aggregated: Some("instanceAggregatedList"),
        has_fingerprint: true,
        ..PLAIN
    },
    Kind {
        collection: "networkEndpointGroups",
        file: Some("networkEndpointGroups"),
        word: "networkEndpointGroup",
        singular: "network_endpoint_group",
        scopes: &[
            (ScopeKind::Zone, can::KEEP),
            (ScopeKind::Region, can::KEEP),
            (ScopeKind::Global, can::KEEP),
        ],
        aggregated: Some("networkEndpointGroupAggregatedList"),
        verbs: &[
            verb(Verb::AttachNetworkEndpoints, "attachNetworkEndpoints", THREE),
            verb(Verb::DetachNetworkEndpoints, "detachNetworkEndpoints", THREE),
            verb(Verb::ListNetworkEndpoints, "listNetworkEndpoints", THREE),
            verb(Verb::TestIamPermissions, "testIamPermissions", ZONE),
        ],
        ..PLAIN
    },
    Kind {
        collection: "urlMaps",
        file: Some("urlMaps"),
        word: "urlMap",
        singular: "url_map",
        scopes: &[(ScopeKind::Global, can::ALL), (ScopeKind::Region, can::ALL)],
        aggregated: Some("urlMapsAggregatedList"),
        verbs: &[
            verb(Verb::Validate, "validate", BOTH),
            verb(Verb::InvalidateCache, "invalidateCache", GLOBAL),
        ],
        has_fingerprint: true,
        ..PLAIN
    },
    Kind {
        collection: "targetHttpProxies",
        file: Some("targetHttpProxies"),
        word: "targetHttpProxy",
        singular: "target_http_proxy",
        scopes: &[(ScopeKind::Global, can::KEEP | can::PATCH), (ScopeKind::Region, can::KEEP)],
        aggregated: Some("targetHttpProxyAggregatedList"),
        verbs: &[bare(Verb::SetUrlMap, "setUrlMap")],
        has_fingerprint: true,
        ..PLAIN
    },
    Kind {
        collection: "targetHttpsProxies",
        file: Some("targetHttpsProxies"),
        word: "targetHttpsProxy",
        singular: "target_https_proxy",
        scopes: &[(ScopeKind::Global, can::KEEP | can::PATCH), (ScopeKind::Region, can::KEEP | can::PATCH)],
        aggregated: Some("targetHttpsProxyAggregatedList"),
        verbs: &[
            bare(Verb::SetUrlMap, "setUrlMap"),
            bare(Verb::SetSslCertificates, "setSslCertificates"),
            verb(Verb::SetSslPolicy, "setSslPolicy", GLOBAL),
            verb(Verb::SetQuicOverride, "setQuicOverride", GLOBAL),
            verb(Verb::SetCertificateMap, "setCertificateMap", GLOBAL),
        ],
        has_fingerprint: true,
        ..PLAIN
    },
    Kind {
        collection: "targetTcpProxies",
        file: Some("targetTcpProxies"),
        word: "targetTcpProxy",
        singular: "target_tcp_proxy",
        scopes: &[(ScopeKind::Global, can::KEEP), (ScopeKind::Region, can::KEEP)],
        aggregated: Some("targetTcpProxyAggregatedList"),
        verbs: &[
            verb(Verb::SetBackendService, "setBackendService", GLOBAL),
            verb(Verb::SetProxyHeader, "setProxyHeader", GLOBAL),
        ],
        ..PLAIN
    },
    Kind {
        collection: "targetSslProxies",
        file: Some("targetSslProxies"),
        word: "targetSslProxy",
        singular: "target_ssl_proxy",
        scopes: &[(ScopeKind::Global, can::KEEP)],
        verbs: &[
            verb(Verb::SetBackendService, "setBackendService", GLOBAL),
            verb(Verb::SetProxyHeader, "setProxyHeader", GLOBAL),
            verb(Verb::SetSslCertificates, "setSslCertificates", GLOBAL),
            verb(Verb::SetSslPolicy, "setSslPolicy", GLOBAL),
            verb(Verb::SetCertificateMap, "setCertificateMap", GLOBAL),
        ],
        ..PLAIN
    },
    Kind {
        collection: "forwardingRules",
        file: Some("forwardingRules"),
        word: "forwardingRule",
        singular: "forwarding_rule",
        scopes: &[(ScopeKind::Global, can::KEEP | can::PATCH), (ScopeKind::Region, can::KEEP | can::PATCH)],
        aggregated: Some("forwardingRuleAggregatedList"),
        verbs: &[verb(Verb::SetTarget, "setTarget", BOTH), verb(Verb::SetLabels, "setLabels", BOTH)],
        has_fingerprint: true,
        ..PLAIN
    },
    Kind {
        collection: "sslCertificates",
        file: Some("sslCertificates"),
        word: "sslCertificate",
        singular: "ssl_certificate",
        scopes: &[(ScopeKind::Global, can::KEEP), (ScopeKind::Region, can::KEEP)],
        aggregated: Some("sslCertificateAggregatedList"),
        ..PLAIN
    },
    Kind {
        collection: "sslPolicies",
        file: Some("sslPolicies"),
        word: "sslPolicy",
        singular: "ssl_policy",
        scopes: &[(ScopeKind::Global, can::KEEP | can::PATCH), (ScopeKind::Region, can::KEEP | can::PATCH)],
        list: Some("sslPoliciesList"),
        aggregated: Some("sslPoliciesAggregatedList"),
        about: Some(("listAvailableFeatures", About::Features)),
        has_fingerprint: true,
        ..PLAIN
    },
    Kind {
        collection: "operations",
        word: "operation",
        singular: "operation",
        scopes: &[
            (ScopeKind::Global, can::READ | can::DELETE),
            (ScopeKind::Region, can::READ | can::DELETE),
            (ScopeKind::Zone, can::READ | can::DELETE),
        ],
        aggregated: Some("operationAggregatedList"),
        verbs: &[verb(Verb::Wait, "wait", THREE)],
        ..PLAIN
    },
    Kind {
        collection: "zones",
        word: "zone",
        singular: "zone",
        scopes: &[(ScopeKind::Project, can::READ)],
        ..PLAIN
    },
    Kind {
        collection: "regions",
        word: "region",
        singular: "region",
        scopes: &[(ScopeKind::Project, can::READ)],
        ..PLAIN
    },
    // Groups that grow are of a later issue; gcloud asks for the lists [G 10.10].
    Kind {
        collection: "instanceGroupManagers",
        word: "instanceGroupManager",
        singular: "instance_group_manager",
        scopes: &[(ScopeKind::Zone, can::READ), (ScopeKind::Region, can::READ)],
        regional_list: Some("regionInstanceGroupManagerList"),
        aggregated: Some("instanceGroupManagerAggregatedList"),
        has_fingerprint: true,
        ..PLAIN
    },
    Kind {
        collection: "autoscalers",
        word: "autoscaler",
        singular: "autoscaler",
        scopes: &[(ScopeKind::Zone, can::READ), (ScopeKind::Region, can::READ)],
        regional_list: Some("regionAutoscalerList"),
        aggregated: Some("autoscalerAggregatedList"),
        ..PLAIN
    },
    Kind {
        collection: "projects",
        word: "project",
        singular: "project",
        // `projects/{p}` itself: no list of projects is to be had.
        scopes: &[(ScopeKind::Project, can::GET)],
        ..PLAIN
    },
];
