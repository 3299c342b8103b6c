//! Compiled host and path matching of a URL map [G 7.1–7.4].

use std::sync::Arc;

use super::config::ServiceId;

/// A URL map, compiled for look-up.
#[derive(Debug, Clone)]
pub struct UrlMap {
    /// `name`.
    pub name: Arc<str>,
    /// `defaultService`.
    pub default_service: ServiceId,
}
