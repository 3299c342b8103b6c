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
    /// The proxy's own zone, for WATERFALL_BY_ZONE.
    pub zone: Arc<str>,
}

/// Index into [`Places::origins`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct OriginId(pub u16);

impl Places {
    /// Kilometres along the great circle. A region that does not exist is infinitely far from every other.
    #[must_use]
    pub fn distance(&self, a: RegionId, b: RegionId) -> f64 {
        if a == b {
            return 0.0;
        }
        match (self.regions.get(usize::from(a.0)), self.regions.get(usize::from(b.0))) {
            (Some(a), Some(b)) => great_circle(a, b),
            _ => f64::INFINITY,
        }
    }

    /// The name of the region that `client_locations` has for an address: longest prefix; `None` where none holds it.
    #[must_use]
    pub fn region_of_client(&self, ip: IpAddr) -> Option<&str> {
        let (_, region) = self.client_locations.iter().find(|(cidr, _)| cidr.contains(ip))?;
        self.regions.get(usize::from(region.0)).map(|region| &*region.name)
    }

    /// The origin of a client: the first of `client_locations` that holds its address, which is the one with the
    /// longest prefix; without one, the proxy's own region [G 2.2]. Reads the list from its start.
    #[must_use]
    pub fn origin_of(&self, ip: IpAddr) -> OriginId {
        let location = self.client_locations.iter().find(|(cidr, _)| cidr.contains(ip));
        let origin = location.and_then(|(_, region)| self.origins.iter().position(|origin| origin == region));
        OriginId(origin.and_then(|index| u16::try_from(index).ok()).unwrap_or_default())
    }

    /// The same regions, nearest to `from` first: `from` itself, then by distance, equal distances by name.
    #[must_use]
    pub fn nearest_first(&self, from: RegionId, regions: &[RegionId]) -> Vec<RegionId> {
        let name = |id: RegionId| self.regions.get(usize::from(id.0)).map_or("", |region| &*region.name);
        let mut ranked: Vec<_> =
            regions.iter().map(|&id| (id != from, self.distance(from, id), name(id), id)).collect();
        ranked.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then_with(|| a.2.cmp(b.2)));
        ranked.into_iter().map(|(.., id)| id).collect()
    }
}

/// The region of a zone: `us-central1-a` lies in `us-central1`. `None` when nothing stands before or after the last
/// hyphen. Whether such a region exists is not asked.
#[must_use]
pub fn region_of_zone(zone: &str) -> Option<&str> {
    zone.rsplit_once('-')
        .filter(|(region, letter)| !region.is_empty() && !letter.is_empty())
        .map(|(region, _)| region)
}

/// Latitude and longitude of one of Google's regions, in degrees, to about a tenth: the place that Google names for
/// the region, not the data centre.
#[must_use]
pub fn google_region(name: &str) -> Option<(f64, f64)> {
    let index = GOOGLE_REGIONS.binary_search_by(|(region, ..)| (*region).cmp(name)).ok()?;
    GOOGLE_REGIONS.get(index).map(|&(_, latitude, longitude)| (latitude, longitude))
}

/// Names of Google's regions, in alphabetical order.
pub fn google_region_names() -> impl Iterator<Item = &'static str> {
    GOOGLE_REGIONS.iter().map(|&(name, ..)| name)
}

/// The haversine formula on a ball.
fn great_circle(a: &Region, b: &Region) -> f64 {
    let (from, to) = (a.latitude.to_radians(), b.latitude.to_radians());
    let north = ((to - from) / 2.0).sin();
    let east = ((b.longitude - a.longitude).to_radians() / 2.0).sin();
    let h = north * north + from.cos() * to.cos() * east * east;
    2.0 * EARTH_RADIUS_KM * h.clamp(0.0, 1.0).sqrt().asin()
}

/// Mean radius.
const EARTH_RADIUS_KM: f64 = 6371.0;

/// Name, degrees north, degrees east. Sorted by name.
const GOOGLE_REGIONS: &[(&str, f64, f64)] = &[
    ("africa-south1", -26.2, 28.0),           // Johannesburg
    ("asia-east1", 24.1, 120.5),              // Changhua County
    ("asia-east2", 22.3, 114.2),              // Hong Kong
    ("asia-northeast1", 35.7, 139.7),         // Tokyo
    ("asia-northeast2", 34.7, 135.5),         // Osaka
    ("asia-northeast3", 37.6, 127.0),         // Seoul
    ("asia-south1", 19.1, 72.9),              // Mumbai
    ("asia-south2", 28.6, 77.2),              // Delhi
    ("asia-southeast1", 1.3, 103.7),          // Jurong West
    ("asia-southeast2", -6.2, 106.8),         // Jakarta
    ("asia-southeast3", 13.8, 100.5),         // Bangkok
    ("australia-southeast1", -33.9, 151.2),   // Sydney
    ("australia-southeast2", -37.8, 145.0),   // Melbourne
    ("europe-central2", 52.2, 21.0),          // Warsaw
    ("europe-north1", 60.6, 27.2),            // Hamina
    ("europe-north2", 59.3, 18.1),            // Stockholm
    ("europe-southwest1", 40.4, -3.7),        // Madrid
    ("europe-west1", 50.5, 3.8),              // St. Ghislain
    ("europe-west10", 52.5, 13.4),            // Berlin
    ("europe-west12", 45.1, 7.7),             // Turin
    ("europe-west2", 51.5, -0.1),             // London
    ("europe-west3", 50.1, 8.7),              // Frankfurt
    ("europe-west4", 53.4, 6.8),              // Eemshaven
    ("europe-west6", 47.4, 8.5),              // Zurich
    ("europe-west8", 45.5, 9.2),              // Milan
    ("europe-west9", 48.9, 2.4),              // Paris
    ("me-central1", 25.3, 51.5),              // Doha
    ("me-central2", 26.4, 50.1),              // Dammam
    ("me-west1", 32.1, 34.8),                 // Tel Aviv
    ("northamerica-northeast1", 45.5, -73.6), // Montréal
    ("northamerica-northeast2", 43.7, -79.4), // Toronto
    ("northamerica-south1", 20.6, -100.4),    // Querétaro
    ("southamerica-east1", -23.5, -46.9),     // Osasco
    ("southamerica-west1", -33.4, -70.7),     // Santiago
    ("us-central1", 41.3, -95.9),             // Council Bluffs
    ("us-east1", 33.2, -80.0),                // Moncks Corner
    ("us-east4", 39.0, -77.5),                // Ashburn
    ("us-east5", 40.0, -83.0),                // Columbus
    ("us-south1", 32.8, -96.8),               // Dallas
    ("us-west1", 45.6, -121.2),               // The Dalles
    ("us-west2", 34.1, -118.2),               // Los Angeles
    ("us-west3", 40.8, -111.9),               // Salt Lake City
    ("us-west4", 36.2, -115.1),               // Las Vegas
];

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn places(names: &[&str]) -> Places {
        let regions = names.iter().map(|name| {
            let (latitude, longitude) = google_region(name).unwrap();
            Region { name: (*name).into(), latitude, longitude }
        });
        Places { regions: regions.collect(), ..Places::default() }
    }

    fn cidr(network: &str, prefix: u8) -> Cidr {
        Cidr { network: network.parse().unwrap(), prefix }
    }

    #[test]
    fn every_region_of_google_is_found_by_its_name() {
        assert_eq!(google_region_names().count(), 43);
        assert!(google_region_names().is_sorted());
        for name in google_region_names() {
            let (latitude, longitude) = google_region(name).unwrap();
            assert!((-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude), "{name}");
        }
        assert_eq!(google_region("us-central2"), None);
        assert_eq!(google_region(""), None);
    }

    #[test]
    fn distances_are_those_of_an_atlas() {
        for (a, b, km) in [
            ("europe-west2", "europe-west9", 343.0), // London, Paris
            ("us-west2", "us-east4", 3680.0),        // Los Angeles, Washington
            ("asia-northeast1", "us-west2", 8815.0), // Tokyo, Los Angeles: over the date line
            ("australia-southeast1", "southamerica-west1", 11340.0), // Sydney, Santiago
            ("asia-northeast1", "asia-northeast2", 397.0), // Tokyo, Osaka
        ] {
            let places = places(&[a, b]);
            let found = places.distance(RegionId(0), RegionId(1));
            assert!((found - km).abs() < km * 0.02 + 5.0, "{a} {b}: {found} instead of {km}");
            assert!((found - places.distance(RegionId(1), RegionId(0))).abs() < 1e-6);
        }
    }

    #[test]
    fn distance_is_zero_to_itself_and_infinite_to_nowhere() {
        let places = places(&["us-east1"]);
        assert!(places.distance(RegionId(0), RegionId(0)).abs() < 1e-9);
        assert!(places.distance(RegionId(0), RegionId(9)).is_infinite());
    }

    #[test]
    fn antipodes_are_half_a_circle_apart() {
        let region = |name: &str, latitude, longitude| Region { name: name.into(), latitude, longitude };
        let regions = vec![region("a", 10.0, 20.0), region("b", -10.0, -160.0)];
        let places = Places { regions, ..Places::default() };
        assert!((places.distance(RegionId(0), RegionId(1)) - 20015.0).abs() < 1.0);
    }

    #[test]
    fn nearest_region_comes_first_and_the_own_one_before_all() {
        let places = places(&["asia-east1", "europe-west1", "us-east1", "us-central1", "europe-west4"]);
        let all: Vec<_> = (0..5).map(RegionId).collect();
        let order: Vec<_> = places.nearest_first(RegionId(3), &all).into_iter().map(|id| id.0).collect();
        assert_eq!(order, [3, 2, 4, 1, 0]);
        assert_eq!(places.nearest_first(RegionId(0), &[]), []);
    }

    #[test]
    fn equally_far_regions_come_by_name() {
        let region = |name: &str| Region { name: name.into(), latitude: 1.0, longitude: 1.0 };
        let places = Places { regions: vec![region("c"), region("b"), region("a")], ..Places::default() };
        let order = places.nearest_first(RegionId(1), &[RegionId(0), RegionId(1), RegionId(2)]);
        assert_eq!(order, [RegionId(1), RegionId(2), RegionId(0)]);
    }

    #[test]
    fn client_without_a_location_comes_from_the_proxys_region() {
        // [G 2.2]
        let mut places = places(&["us-central1", "us-east1", "europe-west1"]);
        places.origins = vec![RegionId(0), RegionId(2), RegionId(1)];
        places.client_locations = vec![
            (cidr("10.1.2.0", 24), RegionId(0)),
            (cidr("10.1.0.0", 16), RegionId(1)),
            (cidr("2001:db8::", 32), RegionId(2)),
        ];
        for (ip, origin) in [
            ("10.1.2.3", 0),
            ("10.1.3.3", 2),
            ("::ffff:10.1.3.3", 2),
            ("10.2.0.1", 0),
            ("2001:db8::1", 1),
            ("::1", 0),
        ] {
            assert_eq!(places.origin_of(ip.parse().unwrap()), OriginId(origin), "{ip}");
        }
        assert_eq!(Places::default().origin_of("10.0.0.1".parse().unwrap()), OriginId(0));
    }

    #[test]
    fn zone_without_its_letter_is_the_region() {
        assert_eq!(region_of_zone("us-central1-a"), Some("us-central1"));
        assert_eq!(region_of_zone("home-a"), Some("home"));
        for bad in ["", "a", "-a", "home-", "-"] {
            assert_eq!(region_of_zone(bad), None, "{bad}");
        }
    }
}
