//! Where things stand: regions with coordinates, great-circle distance, and the region that a client counts for.
//!
//! Google measures round-trip times [G 2.3]; we have a table of its regions' coordinates and the speed of light.

use std::net::IpAddr;
use std::sync::Arc;

use super::config::Cidr;

/// Index into [`Places::regions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionId(pub u16);

/// One region that the configuration uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Name, such as `us-central1`.
    pub name: Arc<str>,
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

/// All regions in use, and where clients come from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Places {
    /// Every region that a group, the proxy or a client location names.
    pub regions: Vec<Region>,
    /// `clientLocations`, longest prefix first.
    pub client_locations: Vec<(Cidr, RegionId)>,
    /// Regions that clients can come from: the proxy's own first, then those of `client_locations`, each once.
    /// An [`OriginId`] indexes this; plans hold one list of tiers for each.
    pub origins: Vec<RegionId>,
}

/// Index into [`Places::origins`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct OriginId(pub u16);
