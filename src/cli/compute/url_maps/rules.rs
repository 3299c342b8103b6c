//! Host rules and path matchers: what is added, and what must not be left without a user.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cli::compute::fault::Fault;
use crate::cli::compute::flag;

/// `PATH=SERVICE` words as path rules: one for each service, services and paths sorted.
///
/// # Errors
/// When a word is of another form.
pub(super) fn path_rules(words: &[&str], link: impl Fn(&str) -> String) -> Result<Vec<Value>, Fault> {
    let mut services: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        // A path may hold `=`, a service cannot.
        let Some((path, service)) =
            word.rsplit_once('=').filter(|(path, service)| !path.is_empty() && !service.is_empty())
        else {
            return Err(Fault::of_flag(
                "--backend-service-path-rules",
                &format!("`{word}` is not of the form PATH=SERVICE"),
            ));
        };
        services.entry(service).or_default().insert(path);
    }
    Ok(services.iter().map(|(service, paths)| json!({"paths": paths, "service": link(service)})).collect())
}

/// Adds a path matcher for new hosts, or in the place of another one that an existing host has.
///
/// # Errors
/// When a host has a rule already, when none has, when paths would be left without a host.
pub(super) fn add_matcher(
    map: &mut Value,
    matcher: Value,
    new_hosts: Option<Vec<&str>>,
    existing_host: Option<&str>,
    is_deleting: bool,
) -> Result<(), Fault> {
    let mut rules = list(map, "hostRules");
    match existing_host {
        None => {
            let hosts: BTreeSet<&str> = new_hosts.unwrap_or_else(|| vec!["*"]).into_iter().collect();
            for rule in &rules {
                if let Some(host) = hosts_of(rule).find(|host| hosts.contains(host)) {
                    return Err(Fault::new(format!(
                        "Cannot create a new host rule with host [{host}] because the host is already part of a host rule \
                         that references the path matcher [{}].",
                        matcher_of(rule)
                    )));
                }
            }
            rules.push(json!({"hosts": hosts, "pathMatcher": matcher["name"]}));
        }
        Some(host) => {
            let Some(rule) = rules.iter_mut().find(|rule| hosts_of(rule).any(|one| one == host)) else {
                return Err(Fault::new(format!(
                    "No host rule with host [{host}] exists. Check your spelling or use [--new-hosts] to create a new host rule."
                )));
            };
            let before = matcher_of(rule).to_owned();
            rule["pathMatcher"] = matcher["name"].clone();
            leave_no_orphan(map, &rules, &before, is_deleting)?;
        }
    }
    let mut matchers = list(map, "pathMatchers");
    matchers.push(matcher);
    put(map, "hostRules", rules);
    put(map, "pathMatchers", matchers);
    Ok(())
}

/// Takes a path matcher away, and the rules of its hosts.
///
/// # Errors
/// When there is none of this name.
pub(super) fn remove_matcher(map: &mut Value, name: &str) -> Result<(), Fault> {
    let mut matchers = list(map, "pathMatchers");
    let before = matchers.len();
    matchers.retain(|matcher| matcher["name"] != name);
    if matchers.len() == before {
        return Err(Fault::new(format!("No path matcher with the name [{name}] was found.")));
    }
    let mut rules = list(map, "hostRules");
    rules.retain(|rule| rule["pathMatcher"] != name);
    put(map, "pathMatchers", matchers);
    put(map, "hostRules", rules);
    Ok(())
}

/// Adds a rule for hosts; the server finds those that have one.
///
/// # Errors
/// None; the type is that of its siblings.
pub(super) fn add_host_rule(
    map: &mut Value,
    mut hosts: Vec<&str>,
    matcher: &str,
    description: Option<&str>,
) -> Result<(), Fault> {
    hosts.sort_unstable();
    let mut rule = json!({"hosts": hosts, "pathMatcher": matcher, "description": description});
    flag::drop_nulls(&mut rule);
    let mut rules = list(map, "hostRules");
    rules.push(rule);
    put(map, "hostRules", rules);
    Ok(())
}

/// Takes the rule of a host away.
///
/// # Errors
/// When there is none, when paths would be left without a host.
pub(super) fn remove_host_rule(map: &mut Value, host: &str, is_deleting: bool) -> Result<(), Fault> {
    let mut rules = list(map, "hostRules");
    let Some(rule) = rules.iter().find(|rule| hosts_of(rule).any(|one| one == host)) else {
        return Err(Fault::new(format!("No host rule contains the host [{host}].")));
    };
    let before = matcher_of(rule).to_owned();
    rules.retain(|rule| !hosts_of(rule).any(|one| one == host));
    leave_no_orphan(map, &rules, &before, is_deleting)?;
    put(map, "hostRules", rules);
    Ok(())
}

/// Deletes a path matcher that no rule has any more, if that is allowed.
fn leave_no_orphan(map: &mut Value, rules: &[Value], matcher: &str, is_deleting: bool) -> Result<(), Fault> {
    if rules.iter().any(|rule| rule["pathMatcher"] == matcher) {
        return Ok(());
    }
    if !is_deleting {
        return Err(Fault::new(format!(
            "This operation will orphan the path matcher [{matcher}]. To delete the orphan path matcher, rerun this command \
             with [--delete-orphaned-path-matcher] or use [overspill url-maps edit] to modify the URL map by hand."
        )));
    }
    let mut matchers = list(map, "pathMatchers");
    matchers.retain(|one| one["name"] != matcher);
    put(map, "pathMatchers", matchers);
    Ok(())
}

fn list(map: &Value, key: &str) -> Vec<Value> {
    map[key].as_array().cloned().unwrap_or_default()
}

/// An empty list is left out, as gcloud does.
fn put(map: &mut Value, key: &str, list: Vec<Value>) {
    if list.is_empty() {
        flag::remove(map, &[key]);
    } else {
        map[key] = list.into();
    }
}

fn hosts_of(rule: &Value) -> impl Iterator<Item = &str> {
    rule["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn matcher_of(rule: &Value) -> &str {
    rule["pathMatcher"].as_str().unwrap_or_default()
}
