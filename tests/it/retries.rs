//! Dead connections and failing members: what is sent again, where, and what never is [G 5.7, 5.8].

use overspill::cli::load::{Load, Options};
use overspill::ledger::service::Extra;
use overspill::model::detail::StatusDetail;

use crate::support::backend::{Conn, Scripted, toy};
use crate::support::lb::Lb;
use crate::support::setup::{FAR, NEAR, NEAR_B, group, scripted, setup};
use crate::support::{own_address, wait_until};

/// Serves `served` requests on each connection, then does `last` to it, silently as far as headers go.
fn closing(served: usize, last: impl Fn(&mut Conn) + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |conn| {
        for _ in 0..served {
            if conn.request().is_none() || !conn.ok("ok") {
                return;
            }
        }
        last(conn);
    })
}

fn hammer(backend: &Scripted, method: &str, times: usize) -> Lb {
    let health = toy("health");
    let lb = Lb::start(&scripted(backend, &health).text());
    let mut client = lb.client();
    for n in 0..times {
        let answer = client.request(method, &format!("/{n}"), "", b"");
        assert_eq!(answer.status, 200, "request {n}: {}", answer.text());
    }
    lb
}

#[test]
fn a_backend_that_closes_after_every_third_answer_is_no_failure() {
    let backend = closing(3, |_| {});
    let lb = hammer(&backend, "GET", 300);
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 300);
    assert_eq!(lb.extra(Extra::Retries), 0);
}

#[test]
fn a_backend_that_resets_after_every_third_answer_is_no_failure() {
    let lb = hammer(&closing(3, Conn::reset), "GET", 300);
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 300);
}

#[test]
fn a_kept_connection_that_closes_when_it_is_used_again_is_replayed_on_a_fresh_one() {
    let backend = closing(1, |conn| drop(conn.head()));
    let lb = hammer(&backend, "GET", 50);
    // The first connection is fresh; each replay opens one that serves its one request.
    assert_eq!((backend.requests(), lb.extra(Extra::Replays), lb.extra(Extra::Retries)), (50, 49, 0));
}

#[test]
fn a_kept_connection_that_resets_when_it_is_used_again_is_replayed_on_a_fresh_one() {
    let backend = closing(1, |conn| {
        conn.head();
        conn.reset();
    });
    let lb = hammer(&backend, "DELETE", 50);
    assert_eq!((backend.requests(), lb.extra(Extra::Replays)), (50, 49));
}

#[test]
fn what_is_not_idempotent_is_not_sent_twice_even_on_a_kept_connection() {
    let backend = closing(1, |conn| drop(conn.request()));
    let health = toy("health");
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    assert_eq!(client.request("POST", "/first", "", b"x").status, 200);
    assert_eq!(client.request("POST", "/second", "", b"x").status, 503);
    let lines: Vec<_> = backend.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(lines, ["POST /first HTTP/1.1", "POST /second HTTP/1.1"]);
    lb.wait_ended(StatusDetail::BackendConnectionClosedBeforeData, 1);
}

#[test]
fn a_post_after_a_silently_closed_connection_is_sent_on_a_fresh_one() {
    let backend = closing(1, |_| {});
    let health = toy("health");
    let lb = Lb::start(&scripted(&backend, &health).text());
    for n in 1..20 {
        assert_eq!(lb.client().request("POST", "/", "", b"x").status, 200);
        wait_until("the backend has closed", || backend.ended() == n);
    }
}

/// One member that ends each connection after a request without an answer, and one that answers.
fn one_bad_one_good(last: impl Fn(&mut Conn) + Send + Sync + 'static) -> (Scripted, Scripted, Lb) {
    let bad = Scripted::start(move |conn| {
        if conn.request().is_some() {
            last(conn);
        }
    });
    let (good, health) = (Scripted::good(), toy("health"));
    let setup = setup(&[group("ig", NEAR).member("bad", &bad).member("good", &good)]).probed_at(&health);
    let lb = Lb::start(&setup.text());
    // The check's toy may go: the next sweep is a second away, and one failure is no verdict with a threshold of 10.
    let lb_setup = setup.thresholds(1, 10);
    lb.reload(&lb_setup.text());
    (bad, good, lb)
}

#[test]
fn g_5_7_a_get_is_retried_once_on_another_member() {
    let (bad, good, lb) = one_bad_one_good(Conn::reset);
    for _ in 0..10 {
        let answer = lb.get("/");
        assert_eq!((answer.status, answer.text()), (200, "good".to_owned()));
    }
    assert!(bad.requests() >= 4, "half of the requests begin at the bad one: {}", bad.requests());
    assert_eq!((good.requests(), lb.extra(Extra::Retries)), (10, bad.requests() as u64));
    lb.wait_sum("overspill_attempts_failed_total", &["member=\"bad\""], bad.requests() as f64);
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 10);
}

#[test]
fn g_5_7_a_post_is_not_retried_once_it_was_sent() {
    let (bad, good, lb) = one_bad_one_good(|_| {});
    let statuses: Vec<_> = (0..10).map(|_| lb.client().request("POST", "/", "", b"body").status).collect();
    let failed = statuses.iter().filter(|status| **status == 503).count();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count() + failed, 10);
    assert_eq!((bad.requests(), good.requests(), lb.extra(Extra::Retries)), (failed, 10 - failed, 0));
    assert!(failed >= 4);
    lb.wait_ended(StatusDetail::BackendConnectionClosedBeforeData, failed as u64);
}

#[test]
fn g_5_7_when_the_second_member_fails_too_the_client_is_told() {
    let [a, b] = [(), ()].map(|()| Scripted::start(|conn| drop(conn.request())));
    let health = toy("health");
    let setup = setup(&[group("ig", NEAR).member("a", &a).member("b", &b)]).probed_at(&health);
    let lb = Lb::start(&setup.text());
    let answer = lb.get("/");
    assert_eq!(answer.status, 503);
    assert!(
        answer.text().contains("backend_connection_closed_before_data_sent_to_client"),
        "{}",
        answer.text()
    );
    assert_eq!((a.requests(), b.requests(), lb.extra(Extra::Retries)), (1, 1, 1));
}

#[test]
fn a_refused_connection_moves_any_request_on_to_another_member() {
    let nobody = own_address();
    let (good, health) = (Scripted::good(), toy("health"));
    let setup =
        setup(&[group("ig", NEAR).member("nobody", &nobody).member("good", &good)]).probed_at(&health);
    let lb = Lb::start(&setup.text());
    for _ in 0..10 {
        assert_eq!(lb.client().request("POST", "/", "", b"body").status, 200);
    }
    assert_eq!(good.requests(), 10);
    assert!(lb.extra(Extra::Retries) >= 4);
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 10);
}

#[test]
fn a_dead_near_group_costs_no_request_while_the_far_tier_has_room() {
    let (good, health) = (Scripted::good(), toy("health"));
    let dead = |name: &str, zone| {
        (0..6).fold(group(name, zone), |group, n| group.member(&format!("{name}-{n}"), &own_address()))
    };
    let groups = [dead("ig-a", NEAR), dead("ig-b", NEAR_B), group("ig-far", FAR).member("good", &good)];
    let lb = Lb::start(&setup(&groups).probed_at(&health).text());
    for _ in 0..20 {
        assert_eq!(lb.client().request("POST", "/", "", b"body").status, 200);
    }
    assert_eq!((good.requests(), lb.extra(Extra::Retries)), (20, 60), "three near, the fourth far");
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 20);
}

#[test]
fn when_nobody_can_be_connected_to_the_answer_says_so() {
    let nobody = own_address();
    let health = toy("health");
    let lb = Lb::start(&setup(&[group("ig", NEAR).member("nobody", &nobody)]).probed_at(&health).text());
    let answer = lb.get("/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("failed_to_connect_to_backend"), "{}", answer.text());
    lb.wait_ended(StatusDetail::FailedToConnectToBackend, 1);
}

#[test]
fn g_4_16_without_a_healthy_member_the_answer_is_503_failed_to_pick() {
    let toys = [toy("sick")];
    toys[0].set_health(500);
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    let answer = lb.get("/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("failed_to_pick_backend"), "{}", answer.text());
    lb.wait_ended(StatusDetail::FailedToPickBackend, 1);
}

#[test]
fn g_4_16_the_classic_scheme_answers_502() {
    let toys = [toy("sick")];
    toys[0].set_health(500);
    let setup = setup(&[group("ig", NEAR).members(&toys)])
        .service("loadBalancingScheme: EXTERNAL")
        .scheme("EXTERNAL");
    let lb = Lb::start(&setup.text());
    assert_eq!(lb.get("/").status, 502);
}

#[test]
fn a_member_killed_under_load_costs_nothing_but_what_it_had_in_hand() {
    let mut toys: Vec<_> = ["a", "b", "c"].map(toy).into();
    // Three failed probes are a verdict: traffic is sure to find the dead member before.
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    let load = Load::start(Options::new(lb.address(), 200.0)).unwrap();
    wait_until("the load runs", || load.stats().answered() >= 150);
    toys.remove(0).stop();
    let failed = || lb.metrics().sum("overspill_attempts_failed_total", &["member=\"a\""]);
    wait_until("a request was sent to the dead member", || failed() > 0.0);
    lb.wait_health("a", false);
    let after = load.stats();
    wait_until("the load goes on", || load.stats().since(&after).answered() >= 150);
    let stats = load.stop();
    assert_eq!(stats.failed(), 0, "{stats:?}");
}

#[test]
fn many_clients_at_once_never_meet_a_dead_connection() {
    let health = toy("health");
    let backends = [closing(3, |_| {}), closing(2, Conn::reset), closing(1, |conn| drop(conn.head()))];
    let group =
        group("ig", NEAR).member("a", &backends[0]).member("b", &backends[1]).member("c", &backends[2]);
    let lb = Lb::start(&setup(&[group]).probed_at(&health).text());
    let load = Load::start(Options::new(lb.address(), 300.0)).unwrap();
    wait_until("the load has run", || load.stats().sent >= 900);
    let stats = load.stop();
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");
}
