//! Log lines of the process, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Variable that overrides the level, by module where needed: `debug`, `overspill::health=trace,info`.
pub const VARIABLE: &str = "OVERSPILL_LOG";

/// Who changed what is told at every level.
const AUDIT: &str = "overspill::audit=info";

/// Starts logging from `level` up. A second call, as in tests, changes nothing.
pub fn init(level: &str) {
    let asked = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty());
    let filter = asked.as_deref().map(EnvFilter::try_new);
    let broken = matches!(filter, Some(Err(_)));
    let filter = filter.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(format!("{level},{AUDIT}")));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    if broken {
        tracing::warn!(value = asked, "{VARIABLE} is no filter such as `debug`; using {level}");
    }
}
