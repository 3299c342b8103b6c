//! What has to be said about an import: nothing that was left out goes unsaid.

use std::collections::BTreeSet;

use crate::wire::flaw::quote;

/// What was found on the way, in its order.
#[derive(Debug, Default)]
pub struct Said {
    /// What stood in the inputs and is not in the output.
    pub lost: Vec<String>,
    /// What nobody but the user can add.
    pub gaps: Vec<String>,
    /// What was changed, and what was assumed.
    pub notes: Vec<String>,
    seen: BTreeSet<String>,
}

impl Said {
    /// Something of the inputs is not in the output.
    pub(super) fn lose(&mut self, at: &str, why: &str) {
        Self::add(&mut self.seen, &mut self.lost, at, why);
    }

    /// Something has to be added by hand.
    pub(super) fn miss(&mut self, at: &str, why: &str) {
        Self::add(&mut self.seen, &mut self.gaps, at, why);
    }

    /// Something is other than it was.
    pub(super) fn note(&mut self, at: &str, why: &str) {
        Self::add(&mut self.seen, &mut self.notes, at, why);
    }

    /// Whether all that was asked for is there.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.gaps.is_empty()
    }

    /// For people; empty when there is nothing to say.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (title, lines) in [
            ("not carried over", &self.lost),
            ("to be filled in by hand", &self.gaps),
            ("changed or assumed", &self.notes),
        ] {
            if !lines.is_empty() {
                out.push_str(title);
                out.push_str(":\n");
                lines.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
            }
        }
        out
    }

    fn add(seen: &mut BTreeSet<String>, lines: &mut Vec<String>, at: &str, why: &str) {
        let line = format!("{at}: {why}");
        if seen.insert(line.clone()) {
            lines.push(line);
        }
    }
}

/// Words of the user's as they may be shown: short, and on one line.
pub(super) fn shown(text: &str) -> String {
    quote(text).trim_matches('`').to_owned()
}
