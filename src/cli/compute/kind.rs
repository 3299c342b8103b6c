//! The kinds of resources that the commands know: how each is called here, in the API and in lists, and where it lives.

/// A place that a kind of resource can live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Everywhere.
    Global,
    /// In one region.
    Region,
    /// In one zone.
    Zone,
}

/// One kind of resource.
#[derive(Debug)]
pub(super) struct Kind {
    /// The command, such as `backend-services`.
    pub(super) command: &'static str,
    /// The API's collection, such as `backendServices`.
    pub(super) collection: &'static str,
    /// Several of them in a sentence, such as `backend services`.
    pub(super) noun: &'static str,
    /// Where they live; also the flags that say so.
    pub(super) places: &'static [Place],
    /// The place of a name without such a flag; without one, the command asks for a flag [G 10.5].
    pub(super) unsaid: Option<Place>,
    /// Columns of `list` [G 10.9], as `--format=table(…)` has them.
    pub(super) columns: &'static str,
}

const GLOBAL_OR_REGION: &[Place] = &[Place::Global, Place::Region];

const fn of_both(
    command: &'static str,
    collection: &'static str,
    noun: &'static str,
    columns: &'static str,
) -> Kind {
    Kind { command, collection, noun, places: GLOBAL_OR_REGION, unsaid: Some(Place::Global), columns }
}

const fn of_one(
    command: &'static str,
    collection: &'static str,
    noun: &'static str,
    columns: &'static str,
) -> Kind {
    Kind { command, collection, noun, places: &[Place::Global], unsaid: Some(Place::Global), columns }
}

/// Backend services.
pub(super) static BACKEND_SERVICES: Kind = Kind {
    command: "backend-services",
    collection: "backendServices",
    noun: "backend services",
    places: GLOBAL_OR_REGION,
    unsaid: None,
    columns: "name,backends[].group.scoped().list():label=BACKENDS,protocol",
};
/// Health checks.
pub(super) static HEALTH_CHECKS: Kind = of_both(
    "health-checks",
    "healthChecks",
    "health checks",
    "name,region.basename():label=REGION,type:label=PROTOCOL",
);
/// The older HTTP health checks.
pub(super) static HTTP_HEALTH_CHECKS: Kind =
    of_one("http-health-checks", "httpHealthChecks", "http health checks", "name,host,port,requestPath");
/// The older HTTPS health checks.
pub(super) static HTTPS_HEALTH_CHECKS: Kind =
    of_one("https-health-checks", "httpsHealthChecks", "https health checks", "name,host,port,requestPath");
/// Instance groups.
pub(super) static INSTANCE_GROUPS: Kind = Kind {
    command: "instance-groups",
    collection: "instanceGroups",
    noun: "instance groups",
    places: &[Place::Region, Place::Zone],
    unsaid: None,
    columns: "name,location():label=LOCATION,location_scope():label=SCOPE,network.basename(),\
              isManaged.yesno(Yes,No):label=MANAGED,size:label=INSTANCES",
};
/// Instance groups whose members are listed by hand; there are no others here.
pub(super) static UNMANAGED: Kind =
    Kind { command: "unmanaged", places: &[Place::Zone], ..copy(&INSTANCE_GROUPS) };
/// Instances: addresses with a name, which groups list.
pub(super) static INSTANCES: Kind = Kind {
    command: "instances",
    collection: "instances",
    noun: "instances",
    places: &[Place::Zone],
    unsaid: None,
    columns: "name,zone.basename(),networkInterfaces[].networkIP.list():label=INTERNAL_IP,status",
};
/// Network endpoint groups.
pub(super) static NETWORK_ENDPOINT_GROUPS: Kind = Kind {
    command: "network-endpoint-groups",
    collection: "networkEndpointGroups",
    noun: "network endpoint groups",
    places: &[Place::Global, Place::Region, Place::Zone],
    unsaid: None,
    columns: "name,location():label=LOCATION,networkEndpointType:label=ENDPOINT_TYPE,size",
};
/// URL maps.
pub(super) static URL_MAPS: Kind =
    of_both("url-maps", "urlMaps", "url maps", "name,defaultService.scope_segment()");
/// HTTP proxies.
pub(super) static TARGET_HTTP_PROXIES: Kind =
    of_both("target-http-proxies", "targetHttpProxies", "target http proxies", "name,urlMap.basename()");
/// HTTPS proxies.
pub(super) static TARGET_HTTPS_PROXIES: Kind = of_both(
    "target-https-proxies",
    "targetHttpsProxies",
    "target https proxies",
    "name,sslCertificates[].basename().list():label=SSL_CERTIFICATES,urlMap.basename()",
);
/// TCP proxies.
pub(super) static TARGET_TCP_PROXIES: Kind = of_one(
    "target-tcp-proxies",
    "targetTcpProxies",
    "target tcp proxies",
    "name,proxyHeader,service.basename()",
);
/// SSL proxies.
pub(super) static TARGET_SSL_PROXIES: Kind = of_one(
    "target-ssl-proxies",
    "targetSslProxies",
    "target ssl proxies",
    "name,proxyHeader,service.basename(),sslCertificates[].basename().list():label=SSL_CERTIFICATES",
);
/// Forwarding rules.
pub(super) static FORWARDING_RULES: Kind = Kind {
    command: "forwarding-rules",
    collection: "forwardingRules",
    noun: "forwarding rules",
    places: GLOBAL_OR_REGION,
    unsaid: None,
    columns: "name,region.basename(),IPAddress:label=IP_ADDRESS,IPProtocol:label=IP_PROTOCOL,target.basename()",
};
/// Certificates.
pub(super) static SSL_CERTIFICATES: Kind = of_both(
    "ssl-certificates",
    "sslCertificates",
    "ssl certificates",
    "name,type,creationTimestamp,expireTime,region.basename(),managed.status:label=MANAGED_STATUS",
);
/// TLS policies.
pub(super) static SSL_POLICIES: Kind =
    of_both("ssl-policies", "sslPolicies", "ssl policies", "name,profile,minTlsVersion");
/// How a service spreads over its backends; they live in an API of their own.
pub(super) static SERVICE_LB_POLICIES: Kind = of_one(
    "service-lb-policies",
    "serviceLbPolicies",
    "service lb policies",
    "name.basename(),loadBalancingAlgorithm",
);
/// Zones.
pub(super) static ZONES: Kind = of_one("zones", "zones", "zones", "name,region.basename(),status");
/// Regions.
pub(super) static REGIONS: Kind = of_one("regions", "regions", "regions", "name,status");
/// What changes were asked for.
pub(super) static OPERATIONS: Kind = Kind {
    command: "operations",
    collection: "operations",
    noun: "operations",
    places: &[Place::Global, Place::Region, Place::Zone],
    unsaid: Some(Place::Global),
    columns: "name,operationType:label=TYPE,targetLink.scope_segment():label=TARGET,httpErrorStatusCode:label=HTTP_STATUS,\
              status,insertTime:label=TIMESTAMP",
};

const fn copy(kind: &Kind) -> Kind {
    Kind {
        command: kind.command,
        collection: kind.collection,
        noun: kind.noun,
        places: kind.places,
        unsaid: kind.unsaid,
        columns: kind.columns,
    }
}

impl Kind {
    /// Whether it is of the networkservices API, whose paths and operations are of another form [G 10.1].
    pub(super) fn is_of_network_services(&self) -> bool {
        self.collection == "serviceLbPolicies"
    }

    /// What a list calls the length of its pages.
    pub(super) fn size_parameter(&self) -> &'static str {
        if self.is_of_network_services() { "pageSize" } else { "maxResults" }
    }

    /// Whether there is a list of all places; kinds that are only global have none, nor have projects' zones and regions.
    pub(super) fn has_aggregated_list(&self) -> bool {
        self.places != [Place::Global]
    }
}
