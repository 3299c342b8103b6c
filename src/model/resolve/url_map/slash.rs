//! Prefixes that do not fit together: what is legal and likely wrong.

use super::Routes;
use crate::model::route::action::{Action, NewPath, Target};
use crate::wire::path::Path;

impl Routes<'_, '_, '_> {
    /// Warns where one prefix ends in a slash and the one in its place does not. `matched`: what is replaced.
    pub(super) fn slashes<'a>(
        &mut self,
        action: &Action,
        mut matched: impl Iterator<Item = &'a str>,
        at: &Path<'_>,
    ) {
        let (path, [outer, inner, key]) = match (&action.target, &action.rewrite) {
            (Target::Redirect(redirect), _) => (&redirect.path, ["", "urlRedirect", "prefixRedirect"]),
            (_, Some(rewrite)) => (&rewrite.path, ["routeAction", "urlRewrite", "pathPrefixRewrite"]),
            _ => return,
        };
        let NewPath::Prefix(new) = path else { return };
        let ends = new.ends_with('/');
        let Some(old) = matched.find(|old| old.ends_with('/') != ends) else { return };
        let (rest, expected) = if ends {
            (
                "/x",
                "no `/` at the end of the new prefix, or one at the end of the old, too: it is replaced to the letter [G 7c]",
            )
        } else {
            ("x", "a `/` at the end of the new prefix, too: it is replaced to the letter [G 7c]")
        };
        let message = format!("`{old}{rest}` becomes `{new}{rest}`");
        let within = at.key(outer);
        let within = if outer.is_empty() { at } else { &within };
        self.report.warning(&within.key(inner).key(key), "prefix-slash", message, expected);
    }
}
