//! Consistent hashing.

/// Members on a circle.
#[derive(Debug, Clone, Default)]
pub struct Ring {}
