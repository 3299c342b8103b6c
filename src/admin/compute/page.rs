//! Lists, page by page [G 12.5, 12.6].
//!
//! A page token holds the place of the last resource that was shown, not a count: what comes or goes between two pages
//! moves no other resource over the edge.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::ApiError;
use super::filter::Filter;
use super::kinds::Kind;
use super::path::{Place, Scope, link};
use super::query::Query;

/// Most resources of a page, and how many it has unless asked otherwise.
pub(crate) const LARGEST: usize = 500;
/// Longest page token, in bytes.
const LONGEST_TOKEN: usize = 1024;

/// What a list was asked for.
#[derive(Debug)]
pub(crate) struct Listing {
    filter: Option<Filter>,
    max_results: usize,
    order: Order,
    after: Option<Key>,
    include_all_scopes: bool,
}

/// `orderBy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// `name`, also when nothing is asked.
    Name,
    /// `creationTimestamp desc`, then by name.
    Newest,
}

impl Order {
    const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Newest => "creationTimestamp desc",
        }
    }
}

/// The place of a resource in a list. A name stands once in a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    scope: String,
    created: String,
    name: String,
}

impl Key {
    fn of(scope: String, item: &Value) -> Self {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        // Members of groups have no names: an instance goes by its URL, an endpoint by all of it.
        let name = match (item.get("instance"), item.get("networkEndpoint")) {
            (Some(Value::String(instance)), _) => instance.clone(),
            (_, Some(endpoint)) => endpoint.to_string(),
            _ => text("name"),
        };
        Self { scope, created: text("creationTimestamp"), name }
    }

    fn compare(&self, other: &Self, order: Order) -> Ordering {
        let created = match order {
            Order::Name => Ordering::Equal,
            Order::Newest => other.created.cmp(&self.created),
        };
        self.scope.cmp(&other.scope).then(created).then_with(|| self.name.cmp(&other.name))
    }
}

impl Listing {
    /// Reads what a list was asked for.
    ///
    /// # Errors
    ///
    /// 400 for a wrong filter, size, order or token.
    pub(crate) fn read(query: &Query) -> Result<Self, ApiError> {
        let order = match query.text("orderBy") {
            None | Some("name") => Order::Name,
            Some("creationTimestamp desc") => Order::Newest,
            Some(other) => {
                let why = "Must be 'name' or 'creationTimestamp desc'.";
                return Err(ApiError::invalid_field("orderBy", other, why));
            }
        };
        // Nothing of this server is ever unreachable.
        query.flag("returnPartialSuccess", false)?;
        Ok(Self {
            filter: query.text("filter").map(Filter::parse).transpose()?,
            max_results: max_results(query)?,
            order,
            after: query.text("pageToken").map(|token| read_token(token, order)).transpose()?,
            include_all_scopes: query.flag("includeAllScopes", false)?,
        })
    }

    /// One page of `items`, and the token of the next if there is more.
    fn page(&self, items: Vec<(String, Value)>) -> (Vec<(String, Value)>, Option<String>) {
        let wanted = |item: &Value| self.filter.as_ref().is_none_or(|filter| filter.takes(item));
        let items = items.into_iter().filter(|(_, item)| wanted(item));
        let mut items: Vec<(Key, Value)> = items.map(|(scope, item)| (Key::of(scope, &item), item)).collect();
        if let Some(after) = &self.after {
            items.retain(|(key, _)| key.compare(after, self.order).is_gt());
        }
        items.sort_by(|(a, _), (b, _)| a.compare(b, self.order));
        let has_more = items.len() > self.max_results;
        items.truncate(self.max_results);
        let next = items.last().filter(|_| has_more).map(|(last, _)| write_token(last, self.order));
        (items.into_iter().map(|(key, item)| (key.scope, item)).collect(), next)
    }

    /// The list of one scope, with its envelope; `base` ends before `projects/`.
    pub(crate) fn list(&self, place: &Place, items: Vec<Value>, base: &str) -> Value {
        let kind = place.kind.list_kind(place.scope.kind());
        self.envelope(&kind, &place.path(), items, base)
    }

    /// A list of what is no collection: the answer of a verb such as `listInstances`, or `listUsable`.
    pub(crate) fn envelope(&self, kind: &str, path: &str, items: Vec<Value>, base: &str) -> Value {
        let (page, next) = self.page(items.into_iter().map(|item| (String::new(), item)).collect());
        let mut list = json!({"kind": kind, "id": path, "selfLink": link(base, path)});
        // An empty list has no `items`, as Google writes it.
        if !page.is_empty() {
            list["items"] = page.into_iter().map(|(_, item)| item).collect();
        }
        with_next(list, next)
    }

    /// The list of a collection of the Network Services API, which calls it by its own name.
    pub(crate) fn network_services(&self, kind: &Kind, items: Vec<Value>) -> Value {
        let (page, next) = self.page(items.into_iter().map(|item| (String::new(), item)).collect());
        let mut list = json!({});
        if !page.is_empty() {
            list[kind.collection] = page.into_iter().map(|(_, item)| item).collect();
        }
        with_next(list, next)
    }

    /// The list over all scopes [G 12.6]: a map from scope to resources, or to a warning that there are none. `scopes`
    /// are all that this server knows; shown are those of the sorts where the kind stands, or all with
    /// `includeAllScopes`.
    pub(crate) fn aggregated(
        &self,
        (project, kind): (&str, &Kind),
        scopes: &[Scope],
        items: Vec<(Scope, Value)>,
        base: &str,
    ) -> Value {
        let shown =
            scopes.iter().filter(|scope| self.include_all_scopes || kind.methods(scope.kind()).is_some());
        let mut by_scope: BTreeMap<String, Vec<Value>> =
            shown.map(|scope| (scope.to_string(), Vec::new())).collect();
        let items = items.into_iter().map(|(scope, item)| (scope.to_string(), item)).collect();
        let (page, next) = self.page(items);
        for (scope, item) in page {
            by_scope.entry(scope).or_default().push(item);
        }
        let items: serde_json::Map<String, Value> = by_scope
            .into_iter()
            .map(|(scope, items)| {
                let listed =
                    if items.is_empty() { nothing(&scope) } else { json!({ kind.collection: items }) };
                (scope, listed)
            })
            .collect();
        let path = format!("projects/{project}/aggregated/{}", kind.collection);
        let list = json!({
            "kind": kind.aggregated_kind().unwrap_or_default(),
            "id": path,
            "items": items,
            "selfLink": link(base, &path),
        });
        with_next(list, next)
    }
}

fn with_next(mut list: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        list["nextPageToken"] = next.into();
    }
    list
}

fn nothing(scope: &str) -> Value {
    json!({"warning": {
        "code": "NO_RESULTS_ON_PAGE",
        "message": format!("There are no results for scope '{scope}' on this page."),
        "data": [{"key": "scope", "value": scope}],
    }})
}

fn max_results(query: &Query) -> Result<usize, ApiError> {
    let name = if query.text("pageSize").is_some() { "pageSize" } else { "maxResults" };
    let Some(text) = query.text(name) else { return Ok(LARGEST) };
    match text.parse() {
        // A page of nothing could never be followed by another.
        Ok(0) => Ok(LARGEST),
        Ok(count) if count <= LARGEST => Ok(count),
        _ => Err(ApiError::invalid_field(name, text, "Must be an integer from 0 to 500.")),
    }
}

fn write_token(last: &Key, order: Order) -> String {
    URL_SAFE_NO_PAD.encode(json!([order.word(), last.scope, last.created, last.name]).to_string())
}

fn read_token(token: &str, order: Order) -> Result<Key, ApiError> {
    let refused = |why| ApiError::invalid_field("pageToken", token, why);
    let invalid = || refused("The page token is invalid.");
    if token.len() > LONGEST_TOKEN {
        return Err(invalid());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let [of, scope, created, name] = serde_json::from_slice::<[String; 4]>(&bytes).map_err(|_| invalid())?;
    if of != order.word() {
        return Err(refused("It is of a list with another orderBy."));
    }
    Ok(Key { scope, created, name })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{any, prop, proptest};

    use super::super::kinds;
    use super::super::query::{AGGREGATED, LIST, NETWORK_SERVICES_LIST};
    use super::*;

    fn listing(query: &str) -> Listing {
        Listing::read(&Query::parse(query, AGGREGATED).unwrap()).unwrap()
    }

    fn place() -> Place {
        let kind = kinds::of_collection("backendServices").unwrap();
        Place { kind, project: "p".to_owned(), scope: Scope::Global }
    }

    fn named(names: &[&str]) -> Vec<Value> {
        names.iter().map(|name| json!({ "name": name })).collect()
    }

    fn names(list: &Value) -> Vec<String> {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_list_has_googles_envelope_and_the_order_of_names() {
        let list = listing("").list(&place(), named(&["b", "a"]), "http://h/compute/v1/");
        let expected = json!({
            "kind": "compute#backendServiceList",
            "id": "projects/p/global/backendServices",
            "items": [{"name": "a"}, {"name": "b"}],
            "selfLink": "http://h/compute/v1/projects/p/global/backendServices",
        });
        assert_eq!(list, expected);
        assert!(listing("").list(&place(), vec![], "b").get("items").is_none());
    }

    #[test]
    fn the_newest_come_first_if_asked() {
        let item = |name, year: u32| json!({"name": name, "creationTimestamp": format!("{year}-01-01T00:00:00.000Z")});
        let items = vec![item("a", 2024), item("c", 2026), item("b", 2026)];
        let first = listing("orderBy=creationTimestamp+desc&maxResults=2").list(&place(), items.clone(), "");
        assert_eq!(names(&first), ["b", "c"]);
        let token = first["nextPageToken"].as_str().unwrap();
        let rest = listing(&format!("orderBy=creationTimestamp%20desc&pageToken={token}"));
        assert_eq!(names(&rest.list(&place(), items, "")), ["a"]);
        let query = Query::parse(&format!("orderBy=name&pageToken={token}"), LIST).unwrap();
        assert_eq!(Listing::read(&query).unwrap_err().location.as_deref(), Some("pageToken"));
    }

    #[test]
    fn a_page_is_followed_by_the_same_although_the_list_changed() {
        let first = listing("maxResults=2").list(&place(), named(&["b", "d", "f", "h"]), "");
        assert_eq!(names(&first), ["b", "d"]);
        let token = first["nextPageToken"].as_str().unwrap();
        // `a` came before, `d` went, `e` came behind.
        let next =
            listing(&format!("pageToken={token}")).list(&place(), named(&["a", "b", "e", "f", "h"]), "");
        assert_eq!(names(&next), ["e", "f", "h"]);
        assert!(next.get("nextPageToken").is_none());
    }

    #[test]
    fn a_filter_comes_before_the_page() {
        let list = listing("filter=name+ne+b.*&maxResults=1").list(&place(), named(&["b1", "b2", "c"]), "");
        assert_eq!((names(&list), list.get("nextPageToken")), (vec!["c".to_owned()], None));
    }

    #[test]
    fn wrong_parameters_are_400() {
        let long = format!("pageToken={}", "a".repeat(LONGEST_TOKEN + 1));
        for bad in [
            "maxResults=501",
            "maxResults=-1",
            "maxResults=x",
            "orderBy=size",
            "orderBy=creationTimestamp",
            "pageToken=%25",
            "pageToken=bm9uZQ",
            "filter=name",
            "returnPartialSuccess=perhaps",
            &long,
        ] {
            let query = Query::parse(bad, AGGREGATED).unwrap();
            assert_eq!(Listing::read(&query).unwrap_err().status.as_u16(), 400, "{bad}");
        }
        assert_eq!(listing("maxResults=0").max_results, LARGEST);
        let query = Query::parse("pageSize=7", NETWORK_SERVICES_LIST).unwrap();
        assert_eq!(Listing::read(&query).unwrap().max_results, 7);
    }

    #[test]
    fn an_aggregated_list_says_where_nothing_is() {
        let zone = Scope::Zone("z".to_owned());
        let region = Scope::Region("r".to_owned());
        let scopes = [Scope::Global, region.clone(), zone];
        let kind = place().kind;
        let items = || vec![(region.clone(), json!({"name": "a"}))];
        let list = listing("").aggregated(("p", kind), &scopes, items(), "http://h/compute/v1");
        // [G 12.6].
        assert_eq!(list["kind"], "compute#backendServiceAggregatedList");
        assert_eq!(list["selfLink"], "http://h/compute/v1/projects/p/aggregated/backendServices");
        assert_eq!(list["items"]["regions/r"], json!({"backendServices": [{"name": "a"}]}));
        assert_eq!(list["items"]["global"]["warning"]["code"], "NO_RESULTS_ON_PAGE");
        assert!(list["items"].get("zones/z").is_none(), "no backend service stands in a zone");
        let all = listing("includeAllScopes=True").aggregated(("p", kind), &scopes, items(), "");
        let warning = json!({"code": "NO_RESULTS_ON_PAGE", "data": [{"key": "scope", "value": "zones/z"}],
            "message": "There are no results for scope 'zones/z' on this page."});
        assert_eq!(all["items"]["zones/z"]["warning"], warning);
    }

    #[test]
    fn the_other_api_calls_the_list_by_its_name() {
        let kind = kinds::of_network_services("serviceLbPolicies").unwrap();
        let list = listing("maxResults=1").network_services(kind, named(&["a", "b"]));
        assert_eq!(list["serviceLbPolicies"], json!([{"name": "a"}]));
        assert!(list["nextPageToken"].is_string());
    }

    proptest! {
        #[test]
        fn a_walk_over_all_pages_shows_each_once(
            names_of in prop::collection::btree_map("[a-c]{1,3}", 0u8..3, 0..30),
            size in 1usize..9, is_newest: bool,
        ) {
            let items: Vec<Value> = names_of.iter()
                .map(|(name, day)| json!({"name": name, "creationTimestamp": format!("2026-01-0{day}")})).collect();
            let order = if is_newest { "creationTimestamp+desc" } else { "name" };
            let (mut seen, mut token) = (Vec::new(), String::new());
            loop {
                let listing = listing(&format!("orderBy={order}&maxResults={size}&pageToken={token}"));
                let page = listing.list(&place(), items.clone(), "");
                seen.extend(names(&page));
                match page.get("nextPageToken") {
                    Some(next) => token = next.as_str().unwrap().to_owned(),
                    None => break,
                }
                assert!(seen.len() <= items.len());
            }
            assert_eq!(seen.len(), names_of.len());
            assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names_of.into_keys().collect());
        }

        #[test]
        fn a_walk_over_all_scopes_shows_each_once(count in 0usize..40, size in 1usize..9) {
            // The same name in several scopes.
            let scope = |n: usize| if n.is_multiple_of(3) { Scope::Global } else { Scope::Region(format!("r{}", n % 3)) };
            let items: Vec<(Scope, Value)> = (0..count).map(|n| (scope(n), json!({"name": format!("n{}", n / 3)}))).collect();
            let (mut seen, mut token) = (0, String::new());
            loop {
                let listing = listing(&format!("maxResults={size}&pageToken={token}"));
                let page = listing.aggregated(("p", place().kind), &[], items.clone(), "");
                let scopes = page["items"].as_object().unwrap().values();
                seen += scopes.map(|scope| scope["backendServices"].as_array().unwrap().len()).sum::<usize>();
                match page.get("nextPageToken") {
                    Some(next) => token = next.as_str().unwrap().to_owned(),
                    None => break,
                }
                assert!(seen <= count);
            }
            assert_eq!(seen, count);
        }

        #[test]
        fn no_token_breaks_the_reader(token in any::<String>(), bytes in any::<Vec<u8>>()) {
            let _ = read_token(&token, Order::Name);
            let _ = read_token(&URL_SAFE_NO_PAD.encode(bytes), Order::Newest);
        }
    }
}
