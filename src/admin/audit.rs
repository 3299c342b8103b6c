//! One log line for each change: who, what, and what is different in the text. Target `overspill::audit`, on whatever
//! the level of the other lines is. Private keys and the like are never in it.

use std::path::Path;

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

/// Warns of a private key that came with a change, and stands in a file that others may read now.
pub(crate) fn record_exposed(caller: &Caller, operation: &str, (path, mode): (&Path, u32)) {
    let (who, path) = (&*caller.who, path.display());
    let mode = format!("{mode:o}");
    tracing::warn!(target: "overspill::audit", who, operation, %path, mode, "a private key went into a file that others may read");
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
    let mut told = cut(changes.get(..LINES.min(changes.len())).unwrap_or_default());
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

/// Long lines shortened: to what is around the first place where a line is not as the one it takes the place of, so that
/// the two never look the same; to its beginning where it takes the place of none.
fn cut(lines: &[String]) -> Vec<String> {
    let is_long = |line: &String| line.chars().count() > WIDTH;
    let mut shown: Vec<(&String, Option<usize>)> = lines.iter().map(|line| (line, None)).collect();
    let (gone, come): (Vec<usize>, Vec<usize>) =
        (0..lines.len()).partition(|at| lines.get(*at).is_some_and(|line| line.starts_with('-')));
    let mut pairs = Vec::new();
    for (old, new) in gone.iter().flat_map(|old| come.iter().map(move |new| (*old, *new))) {
        if let (Some(a), Some(b)) = (lines.get(old), lines.get(new))
            && (is_long(a) || is_long(b))
        {
            pairs.push((difference_at(a, b), old, new));
        }
    }
    // Those that have most in common first: they are one line, changed.
    pairs.sort_by(|a, b| b.0.cmp(&a.0).then(a.cmp(b)));
    for (at, old, new) in pairs {
        if [old, new].iter().all(|line| shown.get(*line).is_some_and(|(_, at)| at.is_none())) {
            for line in [old, new] {
                shown.get_mut(line).into_iter().for_each(|shown| shown.1 = Some(at));
            }
        }
    }
    shown.into_iter().map(|(line, at)| window(line, at.unwrap_or(0))).collect()
}

/// The first character behind the signs that two lines do not share.
fn difference_at(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).skip(1).take_while(|(a, b)| a == b).count()
}

/// At most [`WIDTH`] characters of a line with its sign, with the one `at`.
fn window(line: &str, at: usize) -> String {
    let length = line.chars().count();
    if length <= WIDTH {
        return line.to_owned();
    }
    let (sign, rest) = (line.chars().take(1), line.chars().skip(1));
    // A third of it is what stands before.
    let from = if at < WIDTH - 3 { 0 } else { at - WIDTH / 3 };
    let before = (from > 0).then_some('…');
    let room = WIDTH - 1 - usize::from(from > 0);
    let after = (length - 1 - from > room).then_some('…');
    let kept = room - usize::from(after.is_some());
    sign.chain(before).chain(rest.skip(from).take(kept)).chain(after).collect()
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
#[allow(clippy::unwrap_used, clippy::panic)]
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
    fn of_a_long_line_that_changes_far_to_the_right_the_place_is_told() {
        let line = |scaler: &str| {
            let group =
                "{group: zones/us-central1-a/instanceGroups/a-group-of-some-name, balancingMode: RATE}, ";
            format!("- {{name: web, backends: [{}{{capacityScaler: {scaler}}}, {0}]}}", group.repeat(20))
        };
        let told = difference(&line("0.25"), &line("0.75"));
        let [gone, come] = &*told.lines().collect::<Vec<_>>() else { panic!("{told}") };
        assert!(
            gone.starts_with("-…") && gone.ends_with('…') && gone.contains("{capacityScaler: 0.25}"),
            "{gone}"
        );
        assert!(
            come.starts_with("+…") && come.ends_with('…') && come.contains("{capacityScaler: 0.75}"),
            "{come}"
        );
        assert!(told.lines().all(|line| line.chars().count() == WIDTH), "{told}");
        // Whatever is between them, wherever the difference is, and where a line only becomes longer.
        let long = "y".repeat(300);
        for at in [0, 1, 100, 195, 196, 197, 198, 199, 200, 250, 299, 300] {
            let (kept, rest) = long.split_at(at);
            for other in [format!("{kept}x{rest}"), format!("{kept}ä"), kept.to_owned() + &"y".repeat(600)] {
                let told =
                    difference(&format!("{long}\nsame: 1\n{long}"), &format!("{other}\nsame: 1\n{long}"));
                let (gone, come) = told.split_once('\n').unwrap();
                assert_ne!(gone[1..], come[1..], "{at}: {told}");
                assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{at}: {told}");
            }
        }
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
