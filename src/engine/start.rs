//! Starting an engine.

use std::path::Path;

use super::handle::{Handle, Refused};

/// What the command line overrides.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--workers N`.
    pub workers: Option<usize>,
}

/// Starts workers, planner and prober for `text`. Must be called on the control runtime (a current-thread tokio
/// runtime); returns when all listeners are bound and serving. The admin server is started by the edges.
///
/// # Errors
/// [`Refused`] when the document is bad or an address cannot be bound.
pub async fn start(_text: String, _origin: &Path, _overrides: Overrides) -> Result<Handle, Refused> {
    Err(Refused { problems: Vec::new() })
}
