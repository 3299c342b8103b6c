//! `instances`: machines with an address, which groups list by name.
//!
//! There is no inventory of machines here, so of Google's many fields only the address means anything.

use super::resource;
use super::schema::{Kind, REFERENCE, Table, note, output, required};

resource! {
    /// An instance.
    Instance
    required {
        /// Name, unique in its zone.
        name: String,
        /// Zone, as a name or a URL.
        zone: String,
        /// The first one's address is the instance's.
        network_interfaces: Vec<NetworkInterface>,
    }
    optional {}
}

resource! {
    /// One entry of `networkInterfaces`.
    NetworkInterface
    required {
        /// Address without port.
        #[serde(rename = "networkIP")]
        network_ip: String,
    }
    optional {}
}

/// Fields of an instance.
pub static INSTANCE: Table = Table {
    noun: "an instance",
    fields: &[
        required("name", Kind::Name),
        required("zone", REFERENCE),
        note("description"),
        required("networkInterfaces", Kind::List(&Kind::Object(&NETWORK_INTERFACE), 8)),
        note("machineType"),
        note("hostname"),
        note("labels"),
        note("metadata"),
        note("tags"),
        note("disks"),
        note("scheduling"),
        note("serviceAccounts"),
        note("canIpForward"),
        note("deletionProtection"),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
        output("fingerprint"),
        output("labelFingerprint"),
        output("status"),
        output("statusMessage"),
        output("cpuPlatform"),
        output("lastStartTimestamp"),
        output("lastStopTimestamp"),
        output("startRestricted"),
    ],
};

static NETWORK_INTERFACE: Table = Table {
    noun: "a network interface",
    fields: &[
        required("networkIP", Kind::Text(64)),
        note("nicType"),
        note("network"),
        note("subnetwork"),
        note("stackType"),
        note("accessConfigs"),
        output("kind"),
        output("name"),
        output("fingerprint"),
    ],
};
