//! An explanation for people.

use std::fmt::Write as _;

use serde_json::Value;

/// The whole text, ending in a line break.
pub(super) fn of(value: &Value) -> String {
    let mut out = String::new();
    let (request, route, client, session) =
        (&value["request"], &value["route"], &value["client"], &value["session"]);
    let host = request["host"].as_str().map_or(String::new(), |host| format!("http://{host}"));
    let _ = writeln!(out, "{} {host}{}", word(&request["method"]), word(&request["path"]));
    let _ = writeln!(out, "  route    {}", way(route));
    let _ = writeln!(
        out,
        "  client   {} counts for {}: {}",
        word(&client["address"]),
        word(&client["region"]),
        word(&client["because"])
    );
    let key = session["key"].as_str().map_or(String::new(), |key| format!(", key {key}"));
    let _ = writeln!(
        out,
        "  session  {}, {}{key}: {}",
        word(&session["sessionAffinity"]),
        word(&session["localityLbPolicy"]),
        word(&session["meaning"])
    );
    for tier in list(&value["tiers"]) {
        write_tier(&mut out, tier);
    }
    let outcome = &value["outcome"];
    let end = match outcome["member"].as_str() {
        Some(member) => format!(
            "member   {member} ({}) of {}, zone {}\n  reason   {}: {}",
            word(&outcome["address"]),
            word(&outcome["group"]),
            word(&outcome["zone"]),
            word(&outcome["reason"]),
            word(&outcome["because"])
        ),
        None => format!(
            "answer   {} {}: {}",
            outcome["status"],
            word(&outcome["statusDetails"]),
            word(&outcome["because"])
        ),
    };
    let _ = writeln!(out, "  {end}");
    out
}

fn way(route: &Value) -> String {
    let mut way = format!(
        "{} → {} → {}",
        word(&route["forwardingRule"]),
        word(&route["targetProxy"]),
        word(&route["urlMap"])
    );
    match (route["pathMatcher"].as_str(), route["pathRule"].as_str()) {
        (Some(matcher), Some(rule)) => way += &format!(" → {matcher} {rule}"),
        (Some(matcher), None) => way += &format!(" → {matcher}, its default"),
        (None, _) => way += ", its default",
    }
    way + " → service " + word(&route["service"])
}

fn write_tier(out: &mut String, tier: &Value) {
    let keeps = tier["keeps"].as_f64().filter(|part| *part < 1.0);
    let keeps = keeps.map_or(String::new(), |part| format!(", keeps {:.0} % of its requests", part * 100.0));
    let distance = tier["distanceKm"].as_f64().map_or(String::new(), |km| format!(", {km:.0} km away"));
    let _ = writeln!(
        out,
        "  tier {}   {}{distance}{keeps}: {}",
        tier["tier"],
        word(&tier["region"]),
        match word(&tier["verdict"]) {
            "taken" => "takes the request".to_owned(),
            "not reached" => "not reached".to_owned(),
            left => format!("left, {left}"),
        }
    );
    for backend in list(&tier["backends"]) {
        let share =
            backend["share"].as_f64().map_or("  -".to_owned(), |part| format!("{:3.0} %", part * 100.0));
        let _ = writeln!(
            out,
            "      {:<16} {:<18} {:<15} {:<24} {:>2} of {:<3} healthy  share {share:<6} {}",
            word(&backend["group"]),
            word(&backend["zone"]),
            word(&backend["balancingMode"]),
            fill(backend),
            backend["healthyMembers"],
            backend["members"],
            word(&backend["state"]),
        );
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
    if let (Some(max), Some(used)) = (backend["targets"]["maxUtilization"].as_f64(), number("utilization")) {
        let scaler = number("capacityScaler").unwrap_or(1.0);
        parts.push(format!("{:.0} of {:.0} %", used * 100.0, max * scaler * 100.0));
    }
    if parts.is_empty() { "not limited".to_owned() } else { parts.join(", ") }
}

fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
