//! One log line for each change: who, what, and what is different in the text. Target `overspill::audit`, on whatever
//! the level of the other lines is. Private keys and the like are never in it.

use axum::http::Method;

use super::auth::Caller;

/// Most lines of a difference that are told.
const LINES: usize = 60;
/// Most characters of one of them.
const WIDTH: usize = 200;
/// Most lines of either text that are compared line by line; of more, all of it counts as replaced.
const COMPARED: usize = 2000;

/// Keys whose values nobody is to see.
const SECRETS: [&str; 3] = ["privateKey", "sessionKey", "sha256"];

/// A change that was made.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    /// How it was asked for.
    pub(crate) method: &'a Method,
    /// Where.
    pub(crate) path: &'a str,
    /// Name of the operation.
    pub(crate) operation: &'a str,
    /// The text before and after; `None` if it is not the text that changed.
    pub(crate) texts: Option<(&'a str, &'a str)>,
}

/// Writes the line.
pub(crate) fn record(caller: &Caller, change: &Change<'_>) {
    let Change { method, path, operation, texts } = change;
    let who = &*caller.who;
    let (unchanged, diff) = match texts {
        // Asked for with what was there before.
        Some((before, after)) if before == after => (Some(true), None),
        Some((before, after)) => (None, Some(difference(before, after))),
        None => (None, None),
    };
    tracing::info!(
        target: "overspill::audit", who, %method, path, operation, unchanged, diff, "changed through the admin API"
    );
}

/// What was taken away and what was added of two texts that differ, one line of text each behind `-` or `+`.
fn difference(before: &str, after: &str) -> String {
    let (before, after) = (shown(before), shown(after));
    if before == after {
        return "(only hidden lines)".to_owned();
    }
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let (before, after) = (before.get(same..).unwrap_or_default(), after.get(same..).unwrap_or_default());
    let end = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    let middle = |lines: &'_ [String]| lines.get(..lines.len() - end).unwrap_or_default().to_vec();
    let changes = compare(&middle(before), &middle(after));
    let mut told: Vec<String> = changes.iter().take(LINES).map(|line| cut(line)).collect();
    if changes.len() > LINES {
        told.push(format!("… {} more", changes.len() - LINES));
    }
    told.join("\n")
}

/// The shortest way from one to the other.
fn compare(before: &[String], after: &[String]) -> Vec<String> {
    let (gone, come) = (|line: &String| format!("-{line}"), |line: &String| format!("+{line}"));
    if before.len().saturating_mul(after.len()) > COMPARED * COMPARED {
        return before.iter().map(gone).chain(after.iter().map(come)).collect();
    }
    // Lines that both have, from each place on.
    let width = after.len() + 1;
    let mut common = vec![0_u32; width * (before.len() + 1)];
    let at =
        |common: &[u32], row: usize, column: usize| common.get(row * width + column).copied().unwrap_or(0);
    for (row, old) in before.iter().enumerate().rev() {
        for (column, new) in after.iter().enumerate().rev() {
            let best = if old == new {
                at(&common, row + 1, column + 1) + 1
            } else {
                at(&common, row + 1, column).max(at(&common, row, column + 1))
            };
            if let Some(place) = common.get_mut(row * width + column) {
                *place = best;
            }
        }
    }
    let (mut row, mut column, mut changes) = (0, 0, Vec::new());
    loop {
        match (before.get(row), after.get(column)) {
            (Some(old), Some(new)) if old == new => (row, column) = (row + 1, column + 1),
            (Some(old), new)
                if new.is_none() || at(&common, row + 1, column) >= at(&common, row, column + 1) =>
            {
                changes.push(gone(old));
                row += 1;
            }
            (_, Some(new)) => {
                changes.push(come(new));
                column += 1;
            }
            (_, None) => return changes,
        }
    }
}

fn cut(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    line.chars().take(WIDTH - 1).chain(['…']).collect()
}

/// The lines of a text, without secrets. What follows a secret's key on its line goes with it, and so do the lines
/// below that belong to it.
fn shown(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    // Inside a private key in PEM; below a secret's key, which is so far to the right.
    let (mut is_pem, mut below) = (false, None);
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if is_pem {
            is_pem = !line.contains("-----END");
            lines.push("(hidden)".to_owned());
            continue;
        }
        if below.is_some_and(|key| line.trim().is_empty() || indent > key) {
            is_pem = opens_key(line);
            lines.push("(hidden)".to_owned());
            continue;
        }
        below = None;
        is_pem = opens_key(line);
        match secret(line) {
            Some((key, value)) => {
                below = Some(key);
                lines.push(format!("{} (hidden)", line.get(..value).unwrap_or_default()));
            }
            None if line.contains("PRIVATE KEY-----") => lines.push("(hidden)".to_owned()),
            None => lines.push(line.to_owned()),
        }
    }
    lines
}

/// Whether a private key in PEM begins here and does not end.
fn opens_key(line: &str) -> bool {
    line.contains("PRIVATE KEY-----") && line.contains("-----BEGIN") && !line.contains("-----END")
}

/// Where the first secret's key begins in a line, and where its value does: behind the colon.
fn secret(line: &str) -> Option<(usize, usize)> {
    let found = SECRETS.iter().flat_map(|key| line.match_indices(key)).filter_map(|(at, key)| {
        let rest = line.get(at + key.len()..)?;
        let behind = rest.trim_start_matches(['"', '\'', ' ']);
        let colon = line.len() - behind.len();
        // The column of the entry, not of the key in it: a value may stand left of the key in braces.
        let indent = line.len() - line.trim_start().len();
        behind.starts_with(':').then_some((indent, colon + 1))
    });
    found.min_by_key(|(_, value)| *value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::admin::Access;

    #[test]
    fn what_was_taken_away_and_added_is_told_and_nothing_else() {
        let before = "a: 1\nb:\n- x\n- y\n# c\nd: 4\n";
        let after = "a: 1\nb:\n- x\n- z\n- y\n# c\nd: 5\n";
        assert_eq!(difference(before, after), "+- z\n-d: 4\n+d: 5");
    }

    /// What [`record`] writes.
    fn line(texts: Option<(&str, &str)>) -> String {
        let written = Written::default();
        let theirs = written.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || theirs.clone()).finish();
        let caller = Caller { who: "token:w 10.0.0.1:7".into(), access: Access::ReadWrite, over_tls: false };
        let change = Change { method: &Method::PATCH, path: "/x", operation: "operation-1-1", texts };
        tracing::subscriber::with_default(subscriber, || record(&caller, &change));
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_change_that_changes_nothing_is_told_as_such_without_a_difference() {
        let same = line(Some(("a: 1\n", "a: 1\n")));
        assert!(same.contains("unchanged=true") && !same.contains("diff"), "{same}");
        let other = line(Some(("a: 1\n", "a: 2\n")));
        assert!(!other.contains("unchanged") && other.contains("diff=\"-a: 1\\n+a: 2\""), "{other}");
        let neither = line(None);
        assert!(!neither.contains("unchanged") && !neither.contains("diff"), "{neither}");
        for line in [same, other, neither] {
            let parts =
                ["who=\"token:w 10.0.0.1:7\"", "method=PATCH", "path=\"/x\"", "operation=\"operation-1-1\""];
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        }
    }

    #[test]
    fn where_only_what_is_hidden_differs_that_is_told() {
        let key = |key: &str| format!("- name: c\n  privateKey: {key}\n");
        assert_eq!(difference(&key("SECRET"), &key("OTHER")), "(only hidden lines)");
    }

    #[test]
    fn a_long_difference_is_cut() {
        let long = "x: 1\n".repeat(100) + &"y".repeat(500);
        let told = difference("", &long);
        assert_eq!(told.lines().count(), LINES + 1);
        assert!(told.ends_with("… 41 more"), "{told}");
        assert_eq!(difference("", &"y".repeat(500)).chars().count(), WIDTH);
    }

    #[test]
    fn very_long_texts_count_as_replaced() {
        let text = |what: &str| (0..3000).map(|n| format!("{what} {n}\n")).collect::<String>();
        let told = difference(&text("a"), &text("b"));
        assert!(told.starts_with("-a 0\n-a 1\n") && told.ends_with("… 5940 more"), "{told}");
    }

    #[test]
    fn secrets_are_in_no_form_told() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAASECRETAAAA\nBBBBSECRETBBBB\n-----END PRIVATE KEY-----";
        let block = format!(
            "- name: c\n  privateKey: |\n    {}\n  type: SELF_MANAGED\n",
            key.replace('\n', "\n    ")
        );
        let flow = format!("- {{name: c, privateKey: \"{}\", type: x}}\n", key.replace('\n', "\\n"));
        let quoted = format!("- name: c\n  \"privateKey\": \"{key}\"\n  type: x\n");
        let json = format!("{{\"privateKey\" : \"{}\"}}\n", key.replace('\n', "\\n"));
        let bare = "- name: c\n  privateKey: >\n\n    SECRET of no form\n    SECRET\n  type: x\n";
        let others = "proxy: {sessionKey: SECRETSECRET, admin: {tokens: [{name: a, sha256: SECRET}]}}\n";
        for text in [&block, &flow, &quoted, &json, bare, others] {
            for told in [difference("", text), difference(text, "")] {
                assert!(
                    !told.contains("SECRET") || !told.replace("SELF_MANAGED", "").contains("SECRET"),
                    "{told}"
                );
            }
        }
        assert!(difference("", &block).contains("+  type: SELF_MANAGED"));
        assert!(difference("", "privateKeyFile: k.pem\n").contains("k.pem"), "a path is no secret");
    }
}
