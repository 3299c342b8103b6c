//! The dashboard: one page without any other file, drawn from `/status` every second.

pub(super) const PAGE: &str = include_str!("dashboard.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_needs_nothing_from_elsewhere() {
        assert!(PAGE.contains("fetch(\"/status\","));
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://") && !PAGE.contains("innerHTML"));
    }
}
