//! Affinity cookies in headers of any bytes: a strong one that nobody signed is never believed.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use overspill::model::resolve;
use overspill::model::service::{Affinity, Cookie, Service};
use overspill::model::unit::Span;
use overspill::proxy::session::strong::{Named, Signer};
use overspill::proxy::session::{Reading, read};
use ring::hmac;

use crate::run::fuzz;
use crate::{kind, texts};

const KEY: [u8; 32] = [7; 32];
const NAMED: Named = Named { backend: 7, member: u64::MAX };
/// The second at which the second of the good cookies ends.
const END: u64 = 2_000;
const WORDS: &[&str] = &[
    "GCLB",
    "GCLB=",
    "affinity=",
    "\"",
    "; ",
    "$Version=1",
    "=",
    "AAAAAAAAAAAAAAAAAAAABw",
    "%47CLB",
    "__Host-GCLB=",
];

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000)
}

/// What the documentation of strong cookies says, written down a second time.
fn sealed(service: &str, named: Named, end: u64, key: &[u8]) -> String {
    let bytes = [named.backend, named.member, end].map(u64::to_be_bytes).concat();
    let signed = [&bytes, service.as_bytes()].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &signed);
    URL_SAFE_NO_PAD.encode([&bytes, tag.as_ref()].concat())
}

#[test]
fn a_cookie_is_read_without_harm_and_a_strong_one_only_as_it_was_signed() {
    let config = resolve::document(include_str!("../../config/affinity-cookie.yaml")).config.unwrap();
    let service = Service::clone(&config.services[0]);
    let good = [sealed(&service.name, NAMED, 0, &KEY), sealed(&service.name, NAMED, END, &KEY)];
    let bad = [
        sealed(&service.name, NAMED, 999, &KEY),
        sealed(&service.name, NAMED, 0, &[8; 32]),
        sealed("another", NAMED, 0, &KEY),
    ];
    let mut seeds =
        texts(&["GCLB=AAAAAAAAAAAAAAAAAAAABw", "a=b; GCLB=\"AAAAAAAAAAAAAAAAAAAABw\"\nGCLB=x; affinity=y"]);
    seeds.extend(good.iter().chain(&bad).map(|value| format!("a=b; affinity=\"{value}\"; c=d").into_bytes()));
    seeds.push(format!("affinity={}; affinity={}", bad[1], good[0]).into_bytes());
    let services = services(&service);
    let signer = Signer::new(&KEY);
    fuzz("cookie", seeds, WORDS, |input| check(input, &services, &signer, &good));
}

/// The same service with each kind of affinity that goes by a cookie or a header.
fn services(service: &Service) -> Vec<Service> {
    let cookie = || Cookie { name: "affinity".into(), path: "/".into(), ttl: Span::ZERO };
    let kinds = [
        Affinity::GeneratedCookie { ttl: Span::ZERO },
        Affinity::HttpCookie(cookie()),
        Affinity::StrongCookie(cookie()),
        Affinity::HeaderField("cookie".into()),
        Affinity::ClientIp,
    ];
    kinds.into_iter().map(|affinity| Service { affinity, ..service.clone() }).collect()
}

fn check(input: &[u8], services: &[Service], signer: &Signer, good: &[String]) -> u64 {
    let mut headers = HeaderMap::new();
    for value in input.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(COOKIE, value);
    }
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let readings: Vec<_> = services
        .iter()
        .map(|service| {
            let ask = || read(service, &headers, (address, address), (Some(signer), now));
            let reading = ask();
            assert_eq!(reading, ask(), "the same each time");
            if let Reading::Named(named) = reading {
                let text = String::from_utf8_lossy(input);
                assert!(good.iter().any(|value| text.contains(value)), "believed, and never signed");
                assert_eq!(named, NAMED);
            }
            let is_strong = matches!(service.affinity, Affinity::StrongCookie(_));
            assert!(!(is_strong && matches!(reading, Reading::Key(_))), "a strong cookie is no key");
            let without = read(service, &headers, (address, address), (None, now));
            assert!(!matches!(without, Reading::Named(_)), "nobody is there to judge it");
            std::mem::discriminant(&reading)
        })
        .collect();
    kind((readings, headers.len().min(4)))
}
