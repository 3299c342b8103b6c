//! `urlMaps/{name}/validate`: whether a URL map would be taken, and whether its tests pass [G 7.9, 7.10].

use serde_json::{Value as Json, json};

use super::catalog::Id;
use super::compute::Compute;
use super::error::ApiError;
use super::path::Resource;
use super::reference::{self, Base};
use super::stored::{Stored, requested};
use super::write::{appended, edits_of, shortened};
use crate::model::problem::{Problem, Severity};

/// Judges the map in the body in the place of the one of that name, which may be there or not.
pub(super) fn answer(
    compute: &Compute,
    target: &Resource,
    body: &Json,
    base: &Base,
) -> Result<Json, ApiError> {
    let Some(map) = body.get("resource").filter(|map| map.is_object()) else {
        return Err(ApiError::required("resource"));
    };
    let catalog = compute.catalog();
    let id = Id { collection: "urlMaps", scope: target.place.scope.clone(), name: target.name.clone() };
    let mut wanted = requested(map, id.collection, &catalog);
    wanted["name"] = json!(id.name);
    let edits = match Stored::find(&id, &catalog) {
        Some(stored) => edits_of(&stored, &wanted, &catalog),
        None => vec![appended(&catalog, id.collection, shortened(wanted.clone(), &catalog))],
    };
    let problems = compute.judge(&catalog, &edits)?;
    let errors: Vec<&Problem> = problems.iter().filter(|p| p.severity == Severity::Error).collect();
    let (failed, wrong): (Vec<&Problem>, Vec<&Problem>) =
        errors.into_iter().partition(|problem| problem.code == TEST_FAILED);
    let link = |service: &str| {
        let id = reference::read(service, &["backendServices"], &catalog);
        id.map_or_else(|| service.to_owned(), |id| base.link(&id.path()))
    };
    let failures: Vec<Json> = failed.iter().filter_map(|problem| failure(problem, &wanted, link)).collect();
    Ok(json!({"result": {
        "loadSucceeded": wrong.is_empty(),
        "loadErrors": wrong.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>(),
        "testPassed": wrong.is_empty() && failed.is_empty(),
        "testFailures": failures,
    }}))
}

/// The code of a test that fails.
const TEST_FAILED: &str = "failed-test";

/// A test with what came of it: `urlMaps[0].tests[3].service` is of the fourth.
fn failure(problem: &Problem, map: &Json, link: impl Fn(&str) -> String) -> Option<Json> {
    let (_, rest) = problem.path.split_once(".tests[")?;
    let (index, _) = rest.split_once("].")?;
    let test = map.get("tests")?.get(index.parse::<usize>().ok()?)?;
    let mut failure = json!({"host": test["host"], "path": test["path"]});
    for (key, expected, actual) in [
        ("headers", "headers", None),
        ("service", "expectedService", Some("actualService")),
        ("expectedOutputUrl", "expectedOutputUrl", None),
        ("expectedRedirectResponseCode", "expectedRedirectResponseCode", Some("actualRedirectResponseCode")),
    ] {
        if let Some(value) = test.get(key) {
            let value = match value.as_str().filter(|_| key == "service") {
                Some(service) => json!(link(service)),
                None => value.clone(),
            };
            // Unless it says below what came instead, this is as it was expected.
            if let Some(actual) = actual.filter(|_| rest.ends_with("].expectedOutputUrl")) {
                failure[actual] = value.clone();
            }
            failure[expected] = value;
        }
    }
    came(problem, &mut failure, link);
    Some(failure)
}

/// What came instead, from the words of `check`: a service, a redirect, a URL.
fn came(problem: &Problem, failure: &mut Json, link: impl Fn(&str) -> String) {
    let Some((_, words)) = problem.message.split_once(" fails: ") else { return };
    let quoted = |rest: &str| {
        rest.strip_prefix('`').and_then(|rest| rest.split_once("`, by ")).map(|(it, _)| it.to_owned())
    };
    if let Some(rest) = words.strip_prefix("it goes to ") {
        // Of several with a weight the first.
        let name = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')).map(|(name, _)| link(name));
        failure["actualService"] = json!(name);
    } else if let Some(rest) = words.strip_prefix("it is redirected with ") {
        let (status, url) = rest.split_once(" to ").unwrap_or((rest, ""));
        failure["actualRedirectResponseCode"] = json!(status.parse::<u16>().ok());
        failure["actualOutputUrl"] = json!(quoted(url));
    } else if let Some(rest) = words.strip_prefix("the URL becomes ") {
        failure["actualOutputUrl"] = json!(quoted(rest));
    }
}
