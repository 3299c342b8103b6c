//! Everybody misbehaves at once: clients that leave anywhere, backends that break anything, members that come and go.
//!
//! What must hold at the end: nobody panicked, nothing is under way, all connections are closed, and every request
//! that was counted ended in exactly one way. The seed is printed; the same seed makes the same choices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::backend::{Scripted, toy};
use crate::support::client::Client;
use crate::support::lb::Lb;
use crate::support::setup::{FAR, NEAR, group, setup};
use crate::support::{PATIENCE, hogging, wait_until};

const SEED: u64 = 20_261_121;
const LASTS: Duration = Duration::from_secs(4);

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

fn erratic(seed: u64) -> Scripted {
    let connections = Arc::new(AtomicU64::new(seed));
    Scripted::start(move |conn| {
        let mut chance = Chance(connections.fetch_add(1, SeqCst));
        if chance.below(20) == 0 {
            return conn.reset();
        }
        while conn.head().is_some() {
            let words = match chance.below(16) {
                0 => return,
                1 => return conn.reset(),
                2 => "garbage\r\n\r\n",
                3 => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
                4 => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nbad",
                5 => "HTTP/1.1 200 OK\r\n\r\nuntil the end",
                6 => "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                7 => {
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhi"
                }
                8 => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
                _ => {
                    conn.ok("fine");
                    continue;
                }
            };
            conn.write(words);
            if chance.below(3) == 0 {
                conn.reset();
            }
            return;
        }
    })
}

/// One connection with a few requests, of which the last may be anything.
fn misbehave(chance: &mut Chance, mut client: Client) {
    for _ in 0..chance.below(4) {
        client.send("GET /first HTTP/1.1\r\nhost: a\r\n\r\n");
        if client.try_answer("GET").is_err() {
            return;
        }
    }
    let words = match chance.below(12) {
        0 => return,
        // Whoever waited after half a head would wait until its time limit, which is longer than this test.
        1 => {
            client.send("GET / HT");
            return;
        }
        2 => "nonsense\r\n\r\n",
        3 => "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\npart",
        4 => "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        5 => "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        6 => "GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\nbad\r\n\r\n",
        7 => "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello",
        8 => "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        9 => "PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n12345",
        _ => "GET /last HTTP/1.1\r\nhost: a\r\n\r\n",
    };
    client.send(words);
    match chance.below(4) {
        0 => client.reset(),
        1 => drop(client),
        2 => drop(client.finish().rest()),
        _ => drop(client.try_answer("GET")),
    }
}

#[test]
fn whatever_everybody_does_nothing_leaks_and_everything_is_counted_once() {
    let _turn = hogging();
    println!("seed {SEED}");
    let backends = [erratic(SEED), erratic(SEED + 1_000_000), erratic(SEED + 2_000_000)];
    let (good, health) = (toy("good"), toy("health"));
    let near = group("ig-near", NEAR).rate(500).member("a", &backends[0]).member("b", &backends[1]);
    let far = group("ig-far", FAR).member("c", &backends[2]).member("good", &good);
    let all = setup(&[near.clone(), far.clone()]).service("timeoutSec: 1").probed_at(&health);
    let fewer = setup(&[near.without("b"), far]).service("timeoutSec: 1").probed_at(&health);
    let affinity = all.clone().service("sessionAffinity: GENERATED_COOKIE");
    let lb = Lb::start(&all.text());
    // Whoever holds a world keeps the counts of members that a later one has not: those of `b`.
    let _first = lb.handle.world();
    let (address, end, is_over) = (lb.address(), Instant::now() + LASTS, AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut chance = Chance(SEED ^ (thread << 32));
                while !is_over.load(SeqCst) {
                    misbehave(&mut chance, Client::to(address));
                }
            });
        }
        let at_the_latest = end + PATIENCE;
        // However slow the machine is: until the good one has been asked for a while.
        while Instant::now() < end || (good.requests() <= 50 && Instant::now() < at_the_latest) {
            for text in [fewer.text(), all.text(), affinity.text()] {
                lb.reload(&text);
            }
        }
        is_over.store(true, SeqCst);
    });
    lb.reload(&all.text());
    wait_until("all connections are closed", || lb.open_connections() == 0);
    wait_until("nothing is under way", || lb.in_flight() == 0);
    // Not every attempt becomes a request: a client's bad body may stop it before its head has gone out.
    let metrics = lb.metrics();
    assert!(metrics.sum("overspill_attempts_total", &["member=\"good\""]) >= good.requests() as f64);
    let ended = metrics.sum("overspill_outcomes_total", &[]);
    assert_eq!(metrics.sum("overspill_requests_total", &[]), ended, "every request ended in one way");
    assert!(good.requests() > 50, "the good one was hardly asked: {}", good.requests());
}
