//! The program itself: `serve`, a file that is edited, signals, and the admin address (design.md 6, 7).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::backend::toy;
use crate::support::client::Client;
use crate::support::setup::{NEAR, Setup, group, setup};
use crate::support::{own_address, wait_until};

/// A running `overspill serve` with its file; killed when dropped.
struct Serve {
    child: Child,
    file: PathBuf,
    front: SocketAddr,
    admin: SocketAddr,
}

impl Serve {
    fn start(name: &str, setup: &Setup) -> Self {
        let (front, admin) = (own_address(), own_address());
        let folder = std::env::temp_dir().join(format!("overspill-it-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("overspill.yaml");
        std::fs::write(&file, Self::at(front, setup)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_overspill"))
            .args(["serve", "-c", file.to_str().unwrap(), "--admin", &admin.to_string(), "--workers", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let serve = Self { child, file, front, admin };
        wait_until("it is ready", || {
            let up = std::net::TcpStream::connect(serve.admin).is_ok();
            up && Client::to_admin(serve.admin).get("/readyz").status == 200
        });
        serve
    }

    fn at(front: SocketAddr, setup: &Setup) -> String {
        let text = setup.clone().fronts(&[("web", &front.port().to_string())]).text();
        text.replace("IPAddress: 127.0.0.1,", &format!("IPAddress: {},", front.ip()))
    }

    /// As editors write: a new file in the old one's place.
    fn replace(&self, text: &str) {
        let aside = self.file.with_extension("new");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(&aside, &self.file).unwrap();
    }

    fn get(&self) -> String {
        Client::to(self.front).get("/").backend().to_owned()
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&Client::to_admin(self.admin).get("/status").body).unwrap()
    }

    fn metric(&self, line: &str) -> bool {
        Client::to_admin(self.admin).get("/metrics").text().lines().any(|l| l == line)
    }

    fn value(&self, sample: &str) -> f64 {
        let page = Client::to_admin(self.admin).get("/metrics").text();
        let line = page.lines().find_map(|line| line.strip_prefix(sample)).expect("a sample");
        line.trim().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(self.file.parent().unwrap());
    }
}

#[test]
fn a_file_that_is_edited_is_followed_and_a_broken_one_is_reported() {
    let (a, b) = (toy("a"), toy("b"));
    let first = setup(&[group("ig", NEAR).member("a", &a)]);
    let second = setup(&[group("ig", NEAR).member("b", &b)]);
    let serve = Serve::start("edit", &first);
    assert_eq!(serve.get(), "a");

    serve.replace(&Serve::at(serve.front, &second));
    wait_until("the new file is taken", || serve.metric("overspill_config_generation 2"));
    wait_until("b serves", || serve.get() == "b");

    // In place this time, and broken.
    std::fs::write(&serve.file, "backendServices: [").unwrap();
    wait_until("the break is reported", || serve.metric("overspill_config_last_reload_ok 0"));
    assert!(serve.status().to_string().contains("refused"), "{:#}", serve.status());
    assert_eq!(serve.get(), "b");
    // A file that is written in place may be read, and refused, while it is half done.
    let refused = || serve.value("overspill_config_reloads_total{result=\"refused\"}");
    let before = refused();
    serve.signal("HUP");
    wait_until("asked again, refused again", || refused() > before);
    assert_eq!(serve.get(), "b");

    serve.replace(&Serve::at(serve.front, &first));
    wait_until("it is mended", || serve.metric("overspill_config_last_reload_ok 1"));
    wait_until("a serves", || serve.get() == "a");
}

#[test]
fn get_health_shows_what_the_probes_found() {
    let toys = [toy("well"), toy("sick")];
    toys[1].set_health(500);
    let serve = Serve::start("health", &setup(&[group("ig", NEAR).members(&toys)]));
    let shown = Command::new(env!("CARGO_BIN_EXE_overspill"))
        .args(["backend-services", "get-health", "web", "--admin", &serve.admin.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let why = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success() && text.starts_with("---\nbackend: "), "{text}{why}");
    assert_eq!(
        (text.matches("healthState: HEALTHY").count(), text.matches("healthState: UNHEALTHY").count()),
        (1, 1)
    );
    let ports = toys.each_ref().map(|toy| format!("port: {}", toy.address().port()));
    assert!(ports.iter().all(|port| text.contains(port)), "{text}");
}

#[test]
fn sigterm_ends_it_with_code_0_when_its_requests_have_ended() {
    let a = toy("a");
    a.change(|settings| settings.latency = std::time::Duration::from_millis(700));
    let mut serve = Serve::start("term", &setup(&[group("ig", NEAR).member("a", &a)]));
    let mut running = Client::to(serve.front);
    running.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    wait_until("the request is under way", || a.requests() == 1);
    serve.signal("TERM");
    let answer = running.answer();
    assert_eq!((answer.status, answer.backend()), (200, "a"));
    let mut code = None;
    wait_until("it has ended", || {
        code = serve.child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(0));
}

#[test]
fn an_access_log_that_cannot_be_written_is_shown_in_the_file() {
    let folder = std::env::temp_dir().join(format!("overspill-it-{}-log", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (file, log) = (folder.join("overspill.yaml"), folder.join("missing/access.log"));
    let log = format!("accessLog: {{path: {}}}", log.display());
    let setup = setup(&[group("ig", NEAR).member("a", &toy("a"))]).proxy(&log);
    std::fs::write(&file, Serve::at(own_address(), &setup)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_overspill"))
        .args(["serve", "-c", file.to_str().unwrap(), "--admin", "none"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let _ = std::fs::remove_dir_all(&folder);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("overspill.yaml:3:") && said.contains("error[no-access-log]"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_is_usage_and_one_that_is_no_text_is_bad_in_every_command() {
    let folder = std::env::temp_dir().join(format!("overspill-it-{}-unreadable", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let text = folder.join("latin1.yaml");
    std::fs::write(&text, b"proxy: {zone: \xfc}\n").unwrap();
    let (missing, text, folder_name) = (folder.join("missing.yaml"), text, folder.clone());
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/simulate.yaml");
    let good = good.to_str().unwrap();
    for (path, expected) in [(&missing, 2), (&folder_name, 2), (&text, 1)] {
        let path = path.to_str().unwrap();
        for command in [
            &["check", path][..],
            &["explain", path],
            &["serve", "--admin", "none", "-c", path],
            &["simulate", path, "--scenario", "scenario.yaml"],
            &["simulate", good, "--scenario", path],
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_overspill")).args(command).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(output.status.code(), Some(expected), "{command:?}: {said}");
            assert!(said.contains(path), "{said}");
            assert!(expected == 2 || said.contains("UTF-8"), "{said}");
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn an_admin_address_that_is_none_is_usage_in_every_command() {
    for url in ["http://x:99999/", "x:65536", "http://127.0.0.1:0", "http://127.0.0.1:+80"] {
        for command in [&["explain"][..], &["backend-services", "get-health", "web"], &["upgrade"]] {
            let output = Command::new(env!("CARGO_BIN_EXE_overspill"))
                .args(command)
                .args(["--admin", url])
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(2), "{command:?} {url}: {output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("is no address such as"), "{output:?}");
        }
    }
}

/// `overspill simulate` in the folder of the examples: exit code, standard output, standard error.
fn simulate(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_overspill"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config"))
        .args(["simulate", "simulate.yaml", "--scenario"])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn simulate_writes_what_it_is_asked_for_and_exits_as_check_does() {
    let folder = std::env::temp_dir().join(format!("overspill-it-{}-simulate", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [csv, html, bad] = ["a.csv", "a.html", "bad.yaml"].map(|name| folder.join(name));
    let (code, out, err) = simulate(&[
        "scenarios/region-loss.yaml",
        "--interval",
        "10",
        "--csv",
        csv.to_str().unwrap(),
        "--html",
        html.to_str().unwrap(),
    ]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("requests model") && out.contains("region us-central1: lost"), "{out}");
    let rows = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(rows.lines().count(), 1 + 14 * 3, "fourteen rows of two backends and one region");
    assert!(std::fs::read_to_string(&html).unwrap().contains("<svg"));

    let (code, out, _) =
        simulate(&["scenarios/region-loss.yaml", "--model", "fluid", "--seed", "7", "--format", "json"]);
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &summary["model"], &summary["seed"]), (Some(0), &"fluid".into(), &7.into()));
    assert_eq!(summary["services"][0]["backends"][0]["group"], "near");

    std::fs::write(&bad, "durationSec: 10\ndemand: [{rate: 5}]\nmember: []\n").unwrap();
    let (code, out, err) = simulate(&[bad.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("bad.yaml:3:1: error[unknown-key]") && err.contains("`members`"), "{err}");
    assert_eq!(simulate(&["there-is-no-such-file.yaml"]).0, Some(2));
    let nowhere = folder.join("no-such-folder/a.csv");
    assert_eq!(simulate(&["scenarios/region-loss.yaml", "--csv", nowhere.to_str().unwrap()]).0, Some(2));
    for seconds in ["1e9", "140.5", "0.05"] {
        let (code, out, err) = simulate(&["scenarios/region-loss.yaml", "--interval", seconds]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{seconds}");
        assert!(err.contains("between 0.1, a tick, and 140 seconds, the whole run"), "{err}");
    }
    let same = folder.join("same");
    let same = same.to_str().unwrap();
    let other = format!("{}/../{}/./same", folder.display(), folder.file_name().unwrap().to_str().unwrap());
    std::fs::write(same, "").unwrap();
    for arguments in [["--csv", same, "--html", same], ["--csv", &other, "--html", same]] {
        let (code, out, err) = simulate(&[&["scenarios/region-loss.yaml"][..], &arguments].concat());
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(err.contains("--csv and --html are both"), "{err}");
    }
    let (code, _, err) = simulate(&[same, "--csv", same]);
    assert!(code == Some(2) && err.contains("--scenario and --csv are both"), "{err}");
    assert_eq!(std::fs::read_to_string(same).unwrap(), "", "nothing was written");
    let _ = std::fs::remove_dir_all(&folder);
}
