//! Listeners and members at addresses of the other family.

use std::net::TcpListener;

use overspill::cli::toy::{Options, ToyBackend};

use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, setup};

#[test]
fn a_listener_and_a_member_may_have_ipv6_addresses() {
    let Ok(free) = TcpListener::bind("[::1]:0") else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    let listen = free.local_addr().unwrap();
    drop(free);
    let toy = ToyBackend::start(Options { listen: (listen.ip(), 0).into(), ..Options::new("six") }).unwrap();
    let text = setup(&[group("ig", NEAR).member("six", &toy)]).text();
    let text = text.replace("IPAddress: 127.0.0.1,", "IPAddress: \"::1\",");
    let lb = Lb::start(&text.replace("ipAddress: ::1,", "ipAddress: \"::1\","));
    assert!(lb.address().is_ipv6() && toy.address().is_ipv6());
    let mut client = lb.client();
    for _ in 0..3 {
        let answer = client.request("POST", "/?echo", "", b"by six");
        assert_eq!((answer.status, answer.backend(), answer.text().as_str()), (200, "six", "by six"));
    }
    let members = &lb.status()["services"][0]["backends"][0]["members"];
    assert_eq!(members[0]["address"], toy.address().to_string());
}
