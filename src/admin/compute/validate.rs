//! `urlMaps/{name}/validate`: whether a URL map would be taken, and whether its tests pass [G 7.9, 7.10].

use serde_json::{Value as Json, json};

use super::catalog::Id;
use super::compute::Compute;
use super::error::ApiError;
use super::path::Resource;
use super::stored::{Stored, requested};
use super::write::{appended, edits_of, shortened};
use crate::model::problem::{Problem, Severity};

/// Judges the map in the body in the place of the one of that name, which may be there or not.
pub(super) fn answer(compute: &Compute, target: &Resource, body: &Json) -> Result<Json, ApiError> {
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
    let failures: Vec<Json> = failed.iter().filter_map(|problem| failure(problem, &wanted)).collect();
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
fn failure(problem: &Problem, map: &Json) -> Option<Json> {
    let (_, rest) = problem.path.split_once(".tests[")?;
    let (index, field) = rest.split_once("].")?;
    let test = map.get("tests")?.get(index.parse::<usize>().ok()?)?;
    let mut failure = json!({"host": test["host"], "path": test["path"]});
    for (key, expected) in [
        ("headers", "headers"),
        ("service", "expectedService"),
        ("expectedOutputUrl", "expectedOutputUrl"),
        ("expectedRedirectResponseCode", "expectedRedirectResponseCode"),
    ] {
        if let Some(value) = test.get(key) {
            failure[expected] = value.clone();
        }
    }
    // What came instead, in the words of `check`: a service, a redirect, a URL.
    let came = problem.message.split_once(" fails: ").map_or(&*problem.message, |(_, came)| came);
    let actual = if field == "expectedOutputUrl" { "actualOutputUrl" } else { "actualService" };
    failure[actual] = json!(came);
    Some(failure)
}
