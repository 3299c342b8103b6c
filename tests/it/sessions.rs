//! The table of the README, row by row: what becomes of a session when its member is unhealthy, gone, draining, full, or
//! its backend's scaler is 0, for each affinity that a cookie or a header of one's own carries [G 3.5–3.7].

use std::collections::HashSet;

use overspill::cli::toy::ToyBackend;
use overspill::ledger::service::{Extra, Loss};

use crate::support::backend::toy;
use crate::support::client::Answer;
use crate::support::lb::Lb;
use crate::support::setup::{FAR, Group, NEAR, Setup, group, setup};
use crate::support::wait_until;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// The three affinities of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Header,
    Strong,
}

const KINDS: [Kind; 3] = [Kind::Http, Kind::Header, Kind::Strong];

fn toys<const N: usize>(names: [&str; N]) -> Vec<ToyBackend> {
    names.map(toy).into()
}

fn of(kind: Kind, groups: &[Group]) -> Setup {
    let setup = setup(groups);
    match kind {
        Kind::Http => setup
            .service("sessionAffinity: HTTP_COOKIE")
            .service("consistentHash: {httpCookie: {name: user, path: /shop, ttl: {seconds: \"60\"}}}"),
        Kind::Header => {
            setup.service("sessionAffinity: HEADER_FIELD").service("consistentHash: {httpHeaderName: X-User}")
        }
        Kind::Strong => setup
            .service("sessionAffinity: STRONG_COOKIE_AFFINITY")
            .service("strongSessionAffinityCookie: {name: member, path: /, ttl: {seconds: \"60\"}}")
            .proxy(&format!("sessionKey: {KEY}\n  accessLog: {{path: none}}")),
    }
}

fn ask(lb: &Lb, header: &str) -> Answer {
    let answer = lb.client().request("GET", "/", &format!("{header}\r\n"), b"");
    assert_eq!(answer.status, 200, "{header}: {}", answer.text());
    answer
}

/// A session that is at its member: the header that names it, and the member.
fn session(lb: &Lb, kind: Kind) -> (String, String) {
    if kind == Kind::Header {
        let header = format!("x-user: {}", lb.extra(Extra::CookiesIssued));
        let member = ask(lb, &header).backend().to_owned();
        return (header, member);
    }
    let answer = lb.get("/");
    let cookie = answer.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_owned();
    (format!("cookie: {cookie}"), answer.backend().to_owned())
}

fn losses(lb: &Lb) -> Vec<(&'static str, u64)> {
    let all = Loss::ALL.map(|loss| (loss.as_str(), lb.losses(loss)));
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_session_stays_where_it_is() {
    for kind in KINDS {
        let toys = toys(["a", "b", "c"]);
        let lb = Lb::start(&of(kind, &[group("ig", NEAR).members(&toys)]).text());
        let mut members = HashSet::new();
        for n in 0..30 {
            let (header, member) = match kind {
                Kind::Header => (format!("x-user: {n}"), String::new()),
                _ => session(&lb, kind),
            };
            let member = if member.is_empty() { ask(&lb, &header).backend().to_owned() } else { member };
            for _ in 0..4 {
                let answer = ask(&lb, &header);
                assert_eq!((answer.backend(), answer.header("set-cookie")), (&*member, None), "{kind:?}");
            }
            members.insert(member);
        }
        assert_eq!(members.len(), 3, "{kind:?}: sessions are spread");
        assert_eq!(losses(&lb), [], "{kind:?}");
    }
}

#[test]
fn g_3_5_a_missing_http_cookie_is_made_with_its_name_path_and_ttl_and_one_of_the_application_is_taken() {
    let toys = toys(["a", "b", "c"]);
    let lb = Lb::start(&of(Kind::Http, &[group("ig", NEAR).members(&toys)]).text());
    let made = lb.get("/").header("set-cookie").unwrap().to_owned();
    assert!(made.starts_with("user=\"") && made.contains("; path=/shop; HttpOnly; expires="), "{made}");
    let own = |value: &str| ask(&lb, &format!("cookie: user={value}")).backend().to_owned();
    for value in ["alice", "bob", "carol"] {
        assert_eq!(own(value), own(value));
    }
    assert_eq!(lb.extra(Extra::CookiesIssued), 1);
}

#[test]
fn without_the_header_members_are_taken_in_turn() {
    let toys = toys(["a", "b"]);
    let lb = Lb::start(&of(Kind::Header, &[group("ig", NEAR).members(&toys)]).text());
    let members: HashSet<_> = (0..8).map(|_| lb.get("/").backend().to_owned()).collect();
    assert_eq!(members.len(), 2);
}

#[test]
fn a_session_whose_member_is_unhealthy_is_served_elsewhere_and_a_strong_one_stays_there() {
    for kind in KINDS {
        let toys = toys(["a", "b"]);
        let lb = Lb::start(&of(kind, &[group("ig", NEAR).members(&toys)]).text());
        let (header, member) = session(&lb, kind);
        let sick = toys.iter().find(|toy| toy.name() == member).unwrap();
        sick.set_health(500);
        lb.wait_health(&member, false);
        let answer = ask(&lb, &header);
        assert_ne!(answer.backend(), member, "{kind:?}");
        assert_eq!(losses(&lb), [("unhealthy", 1)], "{kind:?}");
        assert_eq!(
            answer.header("set-cookie").is_some(),
            kind == Kind::Strong,
            "a strong cookie names the new one"
        );
        sick.set_health(200);
        lb.wait_health(&member, true);
        // By hash it comes home; the strong cookie names where it is now.
        let back = answer
            .header("set-cookie")
            .map_or(header, |cookie| format!("cookie: {}", cookie.split(';').next().unwrap()));
        wait_until("the plan has the member again", || lb.plan_has(&member));
        assert_eq!(ask(&lb, &back).backend() == member, kind != Kind::Strong, "{kind:?}");
    }
}

#[test]
fn a_session_whose_member_is_gone_is_served_elsewhere() {
    for kind in KINDS {
        let toys = toys(["a", "b"]);
        let all = group("ig", NEAR).members(&toys);
        let lb = Lb::start(&of(kind, std::slice::from_ref(&all)).text());
        let (header, member) = session(&lb, kind);
        lb.reload(&of(kind, &[all.without(&member)]).text());
        assert_ne!(ask(&lb, &header).backend(), member, "{kind:?}");
        assert_eq!(losses(&lb), [("gone", 1)], "{kind:?}");
    }
}

#[test]
fn g_3_6_adding_and_removing_others_moves_no_strong_session() {
    let toys = toys(["a", "b", "c", "d", "e"]);
    let with = |names: &[&str]| {
        let members = toys.iter().filter(|toy| names.contains(&toy.name()));
        let group = members.fold(group("ig", NEAR), |group, toy| group.member(toy.name(), toy));
        of(Kind::Strong, &[group]).text()
    };
    let lb = Lb::start(&with(&["a", "b", "c"]));
    let sessions: Vec<_> = (0..12).map(|_| session(&lb, Kind::Strong)).collect();
    lb.reload(&with(&["a", "c", "d", "e"]));
    for (header, member) in &sessions {
        assert_eq!(ask(&lb, header).backend() == member, member != "b", "{member}");
    }
}

#[test]
fn a_session_whose_backend_is_drained_is_served_elsewhere() {
    for kind in KINDS {
        let (here, there) = (toys(["a"]), toys(["b"]));
        let both = |scalers: [&str; 2]| {
            let a = group("ig-a", NEAR).members(&here).scaler(scalers[0]);
            of(kind, &[a, group("ig-b", NEAR).members(&there).scaler(scalers[1])]).text()
        };
        let lb = Lb::start(&both(["1", "1"]));
        let (header, member) = session(&lb, kind);
        lb.reload(&both(if member == "a" { ["0", "1"] } else { ["1", "0"] }));
        assert_ne!(ask(&lb, &header).backend(), member, "{kind:?}");
        assert_eq!(losses(&lb), [("drained", 1)], "{kind:?}");
    }
}

#[test]
fn a_session_whose_backend_is_full_is_served_elsewhere_and_a_strong_one_stays_above_the_target() {
    for kind in KINDS {
        let (near, far) = (toys(["near"]), toys(["far"]));
        let groups = [group("ig-near", NEAR).members(&near).rate(2), group("ig-far", FAR).members(&far)];
        let lb = Lb::start(&of(kind, &groups).text());
        let (header, member) = session(&lb, kind);
        assert_eq!(member, "near");
        if kind == Kind::Strong {
            for _ in 0..20 {
                assert_eq!(ask(&lb, &header).backend(), "near");
            }
            assert_eq!(losses(&lb), []);
        } else {
            wait_until("near is full", || ask(&lb, &header).backend() == "far");
            assert_eq!(losses(&lb), [("full", 1)], "{kind:?}");
        }
    }
}

#[test]
fn g_3_6_with_overload_reject_a_full_service_keeps_strong_sessions_and_refuses_new_ones() {
    let near = toys(["near-1", "near-2"]);
    let setup = of(Kind::Strong, &[group("ig-near", NEAR).members(&near).rate(2)]);
    let lb = Lb::start(&setup.service("overload: REJECT").text());
    let (header, member) = session(&lb, Kind::Strong);
    wait_until("the service is full", || lb.get("/").status == 503);
    for _ in 0..20 {
        assert_eq!(ask(&lb, &header).backend(), member);
    }
    assert_eq!(losses(&lb), []);
}

#[test]
fn a_session_whose_member_fails_a_request_is_served_elsewhere() {
    for kind in KINDS {
        let (mut toys, health) = (Vec::from(["a", "b"].map(toy)), toy("health"));
        let setup = of(kind, &[group("ig", NEAR).members(&toys)]).probed_at(&health);
        let lb = Lb::start(&setup.text());
        let (header, member) = session(&lb, kind);
        let place = toys.iter().position(|toy| toy.name() == member).unwrap();
        toys.remove(place).stop();
        let answer = ask(&lb, &header);
        assert_ne!(answer.backend(), member, "{kind:?}");
        assert_eq!(lb.losses(Loss::Failed), 1, "{kind:?}");
        assert_eq!(answer.header("set-cookie").is_some(), kind == Kind::Strong, "{kind:?}");
    }
}

#[test]
fn a_forged_strong_cookie_names_nobody_and_is_replaced() {
    let toys = toys(["a", "b"]);
    let lb = Lb::start(&of(Kind::Strong, &[group("ig", NEAR).members(&toys)]).text());
    let (header, _) = session(&lb, Kind::Strong);
    let swapped = match header.chars().last() {
        Some('"') => header.replacen("=\"", "=\"B", 1),
        _ => header.clone() + "A",
    };
    for forged in ["cookie: member=nonsense", "cookie: member=", &swapped] {
        assert!(ask(&lb, forged).header("set-cookie").is_some(), "{forged}");
    }
    assert_eq!(lb.extra(Extra::CookiesMalformed), 3);
    assert_eq!(losses(&lb), []);
}

#[test]
fn a_strong_cookie_outlives_a_restart_when_the_key_is_given() {
    let toys = toys(["a", "b", "c"]);
    let text = of(Kind::Strong, &[group("ig", NEAR).members(&toys)]).text();
    let sessions: Vec<_> = {
        let lb = Lb::start(&text);
        (0..9).map(|_| session(&lb, Kind::Strong)).collect()
    };
    let lb = Lb::start(&text);
    for (header, member) in &sessions {
        assert_eq!(ask(&lb, header).backend(), member);
    }
}
