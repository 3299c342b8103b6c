//! Why a command could not do what it was told. Every such end exits with 1; wrong words on the command line with 2 [G 10.4].

use crate::cli::client::Failure;

/// What is told behind `ERROR: (overspill.COMMAND) `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Said here, or of a server that does not answer; in the words of gcloud where it has some.
    Said(String),
    /// What the server refused.
    Refused(Vec<String>),
    /// What it refused of several requests.
    RefusedInPart(Vec<String>),
}

impl Fault {
    /// Said here.
    pub(super) fn new(words: impl Into<String>) -> Self {
        Self::Said(words.into())
    }

    /// A flag's value that does not fit.
    pub(super) fn of_flag(flag: &str, why: &str) -> Self {
        Self::Said(format!("Invalid value for [{flag}]: {why}"))
    }

    /// What was refused, each by itself.
    pub(super) fn messages(self) -> Vec<String> {
        match self {
            Self::Said(words) => vec![words],
            Self::Refused(messages) | Self::RefusedInPart(messages) => messages,
        }
    }
}

impl std::fmt::Display for Fault {
    /// As gcloud tells it [G 10.11].
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (head, messages) = match self {
            Self::Said(words) => return f.write_str(words),
            Self::Refused(messages) => ("Could not fetch resource:", messages),
            Self::RefusedInPart(messages) => ("Some requests did not succeed:", messages),
        };
        writeln!(f, "{head}")?;
        messages.iter().try_for_each(|message| writeln!(f, " - {message}"))
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(why) => Self::Said(why),
            Failure::Refused(message) => Self::Refused(vec![message]),
        }
    }
}
