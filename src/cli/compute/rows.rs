//! Which rows a list asks for, and which of those that come are shown: `--filter`, `--sort-by`, `--limit`, `--page-size`.

use clap::ArgMatches;
use serde_json::{Value, json};

use super::fault::Fault;
use super::filter::{self, Filter};
use super::flag;
use super::format::{Column, Format, Key, Projection};
use super::generic::with_query;
use super::session::Session;

/// Which rows of a list are asked for.
#[derive(Debug)]
pub(super) struct Rows {
    filter: Option<Filter>,
    limit: Option<usize>,
    page_size: Option<usize>,
    sort: Vec<(By, bool)>,
}

/// What rows are sorted by.
#[derive(Debug)]
enum By {
    /// A column of the table, as it is shown.
    Column(Column),
    /// A field, and its name.
    Key(Key, String),
}

impl By {
    fn find(&self, resource: &Value) -> Value {
        match self {
            Self::Column(column) => column.value(resource),
            Self::Key(key, _) => key.find(resource),
        }
    }
}

/// Whether the server is sent the filter [G 10.10].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// All places at once: the filter stays here.
    ForAll,
    /// One place: the server filters, if it has words for it.
    WithFilter,
}

impl Rows {
    /// `usual`: the table's columns, whose headings may be sorted by, too.
    ///
    /// # Errors
    /// What is wrong with a filter or a key.
    pub(super) fn of(session: &Session<'_>, matches: &ArgMatches, usual: &Projection) -> Result<Self, Fault> {
        let filter = flag::text(matches, "filter").map(Filter::parse).transpose();
        let columns = match &session.format {
            Some(Format::Table(Some(own)) | Format::Value(own) | Format::Csv { projection: own, .. }) => own,
            _ => usual,
        };
        let sort = flag::texts(matches, "sort-by").unwrap_or_default().into_iter().map(|text| {
            let name = text.strip_prefix('~').unwrap_or(text);
            let by = match columns.column(name) {
                Some(column) => By::Column(column.clone()),
                None => By::Key(Key::parse(name)?, name.to_owned()),
            };
            Ok((by, text.starts_with('~')))
        });
        let number = |id| matches.get_one::<u64>(id).map(|n| usize::try_from(*n).unwrap_or(usize::MAX));
        Ok(Self {
            filter: filter.map_err(|why| Fault::of_flag("--filter", &why))?,
            limit: number("limit"),
            page_size: number("page-size"),
            sort: sort.collect::<Result<_, String>>().map_err(|why| Fault::of_flag("--sort-by", &why))?,
        })
    }

    pub(super) fn for_server(&self) -> Option<String> {
        self.filter.as_ref().and_then(Filter::for_server)
    }

    /// Whether rows are left out or moved here, so that the first ones of the server need not be the first ones shown.
    fn is_ours_to_choose(&self, asked: Asked) -> bool {
        let filters = self.filter.is_some() && (asked == Asked::ForAll || self.for_server().is_none());
        filters || !self.sort.is_empty()
    }

    pub(super) fn enough(&self, asked: Asked) -> Option<usize> {
        self.limit.filter(|_| !self.is_ours_to_choose(asked))
    }

    pub(super) fn size(&self, asked: Asked) -> Option<(&'static str, String)> {
        let size = self.page_size.unwrap_or(500);
        let size = self.enough(asked).map_or(size, |enough| enough.min(size));
        Some(("maxResults", size.to_string()))
    }

    /// What is shown of what the server gave. Keys that nothing of it has are told, as gcloud does.
    pub(super) fn chosen(
        &self,
        session: &mut Session<'_>,
        mut found: Vec<Value>,
        asked: Asked,
    ) -> Vec<Value> {
        let is_nowhere = |key: &Key| !found.is_empty() && found.iter().all(|row| is_nothing(&key.find(row)));
        let mut warn = |what: &str, names: Vec<&str>| {
            if !names.is_empty() {
                let names = names.join(", ");
                session.notes += &format!(
                    "WARNING: The following {what} keys were not present in any resource : {names}\n"
                );
            }
        };
        let keys = self.filter.iter().flat_map(Filter::keys);
        warn("filter", keys.filter(|(key, _)| is_nowhere(key)).map(|(_, name)| name).collect());
        let keys = self.sort.iter().filter_map(|(by, _)| match by {
            By::Key(key, name) => Some((key, name.as_str())),
            By::Column(_) => None,
        });
        warn("sort", keys.filter(|(key, _)| is_nowhere(key)).map(|(_, name)| name).collect());
        if let Some(filter) = &self.filter
            && (asked == Asked::ForAll || self.for_server().is_none())
        {
            found.retain(|resource| filter.holds(resource));
        }
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        for (key, is_downwards) in self.sort.iter().rev() {
            found.sort_by(|a, b| {
                let order = filter::compare(&text(key.find(a)), &text(key.find(b)));
                if *is_downwards { order.reverse() } else { order }
            });
        }
        found.truncate(self.limit.unwrap_or(usize::MAX));
        found
    }
}

/// No value, also where the way to it forks.
fn is_nothing(value: &Value) -> bool {
    value.is_null() || *value == json!([])
}

/// Asks for a list by POST with an empty body, as `listInstances` and its like want it.
///
/// # Errors
/// As the server says.
pub(super) async fn posted_list(
    session: &mut Session<'_>,
    path: &str,
    rows: &Rows,
    asked: Asked,
) -> Result<Vec<Value>, Fault> {
    let filter = if asked == Asked::WithFilter { rows.for_server() } else { None };
    let mut found = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let query = filter.clone().map(|filter| ("filter", filter)).into_iter().chain(rows.size(asked));
        let page_token = token.map(|token| ("pageToken", token));
        let page = session.post(&with_query(path, query.chain(page_token)), &json!({})).await?;
        found.extend(page["items"].as_array().into_iter().flatten().cloned());
        token = page["nextPageToken"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() || rows.enough(asked).is_some_and(|enough| found.len() >= enough) {
            return Ok(rows.chosen(session, found, asked));
        }
    }
}
