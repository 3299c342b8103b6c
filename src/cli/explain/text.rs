//! An explanation for people.

use std::fmt::Write as _;

use serde_json::Value;

/// Members that are listed where one of several is chosen.
const MAX_LISTED: usize = 12;

/// The whole text, ending in a line break.
pub(super) fn of(value: &Value) -> String {
    let mut out = title(value);
    out.push('\n');
    // What the proxy answers by itself has no route.
    if value["route"].is_object() {
        write_way(&mut out, value);
    }
    write_outcome(&mut out, &value["outcome"]);
    for note in list(&value["notes"]) {
        let _ = writeln!(out, "  note     {}", word(note));
    }
    out
}

fn title(value: &Value) -> String {
    let (request, connection) = (&value["request"], &value["connection"]);
    if connection.is_object() {
        return format!("{}://{}", word(&connection["scheme"]), word(&connection["to"]));
    }
    let (method, path) = (word(&request["method"]), word(&request["path"]));
    // A proxy of an earlier version does not say it, and has no HTTPS.
    let scheme = request["scheme"].as_str().unwrap_or("http");
    match request["host"].as_str() {
        Some(host) if path.starts_with('/') => format!("{method} {scheme}://{host}{path}"),
        Some(host) => format!("{method} {host} {path}"),
        None => format!("{method} {path}"),
    }
}

fn write_way(out: &mut String, value: &Value) {
    let (route, client, session) = (&value["route"], &value["client"], &value["session"]);
    let _ = writeln!(out, "  route    {}", way(route));
    let _ = writeln!(
        out,
        "  client   {} counts for {}: {}",
        word(&client["address"]),
        word(&client["region"]),
        word(&client["because"])
    );
    // Nor has what the route itself answers a session.
    if !session.is_object() {
        return;
    }
    let key = session["key"].as_str().map_or(String::new(), |key| format!(", key {key}"));
    let _ = writeln!(
        out,
        "  session  {}, {}{key}: {}",
        word(&session["sessionAffinity"]),
        word(&session["localityLbPolicy"]),
        word(&session["meaning"])
    );
    if let Some(to) = session["to"].as_str() {
        let _ = writeln!(
            out,
            "           it is of the client's address and {to}, {}",
            word(&session["toBecause"])
        );
    }
    for tier in list(&value["tiers"]) {
        write_tier(out, tier);
    }
    for skipped in list(&value["skipped"]) {
        let (region, because) = (word(&skipped["region"]), word(&skipped["because"]));
        let _ = writeln!(out, "  skipped  {region}{}: {because}", distance(skipped));
        list(&skipped["backends"]).iter().for_each(|backend| write_backend(out, backend));
    }
}

fn write_outcome(out: &mut String, outcome: &Value) {
    let (group, zone) = (word(&outcome["group"]), word(&outcome["zone"]));
    if let Some(member) = outcome["member"].as_str() {
        let address = word(&outcome["address"]);
        let _ = writeln!(out, "  member   {member} ({address}) of {group}, zone {zone}");
    } else if outcome["oneOf"].is_array() {
        let of = if group.is_empty() { String::new() } else { format!(" of {group}, zone {zone}") };
        let _ = writeln!(out, "  member   one of these{of}; {}:", word(&outcome["choice"]));
        write_candidates(out, list(&outcome["oneOf"]), group.is_empty());
    } else {
        let status = outcome["status"].as_u64().map_or("reset".to_owned(), |status| status.to_string());
        let location = outcome["location"].as_str().map_or(String::new(), |to| format!(" to {to}"));
        let (details, because) = (word(&outcome["statusDetails"]), word(&outcome["because"]));
        let _ = writeln!(out, "  answer   {status} {details}{location}: {because}");
        return;
    }
    let _ = writeln!(out, "  reason   {}: {}", word(&outcome["reason"]), word(&outcome["because"]));
    if let Some(provided) = outcome["provided"].as_str() {
        let _ = writeln!(out, "  provided {provided}");
    }
}

fn write_candidates(out: &mut String, candidates: &[Value], has_groups: bool) {
    for one in candidates.iter().take(MAX_LISTED) {
        let group = if has_groups { format!(" of {}", word(&one["group"])) } else { String::new() };
        let latency = one["latencySeconds"].as_f64();
        let latency = latency.map_or(String::new(), |seconds| format!(", {:.1} ms lately", seconds * 1e3));
        let (member, address) = (word(&one["member"]), word(&one["address"]));
        let _ = writeln!(out, "      {member} ({address}){group}: {} in flight{latency}", one["inFlight"]);
    }
    if let Some(more) = candidates.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        let _ = writeln!(out, "      and {more} more");
    }
}

fn way(route: &Value) -> String {
    if route["urlMap"].is_null() {
        let (rule, proxy) = (word(&route["forwardingRule"]), word(&route["targetProxy"]));
        return format!("{rule} → {proxy} → service {}", word(&route["service"]));
    }
    let mut way = format!(
        "{} → {} → {}",
        word(&route["forwardingRule"]),
        word(&route["targetProxy"]),
        word(&route["urlMap"])
    );
    let rule = route["pathRule"].as_str().or_else(|| route["routeRule"].as_str());
    match (route["pathMatcher"].as_str(), rule) {
        (Some(matcher), Some(rule)) => way += &format!(" → {matcher} {rule}"),
        (Some(matcher), None) => way += &format!(" → {matcher}, its default"),
        (None, _) => way += ", its default",
    }
    let Some(service) = route["service"].as_str() else { return way };
    let shares = list(&route["weightedBackendServices"]).iter().map(|one| {
        format!("{} {:.1} %", word(&one["service"]), one["share"].as_f64().unwrap_or_default() * 100.0)
    });
    let shares: Vec<String> = shares.collect();
    way = way + " → service " + service;
    if !shares.is_empty() {
        way += &format!(" ({}: {})", shares.join(", "), word(&route["serviceBecause"]));
    }
    if let Some(path) = route["rewrittenPath"].as_str() {
        way += &format!(", as {}{path}", word(&route["rewrittenHost"]));
    }
    let mirror = &route["mirroredTo"];
    if let (Some(service), Some(percent)) = (mirror["service"].as_str(), mirror["percent"].as_f64()) {
        way += &format!(", {} % copied to {service}", short(percent));
    }
    if let Some(is_allowed) = route["corsOriginAllowed"].as_bool() {
        way += if is_allowed { ", its origin is allowed" } else { ", no origin that is allowed" };
    }
    way
}

fn write_tier(out: &mut String, tier: &Value) {
    let keeps = tier["keeps"].as_f64().filter(|part| *part < 1.0);
    let keeps = keeps.map_or(String::new(), |part| format!(", keeps {:.0} % of its requests", part * 100.0));
    let _ = writeln!(
        out,
        "  tier {}   {}{}{keeps}: {}",
        tier["tier"],
        word(&tier["region"]),
        distance(tier),
        match word(&tier["verdict"]) {
            "taken" => "takes the request".to_owned(),
            "not reached" => "not reached".to_owned(),
            left => format!("left, {left}"),
        }
    );
    list(&tier["backends"]).iter().for_each(|backend| write_backend(out, backend));
}

fn distance(place: &Value) -> String {
    place["distanceKm"].as_f64().map_or(String::new(), |km| format!(", {km:.0} km away"))
}

fn write_backend(out: &mut String, backend: &Value) {
    let share = backend["share"].as_f64().map_or("  -".to_owned(), |part| format!("{:3.0} %", part * 100.0));
    let _ = writeln!(
        out,
        "      {:<16} {:<18} {:<15} {:<24} {:>2} of {:<3} healthy  share {share:<6} {}",
        word(&backend["group"]),
        word(&backend["zone"]),
        word(&backend["balancingMode"]),
        fill(backend),
        backend["healthyMembers"].as_u64().unwrap_or_default(),
        backend["members"].as_u64().unwrap_or_default(),
        word(&backend["state"]),
    );
    write_metrics(out, backend);
}

/// Each custom metric: what it is, of what it may be.
fn write_metrics(out: &mut String, backend: &Value) {
    for metric in list(&backend["customMetrics"]) {
        let name = word(&metric["name"]);
        let mean = metric["mean"].as_f64().map_or("not reported".to_owned(), places);
        let scaler = backend["capacityScaler"].as_f64().filter(|scaler| *scaler < 1.0);
        let max = metric["maxUtilization"].as_f64().unwrap_or_default();
        let of = match scaler {
            Some(scaler) => format!("{} × scaler {}", places(max), places(scaler)),
            None => places(max),
        };
        let part =
            metric["fullness"].as_f64().map_or(String::new(), |part| format!(", {:.0} %", part * 100.0));
        let role = match (metric["dryRun"].as_bool(), backend["bindingTarget"].as_str()) {
            (Some(true), _) => ": dry run, decides nothing",
            (_, Some(binding)) if binding == name => ": binds",
            _ => "",
        };
        let _ = writeln!(out, "          metric {name}: {mean} of {of}{part}{role}");
    }
}

/// Load of capacity, in the units of its targets.
fn fill(backend: &Value) -> String {
    let number = |key: &str| backend[key].as_f64();
    let mut parts = Vec::new();
    if let (Some(capacity), Some(rate)) = (number("capacity"), number("rate")) {
        parts.push(format!("{} of {}/s", short(rate), short(capacity)));
    }
    if let (Some(capacity), Some(count)) = (number("countCapacity"), number("inFlight")) {
        parts.push(format!("{} of {} at a time", short(count), short(capacity)));
    }
    if let Some(max) = backend["targets"]["maxUtilization"].as_f64() {
        let used = number("utilization").map_or("?".to_owned(), |used| format!("{:.0}", used * 100.0));
        let scaler = number("capacityScaler").unwrap_or(1.0);
        parts.push(format!("{used} of {:.0} %", max * scaler * 100.0));
    }
    if let (true, Some(part)) = (backend["customMetrics"].is_array(), number("fullness")) {
        parts.push(format!("{:.0} % full", part * 100.0));
    }
    match backend["balancingMode"].as_str() {
        _ if !parts.is_empty() => parts.join(", "),
        Some("CUSTOM_METRICS") => "not reported".to_owned(),
        _ => "not limited".to_owned(),
    }
}

fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// With as many places as say something.
fn places(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
