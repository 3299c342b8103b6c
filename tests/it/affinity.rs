//! Sessions stick, and when one must move it is served and counted with the reason [G 3].

use std::collections::HashSet;

use overspill::cli::toy::ToyBackend;
use overspill::ledger::service::{Extra, Loss};

use crate::support::backend::toy;
use crate::support::client::Answer;
use crate::support::lb::Lb;
use crate::support::setup::{FAR, NEAR, Setup, group, setup};
use crate::support::wait_until;

fn toys<const N: usize>(names: [&str; N]) -> Vec<ToyBackend> {
    names.map(toy).into()
}

fn cookies(groups: Setup) -> Setup {
    groups.service("sessionAffinity: GENERATED_COOKIE")
}

/// A request with a session's cookie.
#[track_caller]
fn with(lb: &Lb, cookie: &str) -> Answer {
    let answer = lb.client().request("GET", "/", &format!("cookie: a=b; {cookie}; c=d\r\n"), b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// A new session: its cookie as a client sends it back, and the member that served it.
#[track_caller]
fn session(lb: &Lb) -> (String, String) {
    let answer = lb.get("/");
    let cookie = answer.header("set-cookie").expect("a cookie");
    (cookie.split(';').next().unwrap().to_owned(), answer.backend().to_owned())
}

#[test]
fn g_3_3_a_cookie_is_issued_once_and_sticks_on_every_connection() {
    let toys = toys(["a", "b", "c"]);
    let lb = Lb::start(&cookies(setup(&[group("ig", NEAR).members(&toys)])).text());
    let issued = lb.get("/").header("set-cookie").unwrap().to_owned();
    assert!(issued.starts_with("GCLB=\"") && issued.ends_with("\"; path=/; HttpOnly"), "{issued}");
    let mut members = HashSet::new();
    for _ in 0..20 {
        let (cookie, member) = session(&lb);
        members.insert(member.clone());
        for _ in 0..5 {
            let answer = with(&lb, &cookie);
            assert_eq!((answer.backend(), answer.header("set-cookie")), (&*member, None));
        }
    }
    assert_eq!(members.len(), 3, "sessions are spread");
    assert_eq!((lb.extra(Extra::CookiesIssued), lb.extra(Extra::CookiesMalformed)), (21, 0));
    assert_eq!(Loss::ALL.map(|loss| lb.losses(loss)), [0; 6]);
}

#[test]
fn g_3_1_the_internal_schemes_cookie_has_another_name() {
    let toys = toys(["a"]);
    let setup =
        cookies(setup(&[group("ig", NEAR).members(&toys)])).service("loadBalancingScheme: INTERNAL_MANAGED");
    let lb = Lb::start(&setup.scheme("INTERNAL_MANAGED").text());
    assert!(lb.get("/").header("set-cookie").unwrap().starts_with("GCILB="));
}

#[test]
fn g_3_4_a_ttl_gives_the_cookie_a_date() {
    let toys = toys(["a"]);
    let setup = cookies(setup(&[group("ig", NEAR).members(&toys)])).service("affinityCookieTtlSec: 1209600");
    let lb = Lb::start(&setup.text());
    let issued = lb.get("/").header("set-cookie").unwrap().to_owned();
    let date = issued.split("; expires=").nth(1).expect("a date");
    let until = httpdate::parse_http_date(date).unwrap();
    let left = until.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((1_209_590..=1_209_600).contains(&left), "{date}");
}

#[test]
fn a_cookie_that_we_cannot_have_made_is_replaced() {
    let toys = toys(["a", "b"]);
    let lb = Lb::start(&cookies(setup(&[group("ig", NEAR).members(&toys)])).text());
    for (n, cookie) in ["GCLB=nonsense", "GCLB=", "GCLB=\"AAAA\""].into_iter().enumerate() {
        assert!(with(&lb, cookie).header("set-cookie").is_some(), "{cookie}");
        assert_eq!(lb.extra(Extra::CookiesMalformed), n as u64 + 1);
    }
}

#[test]
fn g_3_2_two_services_on_a_host_share_the_cookie() {
    let toys = toys(["a", "b", "c"]);
    let text = cookies(setup(&[group("ig", NEAR).members(&toys)])).text();
    let other = "  - name: other\n    portName: http\n    healthChecks: [basic]\n    \
                 sessionAffinity: GENERATED_COOKIE\n    backends:\n      \
                 - {group: ig, balancingMode: RATE, maxRate: 1000000}\ninstanceGroups:\n";
    let map = "{name: web-map, defaultService: web, hostRules: [{hosts: [\"*\"], pathMatcher: m}], pathMatchers: \
               [{name: m, defaultService: web, pathRules: [{paths: [/other], service: other}]}]}";
    let text = text.replace("instanceGroups:\n", other).replace("{name: web-map, defaultService: web}", map);
    let lb = Lb::start(&text);
    for _ in 0..10 {
        let (cookie, member) = session(&lb);
        let answer = lb.client().request("GET", "/other", &format!("cookie: {cookie}\r\n"), b"");
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
        assert_eq!(answer.backend(), member, "one group, one member");
    }
    assert!(lb.client().get("/other").header("set-cookie").is_some());
}

#[test]
fn client_ip_is_the_forwarded_one_behind_a_trusted_proxy_and_the_peers_otherwise() {
    let toys = toys(["a", "b", "c"]);
    let setup = setup(&[group("ig", NEAR).members(&toys)]).service("sessionAffinity: CLIENT_IP");
    let of = |lb: &Lb, client: usize| {
        let forwarded = format!("x-forwarded-for: 6.6.6.6, 9.9.9.{client}\r\n");
        let answer = lb.client().request("GET", "/", &forwarded, b"");
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
        answer.backend().to_owned()
    };
    let lb =
        Lb::start(&setup.clone().proxy("trustedProxies: [127.0.0.0/8]\n  accessLog: {path: none}").text());
    let first: Vec<_> = (0..20).map(|client| of(&lb, client)).collect();
    let again: Vec<_> = (0..20).map(|client| of(&lb, client)).collect();
    assert_eq!(first, again);
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 3, "clients are spread");
    drop(lb);
    let lb = Lb::start(&setup.text());
    assert_eq!(
        (0..20).map(|client| of(&lb, client)).collect::<HashSet<_>>().len(),
        1,
        "one peer, one member"
    );
}

#[test]
fn a_session_whose_member_is_unhealthy_moves_and_is_counted() {
    let toys = toys(["a", "b"]);
    let lb = Lb::start(&cookies(setup(&[group("ig", NEAR).members(&toys)])).text());
    let (cookie, member) = session(&lb);
    toys.iter().find(|toy| toy.name() == member).unwrap().set_health(500);
    lb.wait_health(&member, false);
    let answer = with(&lb, &cookie);
    assert_ne!(answer.backend(), member);
    assert_eq!(answer.header("set-cookie"), None, "it keeps its session");
    with(&lb, &cookie);
    assert_eq!(Loss::ALL.map(|loss| lb.losses(loss)), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_session_whose_member_is_gone_moves_and_is_counted() {
    let toys = toys(["a", "b"]);
    let group = group("ig", NEAR).members(&toys);
    let lb = Lb::start(&cookies(setup(std::slice::from_ref(&group))).text());
    let (cookie, member) = session(&lb);
    lb.reload(&cookies(setup(&[group.without(&member)])).text());
    assert_ne!(with(&lb, &cookie).backend(), member);
    assert_eq!(Loss::ALL.map(|loss| lb.losses(loss)), [0, 1, 0, 0, 0, 0]);
}

#[test]
fn a_session_whose_backend_is_drained_moves_and_is_counted() {
    let (here, there) = (toys(["a"]), toys(["b"]));
    let both = |scalers: [&str; 2]| {
        let a = group("ig-a", NEAR).members(&here).scaler(scalers[0]);
        cookies(setup(&[a, group("ig-b", NEAR).members(&there).scaler(scalers[1])])).text()
    };
    let lb = Lb::start(&both(["1", "1"]));
    let (cookie, member) = session(&lb);
    lb.reload(&both(if member == "a" { ["0", "1"] } else { ["1", "0"] }));
    assert_ne!(with(&lb, &cookie).backend(), member);
    assert_eq!(Loss::ALL.map(|loss| lb.losses(loss)), [0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_session_whose_backend_is_full_moves_and_is_counted() {
    let (near, far) = (toys(["near"]), toys(["far"]));
    let groups = [group("ig-near", NEAR).members(&near).rate(2), group("ig-far", FAR).members(&far)];
    let lb = Lb::start(&cookies(setup(&groups)).text());
    let (cookie, member) = session(&lb);
    assert_eq!(member, "near");
    wait_until("near is full", || with(&lb, &cookie).backend() == "far");
    assert_eq!(Loss::ALL.map(|loss| lb.losses(loss)), [0, 0, 0, 1, 0, 0]);
}

#[test]
fn a_session_whose_member_fails_a_request_moves_and_is_counted() {
    let (mut toys, health) = (Vec::from(["a", "b"].map(toy)), toy("health"));
    let setup = cookies(setup(&[group("ig", NEAR).members(&toys)])).probed_at(&health);
    let lb = Lb::start(&setup.text());
    let (cookie, member) = session(&lb);
    let place = toys.iter().position(|toy| toy.name() == member).unwrap();
    toys.remove(place).stop();
    assert_ne!(with(&lb, &cookie).backend(), member);
    assert_eq!(lb.losses(Loss::Failed), 1);
}
