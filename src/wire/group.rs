//! `instanceGroups` and `networkEndpointGroups`.

use std::collections::BTreeMap;

use super::resource;
use super::schema::{
    Field, Kind, Off, PORT, REFERENCE, Table, Word, later, note, optional, output, required,
};

resource! {
    /// An instance group.
    InstanceGroup
    required {
        /// Name, unique in its zone.
        name: String,
        /// Zone, as a name or a URL.
        zone: String,
    }
    optional {
        /// Ports by name.
        named_ports: Vec<NamedPort>,
        /// **Ours**: the members.
        instances: Vec<Instance>,
        /// **Ours**: where utilization comes from.
        utilization: Utilization,
    }
}

resource! {
    /// One entry of `namedPorts`.
    NamedPort
    required {
        /// Name.
        name: String,
        /// Number.
        port: u16,
    }
    optional {}
}

resource! {
    /// **Ours**: one entry of `instances`.
    Instance
    required {
        /// Name, unique in its zone.
        name: String,
    }
    optional {
        /// Address without port; none: that of the instance in `instances` of that name and zone.
        ip_address: String,
        /// Ports of this instance that differ from `namedPorts`.
        ports: BTreeMap<String, u16>,
    }
}

resource! {
    /// **Ours**: where the utilization of a group's members comes from.
    Utilization
    required {
        /// ORCA_HEADER, HTTP, PROMETHEUS or LOCAL_PROCESS.
        source: String,
    }
    optional {
        /// HTTP and PROMETHEUS: port to poll, else the serving one.
        port: u16,
        /// HTTP and PROMETHEUS: path to poll.
        path: String,
        /// PROMETHEUS: a gauge whose 1 is full, else a node exporter's busy CPU.
        metric: String,
        /// HTTP, PROMETHEUS and LOCAL_PROCESS: seconds from reading to reading.
        interval_sec: f64,
        /// LOCAL_PROCESS: busy cores that count as utilization 1.
        cores: f64,
    }
}

resource! {
    /// A network endpoint group.
    NetworkEndpointGroup
    required {
        /// Name, unique in its zone.
        name: String,
    }
    optional {
        /// Zone, as a name or a URL; none for internet endpoints.
        zone: String,
        /// Region of internet endpoints, as a name or a URL; none for global groups.
        region: String,
        /// GCE_VM_IP_PORT, NON_GCP_PRIVATE_IP_PORT, INTERNET_IP_PORT or INTERNET_FQDN_PORT.
        network_endpoint_type: String,
        /// Port of endpoints that name none.
        default_port: u16,
        /// The members.
        network_endpoints: Vec<NetworkEndpoint>,
        /// **Ours**: where utilization comes from.
        utilization: Utilization,
    }
}

resource! {
    /// One entry of `networkEndpoints`.
    NetworkEndpoint
    required {}
    optional {
        /// Address without port.
        ip_address: String,
        /// Host name of an INTERNET_FQDN_PORT endpoint.
        fqdn: String,
        /// Port; `defaultPort` if absent.
        port: u16,
        /// The instance that it runs on, as a name or a URL.
        instance: String,
    }
}

const ZONE: Field = required("zone", Kind::Text(2048));
const ADDRESS: Kind = Kind::Text(64);

/// Fields of an instance group.
pub static INSTANCE_GROUP: Table = Table {
    noun: "an instance group",
    fields: &[
        required("name", Kind::Name),
        ZONE,
        note("description"),
        optional("namedPorts", Kind::List(&Kind::Object(&NAMED_PORT), 1000)),
        optional("instances", Kind::List(&Kind::Object(&INSTANCE), 2000)).by("[G 9]"),
        optional("utilization", Kind::Object(&UTILIZATION)),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
        output("fingerprint"),
        output("region"),
        output("size"),
        output("network"),
        output("subnetwork"),
        output("isManaged"),
        output("instanceGroupManager"),
    ],
};

static NAMED_PORT: Table = Table {
    noun: "a named port",
    fields: &[required("name", Kind::Name), required("port", PORT).by("[G 9]")],
};

/// Fields of an instance.
pub static INSTANCE: Table = Table {
    noun: "an instance",
    fields: &[
        required("name", Kind::Name),
        optional("ipAddress", ADDRESS),
        optional("ports", Kind::Map(&PORT)),
    ],
};

static UTILIZATION: Table = Table {
    noun: "utilization",
    fields: &[
        required("source", Kind::Word(SOURCES)),
        optional("port", PORT),
        optional("path", Kind::Text(1024)),
        optional("metric", Kind::Text(256)),
        optional("intervalSec", Kind::Number(0.1, 300.0)),
        optional("cores", Kind::Number(0.01, 1024.0)),
    ],
};

static SOURCES: &[Word] = &[
    Word::Known("ORCA_HEADER"),
    Word::Known("HTTP"),
    Word::Known("LOCAL_PROCESS"),
    Word::Known("PROMETHEUS"),
];

/// Fields of a network endpoint group.
pub static NETWORK_ENDPOINT_GROUP: Table = Table {
    noun: "a network endpoint group",
    fields: &[
        required("name", Kind::Name),
        optional("zone", REFERENCE),
        optional("region", REFERENCE),
        note("description"),
        optional("networkEndpointType", Kind::Word(ENDPOINT_TYPES)),
        optional("defaultPort", PORT),
        optional("networkEndpoints", Kind::List(&Kind::Object(&NETWORK_ENDPOINT), 10_000)).by("[G 9]"),
        optional("utilization", Kind::Object(&UTILIZATION)),
        note("annotations"),
        later("serverlessDeployment", "serverless backends", &[Off::Empty]),
        later("cloudRun", "serverless backends", &[Off::Empty]),
        later("cloudFunction", "serverless backends", &[Off::Empty]),
        later("appEngine", "serverless backends", &[Off::Empty]),
        later("pscTargetService", "private service connect", &[Off::Empty]),
        later("pscData", "private service connect", &[Off::Empty]),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
        output("size"),
        output("network"),
        output("subnetwork"),
    ],
};

/// Fields of a network endpoint.
pub static NETWORK_ENDPOINT: Table = Table {
    noun: "a network endpoint",
    fields: &[
        optional("ipAddress", ADDRESS),
        optional("fqdn", Kind::Text(254)),
        optional("port", PORT),
        optional("instance", REFERENCE),
        note("annotations"),
        later("ipv6Address", "a second address of an endpoint", &[Off::Empty]),
        later("clientDestinationPort", "port mapping", &[Off::Zero]),
    ],
};

static ENDPOINT_TYPES: &[Word] = &[
    Word::Known("GCE_VM_IP_PORT"),
    Word::Known("NON_GCP_PRIVATE_IP_PORT"),
    Word::Known("INTERNET_IP_PORT"),
    Word::Known("INTERNET_FQDN_PORT"),
    Word::Later("SERVERLESS", "serverless backends"),
    Word::Later("PRIVATE_SERVICE_CONNECT", "private service connect"),
    Word::Never("GCE_VM_IP", "passthrough balancing"),
    Word::Later("GCE_VM_IP_PORTMAP", "port mapping"),
];
