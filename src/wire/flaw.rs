//! What does not fit the shape of a document, and where.

use std::borrow::Cow;

/// A place in the source text. Lines and columns start at 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Line.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// Characters to underline; at least 1.
    pub width: usize,
}

impl Spot {
    /// The very beginning of the text.
    pub const START: Self = Self { line: 1, column: 1, width: 1 };
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Stable code in kebab case.
    pub code: &'static str,
    /// Path in the document; empty for the text as a whole.
    pub path: String,
    /// Where.
    pub spot: Spot,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What would be right.
    pub expected: Option<String>,
}

/// Most flaws that are kept: a wrong file should not cost minutes and gigabytes.
pub const MAX_FLAWS: usize = 1000;

/// Flaws so far, the first [`MAX_FLAWS`] of them.
#[derive(Debug, Default)]
pub struct Flaws {
    kept: Vec<Flaw>,
}

impl Flaws {
    /// Keeps a flaw, unless there are too many already.
    pub fn push(&mut self, flaw: Flaw) {
        if !self.is_full() {
            self.kept.push(flaw);
        }
    }

    /// Whether further ones are dropped; what explains them need not be computed either.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.kept.len() >= MAX_FLAWS
    }

    /// Whether one of these codes is among them.
    #[must_use]
    pub fn hold(&self, codes: &[&str]) -> bool {
        self.kept.iter().any(|flaw| codes.contains(&flaw.code))
    }

    /// In the order in which they were found.
    #[must_use]
    pub fn into_vec(self) -> Vec<Flaw> {
        self.kept
    }
}

/// The candidate that `word` was probably meant to be; `None` when nothing comes close.
///
/// Close = a third of its letters or fewer are wrong, swapped letters counting once; or it differs in case alone.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances cost the product of the lengths; nobody misspells a name into a novel.
    const LONGEST: usize = 200;
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .map(|(_, candidate)| candidate)
}

/// At most 60 characters of a word of the user's, for messages; control characters become `?`.
#[must_use]
pub fn quote(word: &str) -> String {
    const LONGEST: usize = 60;
    let clean = |c: char| if c.is_control() { '?' } else { c };
    let word = masked(word);
    if word.chars().count() <= LONGEST {
        format!("`{}`", word.chars().map(clean).collect::<String>())
    } else {
        format!("`{}…`", word.chars().take(LONGEST).map(clean).collect::<String>())
    }
}

/// The text with a `*` for each letter of what looks like a piece of a key: a long run of base64. The document may be
/// broken in the middle of a key, and what is said about that must not repeat it.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    const SHORTEST: usize = 32;
    const OF_EACH: usize = 4;
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let is_key = |run: &str| {
        let of = |kind: fn(&u8) -> bool| run.bytes().filter(kind).count() >= OF_EACH;
        // Paths and names have few digits or few capitals. A short piece of a key may have few as well, by chance; but
        // it changes from one to the other more often than words in camel case do.
        run.len() >= SHORTEST
            && (of(u8::is_ascii_uppercase) && of(u8::is_ascii_lowercase) && of(u8::is_ascii_digit)
                || 8 * changes(run) >= 3 * run.len())
    };
    let mut runs = text.split(|c| !is_base64(c)).filter(|run| is_key(run)).peekable();
    if runs.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = text.to_owned();
    for run in runs {
        out = out.replace(run, &"*".repeat(run.len()));
    }
    Cow::Owned(out)
}

/// How often a letter is followed by one of another kind; slashes, which stand in paths, do not count.
fn changes(run: &str) -> usize {
    let kind = |byte: u8| match byte {
        b'A'..=b'Z' => 0,
        b'a'..=b'z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let pairs = run.as_bytes().iter().zip(run.as_bytes().iter().skip(1));
    pairs.filter(|(a, b)| **a != b'/' && **b != b'/' && kind(**a) != kind(**b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_keys_are_masked_and_paths_are_not() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRS/i8uUG/lQCCeYH";
        assert_eq!(masked(&format!("there is no {key}!")), format!("there is no {}!", "*".repeat(64)));
        // With three digits.
        let piece = "gEGCCqGSM49AwEHBG0wawIBAQQguw0TU";
        assert_eq!(masked(piece), "*".repeat(piece.len()));
        for open in [
            "https://www.googleapis.com/compute/v1/projects/p1234567/global/backendServices/web",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "maxRatePerInstnce",
            "/projects/shop/global/customErrorResponsePolicies/ErrorServiceOfTheShop",
        ] {
            assert_eq!(masked(open), open);
        }
    }

    #[test]
    fn nearest_finds_typos_and_leaves_strangers_alone() {
        let keys = ["maxRate", "maxRatePerInstance", "group"];
        assert_eq!(nearest("maxRatePerInstnce", keys), Some("maxRatePerInstance"));
        assert_eq!(nearest("maxrate", keys), Some("maxRate"));
        assert_eq!(nearest("gruop", keys), Some("group"));
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn quote_is_short_and_clean() {
        assert_eq!(quote("a\tb"), "`a?b`");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 63);
    }
}
