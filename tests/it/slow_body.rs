//! A floor under the rate of request bodies: `minBodyRate` [G 5.6].

use overspill::ledger::process::Traffic;
use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, toy};
use crate::support::lb::Lb;
use crate::support::setup::scripted;
use crate::support::wait_until;

#[test]
fn g_5_6_a_body_that_trickles_ends_long_before_its_time_and_a_member_that_is_slow_does_not_count() {
    let health = toy("health");
    let backend = Scripted::good();
    let setup = scripted(&backend, &health).service("timeoutSec: 86400");
    let lb = Lb::start(&setup.text());
    let mut slow = lb.client();
    slow.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc");
    // No byte comes for 20 s: well beyond the patience of one wait on a busy machine.
    wait_until("time is up", || lb.handle.process().sum(Traffic::SlowBodies) == 1);
    let answer = slow.answer();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(answer.text().contains("client_timed_out"), "{}", answer.text());
    slow.assert_closed();
    lb.wait_ended(StatusDetail::ClientTimedOut, 1);
    assert_eq!(lb.metrics().sum("overspill_slow_bodies_total", &[]), 1.0);
    let whole = lb.client().request("POST", "/", "", b"all at once");
    assert_eq!(whole.status, 200);
}
