//! A binary upgrade, seen from outside: real processes, signals, sockets that are handed over, systemd's protocol.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use overspill::net::inherit::Channel;
use rustls::crypto::ring;

use crate::support::backend::toy;
use crate::support::client::Client;
use crate::support::installed::{Installation, free, signal};
use crate::support::setup::{NEAR, Setup, group, setup};
use crate::support::tls::{Authority, Tls, https};
use crate::support::{PATIENCE, hogging, wait_until};

/// Clients that ask on and on, until told; any request without a whole 200 is told.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failures: Arc::default(),
            threads: Vec::new(),
        };
        for pause in [None, None, Some(Duration::ZERO), Some(Duration::ZERO), Some(Duration::from_millis(30))]
        {
            let (stop, answered) = (load.stop.clone(), load.answered.clone());
            let failures = load.failures.clone();
            load.threads.push(std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    if let Err(why) = converse(address, pause, &stop, &answered) {
                        failures.lock().unwrap().push(why);
                    }
                }
            }));
        }
        load
    }

    #[track_caller]
    fn goes_on(&self) {
        let so_far = self.answered.load(SeqCst);
        wait_until("the load goes on", || self.answered.load(SeqCst) > so_far + 200);
    }

    #[track_caller]
    fn end(self) {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        let failures = self.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} of {} failed: {failures:?}",
            failures.len(),
            self.answered.load(SeqCst)
        );
    }
}

/// One connection: a single request without a `pause`, else requests until the answer says that it was the last.
fn converse(
    address: SocketAddr,
    pause: Option<Duration>,
    stop: &AtomicBool,
    answered: &AtomicU64,
) -> Result<(), String> {
    let mut client = Client::to(address);
    loop {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = client.try_answer("GET").map_err(|cut| format!("{pause:?}: {cut:?}"))?;
        if answer.status != 200 {
            return Err(format!("{pause:?}: {}", answer.status));
        }
        answered.fetch_add(1, SeqCst);
        let is_last = answer.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        match pause {
            Some(pause) if !is_last && !stop.load(SeqCst) => std::thread::sleep(pause),
            _ => return Ok(()),
        }
    }
}

#[test]
fn an_upgrade_under_full_load_loses_no_request_whatever_the_number_of_workers() {
    let _alone = hogging();
    let toys = [toy("a"), toy("b")];
    let with = |workers: u32| {
        let proxy = format!("accessLog: {{path: none}}\n  workers: {workers}");
        setup(&[group("ig", NEAR).members(&toys)]).proxy(&proxy)
    };
    let installed = Installation::new("load", &with(2));
    let mut served = installed.serve();
    let first = installed.pid();
    let load = Load::start(installed.front);
    load.goes_on();
    let mut pids = vec![first];
    for workers in [3, 1, 1] {
        installed.write(&installed.text(&with(workers)));
        pids.push(installed.upgraded());
        load.goes_on();
        wait_until("the new process answers", || installed.pid() == *pids.last().unwrap());
        assert_eq!(installed.status()["process"]["workers"], workers);
    }
    assert_eq!(served.wait_end(), Some(0), "{}", installed.log());
    load.goes_on();
    load.end();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4, "each time another process");
}

#[test]
fn health_and_its_history_are_known_at_once_after_an_upgrade() {
    let toys = [toy("well"), toy("sick")];
    toys[1].set_health(500);
    let seldom = setup(&[group("ig", NEAR).members(&toys)]).thresholds(1, 1);
    let installed = Installation::new("known", &seldom);
    installed.write(&installed.text(&seldom).replace("checkIntervalSec: 1", "checkIntervalSec: 300"));
    let _served = installed.serve();
    let health = || {
        let status = installed.status();
        let members = status["services"][0]["backends"][0]["members"].clone();
        [0, 1].map(|n| {
            let member = &members[n];
            (member["healthState"].as_str().unwrap().to_owned(), member["lastProbe"]["reason"].to_string())
        })
    };
    let before = health();
    assert_eq!((&*before[0].0, &*before[1].0), ("HEALTHY", "UNHEALTHY"));
    // A process that had to ask would hear the opposite.
    toys[0].set_health(500);
    toys[1].set_health(200);
    let (old, new) = (installed.pid(), installed.upgraded());
    assert_ne!(old, new);
    wait_until("the new process answers", || installed.pid() == new);
    assert_eq!(health(), before);
    assert_eq!(installed.get(), "well");
}

#[test]
fn what_fails_to_start_leaves_the_old_process_as_it_was_and_is_told() {
    let a = toy("a");
    let good = setup(&[group("ig", NEAR).member("a", &a)]);
    let installed = Installation::new("fails", &good);
    let mut served = installed.serve();
    let pid = installed.pid();

    installed.write("backendServices: [");
    assert!(installed.refused().contains("overspill.yaml:1"), "{}", installed.log());
    let link = installed.binary();
    let replace = |what: &str| {
        std::fs::remove_file(&link).unwrap();
        std::fs::write(&link, what).unwrap();
        assert!(Command::new("chmod").arg("+x").arg(&link).status().unwrap().success());
    };
    replace("#!/bin/sh\nexit 3\n");
    assert!(installed.refused().contains("exited with code 3"));
    replace("this is no program\n\0");
    assert!(installed.refused().contains("cannot be started"));

    let status = installed.status();
    assert_eq!((&status["upgrade"]["phase"], &status["upgrade"]["failed"]), (&"failed".into(), &3.into()));
    assert!(status["upgrade"]["why"].as_str().unwrap().contains("cannot be started"));
    assert!(installed.metric("overspill_upgrades_failed_total 3"));
    assert!(installed.log().contains("this process goes on"));
    assert_eq!((installed.pid(), installed.get()), (pid, "a".to_owned()));

    // And it can still be upgraded, when all is well again.
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_overspill"), &link).unwrap();
    installed.write(&installed.text(&good));
    assert_ne!(installed.upgraded(), pid);
    assert_eq!(served.wait_end(), Some(0));
    assert_eq!(installed.get(), "a");
}

#[test]
fn a_successor_that_is_not_ready_in_time_is_ended_and_two_at_once_are_refused() {
    let (a, mute) = (toy("a"), TcpListener::bind("127.0.0.1:0").unwrap());
    let proxy = "accessLog: {path: none}\n  upgradeTimeoutSec: 3";
    let first = setup(&[group("ig", NEAR).member("a", &a)]).proxy(proxy);
    // Its first probe takes longer than a successor may.
    let second = setup(&[group("ig", NEAR).member("a", &a).member("mute", &mute.local_addr().unwrap())]);
    let patient = |setup: &Setup, of: &Installation| {
        let text = of.text(setup).replace("timeoutSec: 1,", "timeoutSec: 60,");
        text.replace("checkIntervalSec: 1,", "checkIntervalSec: 60,")
    };
    let installed = Installation::new("slow", &first);
    let served = installed.serve();
    installed.write(&patient(&second.proxy(proxy), &installed));
    wait_until("the member is there", || installed.metric("overspill_config_generation 2"));
    served.signal("USR2");
    wait_until("it has begun", || installed.status()["upgrade"]["phase"] == "running");
    assert!(installed.refused().contains("under way already"));
    served.signal("USR2");
    wait_until("it was given up", || installed.status()["upgrade"]["phase"] == "failed");
    let why = installed.status()["upgrade"]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("not ready within 3 s"), "{why}");
    assert_eq!(installed.status()["upgrade"]["failed"], 1);
    assert_eq!((installed.pid(), installed.get()), (served.child.id().into(), "a".to_owned()));
}

#[test]
fn a_successor_that_does_not_understand_the_state_finds_out_by_itself_before_it_accepts() {
    let a = toy("a");
    let installed = Installation::new("stranger", &setup(&[group("ig", NEAR).member("a", &a)]));
    let socket = TcpListener::bind(installed.front).unwrap();
    let mut early = Client::to(installed.front);
    early.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let (old, its_end) = Channel::pair().unwrap();
    let mut command = installed.prepare(Command::new(installed.binary()));
    command.env("OVERSPILL_HANDOVER", "1").stdin(its_end);
    let _served = installed.own(command.spawn().unwrap());
    // Ours too: or the end of the child would not be heard.
    drop(command);
    let letter = serde_json::json!({
        "listeners": [{"name": "web", "configured": installed.front, "sockets": 1}],
        "estate": {"version": 99, "members": "a word that no version knows"},
        "more": "than this version knows",
    });
    old.send(letter.to_string().as_bytes(), &[socket.as_fd()]).unwrap();
    drop(socket);
    let (answer, _) = old.receive().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer, serde_json::json!({"ready": true, "quic": []}), "{}", installed.log());
    // With its own verdict: a member that is not known to be healthy would have meant 503.
    assert_eq!(early.answer().backend(), "a");
    old.send(b"{}", &[]).unwrap();
    wait_until("it serves the admin address", || installed.is_ready());
    assert!(installed.log().contains("starting afresh"), "{}", installed.log());
}

#[test]
fn sockets_of_socket_activation_are_served_by_name_and_by_address() {
    let a = toy("a");
    let one = setup(&[group("ig", NEAR).member("a", &a)]);
    for named in ["LISTEN_FDNAMES=web", "LISTEN_FDNAMES=other"] {
        let installed = Installation::new(&format!("fds-{}", named.len()), &one);
        // By name the rule's own address does not matter, and nobody listens there.
        let is_named = named.ends_with("web");
        let at = if is_named { free() } else { installed.front };
        let socket = TcpListener::bind(at).unwrap();
        // Waits in the queue since before the process was there.
        let mut early = Client::to(at);
        let script = format!("exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 {named} exec \"$0\" \"$@\"");
        let _served = installed.serve_by(&script, |command| {
            command.stdin(OwnedFd::from(socket));
        });
        assert_eq!(early.get("/").backend(), "a");
        assert_eq!(Client::to(at).get("/").backend(), "a");
        assert_eq!(installed.status()["listeners"][0]["bound"], at.to_string());
        if is_named {
            assert!(std::net::TcpStream::connect(installed.front).is_err());
        }
        installed.upgraded();
        assert_eq!(Client::to(at).get("/").backend(), "a", "{}", installed.log());
    }
}

#[test]
fn sessions_of_tls_are_taken_up_again_after_an_upgrade() {
    let a = toy("a");
    let setup = setup(&[group("ig", NEAR).member("a", &a)]);
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let installed = Installation::new("sessions", &setup);
    let with = setup.clone().fronts(&[("web", &installed.front.port().to_string())]);
    let own = format!("IPAddress: {}", installed.front.ip());
    installed.write(&https(&with, &[("web", &pair)], "", "").replace("IPAddress: 127.0.0.1", &own));
    let _served = installed.serve();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = Arc::new(authority.trusting_with(ring::default_provider(), &[version], None));
        let is_resumed = || {
            let mut tls = Tls::connect(installed.front, &client, "web.example").unwrap();
            assert_eq!(tls.get("/").unwrap().status, 200);
            tls.is_resumed()
        };
        assert!(!is_resumed(), "{version:?}");
        for _ in 0..2 {
            let new = installed.upgraded();
            wait_until("the new process answers", || installed.pid() == new);
            wait_until("the old one accepts nothing more", &is_resumed);
        }
    }
}

#[test]
fn who_was_ejected_stays_out_after_an_upgrade() {
    let toys = [toy("good"), toy("bad")];
    toys[1].change(|settings| settings.status = 503);
    let setup = setup(&[group("ig", NEAR).members(&toys)]).service(
        "outlierDetection: {consecutiveGatewayFailure: 3, baseEjectionTime: {seconds: 3000}, maxEjectionPercent: 50}",
    );
    let installed = Installation::new("ejected", &setup);
    let _served = installed.serve();
    let shown = || {
        let members = installed.status()["services"][0]["backends"][0]["members"].clone();
        [0, 1].map(|n| members[n]["ejected"] == true)
    };
    wait_until("it is ejected", || {
        Client::to(installed.front).get("/");
        shown() == [false, true]
    });
    let new = installed.upgraded();
    wait_until("the new process answers", || installed.pid() == new);
    assert_eq!(shown(), [false, true]);
    let before = toys[1].requests();
    for _ in 0..20 {
        assert_eq!(installed.get(), "good");
    }
    assert_eq!(toys[1].requests(), before);
}

/// What systemd would hear.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    /// The next message that is no sign of life.
    #[track_caller]
    fn hears(&self) -> String {
        loop {
            let message = self.message();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    #[track_caller]
    fn message(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("nothing was said");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

#[test]
fn systemd_hears_ready_reloading_who_is_in_charge_and_stopping() {
    let a = toy("a");
    let installed = Installation::new("notify", &setup(&[group("ig", NEAR).member("a", &a)]));
    let manager = Manager::new(&installed.folder);
    let mut served = installed.serve_by("WATCHDOG_PID=$$ exec \"$0\" \"$@\"", |command| {
        command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "400000");
    });
    let first = served.child.id();
    assert_eq!(manager.hears(), format!("MAINPID={first}\nREADY=1\n"));
    while manager.message() != "WATCHDOG=1\n" {}
    served.signal("HUP");
    let reloading = manager.hears();
    let (word, time) = reloading.split_once('\n').unwrap();
    assert_eq!(word, "RELOADING=1");
    let micros: u64 = time.trim().strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(micros > 0);
    assert!(manager.hears().starts_with("READY=1\n"));

    let second = installed.upgraded();
    assert_eq!(manager.hears(), format!("MAINPID={second}\n"));
    assert_eq!(manager.hears(), format!("MAINPID={second}\nREADY=1\n"));
    assert_eq!(served.wait_end(), Some(0));
    while manager.message() != "WATCHDOG=1\n" {}
    signal("TERM", second);
    assert_eq!(manager.hears(), "STOPPING=1\n");
}

#[test]
fn a_process_of_root_goes_on_as_the_user_that_it_is_told() {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    let a = toy("a");
    let installed = Installation::new("user", &setup(&[group("ig", NEAR).member("a", &a)]));
    if id != b"0\n" {
        let output =
            installed.prepare(Command::new(installed.binary())).args(["--user", "root"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        return;
    }
    let mut command = installed.prepare(Command::new(installed.binary()));
    command.args(["--user", "nobody"]);
    let served = installed.spawn(command);
    let of = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).unwrap();
    let nobody = Command::new("id").args(["-u", "nobody"]).output().unwrap().stdout;
    let nobody = String::from_utf8(nobody).unwrap();
    let line = of.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert!(line.split_whitespace().skip(1).all(|uid| uid == nobody.trim()), "{line}");
    let groups = of.lines().find(|line| line.starts_with("Groups:")).unwrap();
    assert!(groups.split_whitespace().skip(1).all(|group| group != "0"), "{groups}");
    assert_eq!(installed.get(), "a");
}
