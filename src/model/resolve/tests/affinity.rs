//! What sessions go by [G 3].

use super::*;
use crate::model::service::Cookie;

/// `MINIMAL` with lines added to its service.
fn service(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("\n    {line}")).collect();
    with("healthChecks: [basic]", &format!("healthChecks: [basic]{lines}"))
}

fn affinity(lines: &str) -> Affinity {
    good(&service(lines)).services[0].affinity.clone()
}

fn cookie(ttl: u64) -> Cookie {
    Cookie { name: "session".into(), path: "/".into(), ttl: Span::secs(ttl) }
}

#[test]
fn sessions_by_cookie_and_by_header_are_read() {
    let config = good(include_str!("../../../../config/affinity-own-key.yaml"));
    let found: Vec<_> = config.services.iter().map(|service| service.affinity.clone()).collect();
    let member = Cookie { name: "member".into(), ..cookie(0) };
    let expected = [
        Affinity::HttpCookie(cookie(3600)),
        Affinity::HeaderField("x-user".into()),
        Affinity::StrongCookie(member),
    ];
    assert_eq!(found, expected);
}

/// [G 3.11]
#[test]
fn gcloud_writes_the_life_of_an_http_cookie_beside_it() {
    let lines = "sessionAffinity: HTTP_COOKIE\naffinityCookieTtlSec: 3600\nconsistentHash: {httpCookie: {name: session, path: /}}";
    assert_eq!(affinity(lines), Affinity::HttpCookie(cookie(3600)));
    let own = "sessionAffinity: HTTP_COOKIE\naffinityCookieTtlSec: 0\nconsistentHash: {httpCookie: {name: session, ttl: {seconds: 60}}}";
    assert_eq!(affinity(own), Affinity::HttpCookie(cookie(60)));
}

/// [G 3.11]
#[test]
fn what_gcloud_leaves_behind_is_accepted() {
    for lines in [
        "sessionAffinity: NONE\naffinityCookieTtlSec: 86400",
        "sessionAffinity: CLIENT_IP\nconsistentHash: {httpCookie: {name: c, path: /}}",
        "sessionAffinity: GENERATED_COOKIE\nconsistentHash: {httpHeaderName: x-user}",
    ] {
        let Resolved { config, problems } = document(&service(lines));
        assert!(config.is_some(), "{problems:?}");
    }
    affinity("sessionAffinity: CLIENT_IP\nstrongSessionAffinityCookie: null");
}

#[test]
fn a_life_of_parts_of_a_second_lasts_for_the_whole_of_it() {
    let lines = |ttl: &str| {
        let cookie = format!("strongSessionAffinityCookie: {{name: session, ttl: {ttl}}}");
        format!("sessionAffinity: STRONG_COOKIE_AFFINITY\n{cookie}")
    };
    assert_eq!(affinity(&lines("{nanos: 1}")), Affinity::StrongCookie(cookie(1)));
    assert_eq!(affinity(&lines("{seconds: '2', nanos: 0}")), Affinity::StrongCookie(cookie(2)));
    let lines =
        "sessionAffinity: HTTP_COOKIE\nconsistentHash: {httpCookie: {name: session, ttl: {nanos: 1}}}";
    assert_eq!(affinity(lines), Affinity::HttpCookie(cookie(1)));
}

/// [G 3.6]
#[test]
fn a_strong_cookie_goes_with_any_policy() {
    for policy in
        ["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV", "WEIGHTED_ROUND_ROBIN", "PREQUAL"]
    {
        let cookie = "sessionAffinity: STRONG_COOKIE_AFFINITY\nstrongSessionAffinityCookie: {name: session}";
        good(&service(&format!("{cookie}\nlocalityLbPolicy: {policy}")));
    }
}
