//! Log lines of the process, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Variable that overrides the level, by module where needed: `debug`, `overspill::health=trace,info`.
pub const VARIABLE: &str = "OVERSPILL_LOG";

/// Who changed what.
const AUDIT: &str = "overspill::audit";

/// Starts logging from `level` up. A second call, as in tests, changes nothing.
pub fn init(level: &str) {
    let asked = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty());
    let filter = asked.as_deref().map(filter);
    let broken = matches!(filter, Some(None));
    let filter = filter.flatten().or_else(|| self::filter(level)).unwrap_or_default();
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

/// Lines that are told; `None` for what is no filter. Changes are told whatever it says of the others, unless it names
/// their target: who makes a log quieter does not mean to lose who changed what.
fn filter(asked: &str) -> Option<EnvFilter> {
    let filter = EnvFilter::try_new(asked).ok()?;
    let names_audit = |directive: &str| directive.trim().starts_with(AUDIT);
    if asked.split(',').any(names_audit) {
        return Some(filter);
    }
    Some(filter.add_directive(format!("{AUDIT}=info").parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written of a change and of a warning with this filter.
    fn told(asked: &str) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(asked).unwrap())
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "overspill::audit", "changed");
            tracing::warn!(target: "overspill::health", "strange");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_change_is_told_however_quiet_the_log_is() {
        for asked in
            ["warn", "error", "off", "overspill=error", "overspill=off,info", "overspill::health=trace,off"]
        {
            assert!(told(asked).contains("changed"), "{asked}");
        }
        assert!(!told("off").contains("strange"));
        assert!(told("warn").contains("strange"));
    }

    #[test]
    fn a_change_is_not_told_where_the_filter_says_so_of_the_audit_itself() {
        for asked in ["overspill::audit=off", "info,overspill::audit=warn", "overspill::audit=error,trace"] {
            assert!(!told(asked).contains("changed"), "{asked}");
        }
        assert!(filter("overspill==").is_none());
    }
}
