//! New certificates and a new binary while clients of both versions of HTTP ask over TLS [G 6.13].

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ClientConfig;

use crate::support::backend::toy;
use crate::support::h2::{connect_tls, whole};
use crate::support::installed::Installation;
use crate::support::setup::{NEAR, group, setup};
use crate::support::tls::{Authority, Pair, Tls, der, https, offering};
use crate::support::{hogging, wait_until};
use crate::tls_http2::get;

/// Clients over TLS that ask on and on, on connections of one request (of HTTP/2: of ten), of many, and with pauses; any request without a whole 200 is told.
struct Load {
    stop: Arc<AtomicBool>,
    /// By HTTP/1.1 and by HTTP/2.
    answered: Arc<[AtomicU64; 2]>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr, client: &ClientConfig) -> Self {
        let (stop, answered, failures) =
            (Arc::<AtomicBool>::default(), Arc::<[AtomicU64; 2]>::default(), Arc::<Mutex<Vec<_>>>::default());
        let thread = |(is_http2, most, pause): (bool, usize, Duration)| {
            let client = offering(client, if is_http2 { &["h2"] } else { &["http/1.1"] });
            let (stop, answered, failures) = (stop.clone(), answered.clone(), failures.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let so_far = AtomicU64::new(0);
                while !stop.load(SeqCst) {
                    let first = so_far.load(SeqCst);
                    let is_over = || stop.load(SeqCst) || so_far.load(SeqCst) >= first + most as u64;
                    let done = || {
                        so_far.fetch_add(1, SeqCst);
                        answered[usize::from(is_http2)].fetch_add(1, SeqCst);
                        std::thread::sleep(pause);
                    };
                    let ended = if is_http2 {
                        runtime.block_on(by_http_2(address, &client, &is_over, &done))
                    } else {
                        by_http_1(address, &client, &is_over, &done)
                    };
                    if let Err(why) = ended {
                        failures.lock().unwrap().push(why);
                    }
                }
            })
        };
        let (none, some) = (Duration::ZERO, Duration::from_millis(20));
        let of_each = [(1, none), (usize::MAX >> 1, none), (usize::MAX >> 1, some)];
        let kinds = [false, true].map(|is_http2| of_each.map(|(most, pause)| (is_http2, most, pause)));
        let threads = kinds.into_iter().flatten().map(thread).collect();
        Self { stop, answered, failures, threads }
    }

    #[track_caller]
    fn goes_on(&self) {
        let so_far = [0, 1].map(|n: usize| self.answered[n].load(SeqCst));
        wait_until("the load goes on", || {
            so_far.iter().zip(self.answered.iter()).all(|(so_far, now)| now.load(SeqCst) > so_far + 200)
        });
    }

    #[track_caller]
    fn end(self) {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "{} of {:?} failed: {failures:?}", failures.len(), self.answered);
    }
}

/// One connection, until an answer says that it was the last.
fn by_http_1(
    address: SocketAddr,
    client: &Arc<ClientConfig>,
    is_over: &dyn Fn() -> bool,
    done: &dyn Fn(),
) -> Result<(), String> {
    let mut tls =
        Tls::connect(address, client, "web.example").map_err(|error| format!("connect: {error}"))?;
    while !is_over() {
        let answer = tls.get("/").map_err(|error| format!("HTTP/1.1: {error}"))?;
        if answer.status != 200 {
            return Err(format!("HTTP/1.1: {}", answer.status));
        }
        done();
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            return Ok(());
        }
    }
    Ok(())
}

/// One connection with ten streams at a time, until GOAWAY. What that leaves out was not begun and is asked for again
/// on the next connection [RFC 9113 6.8, 8.7].
async fn by_http_2(
    address: SocketAddr,
    client: &Arc<ClientConfig>,
    is_over: &dyn Fn() -> bool,
    done: &dyn Fn(),
) -> Result<(), String> {
    let send = connect_tls(address, client).await.map_err(|error| format!("connect: {error}"))?;
    let is_unbegun = |error: &::h2::Error| {
        let reason = error.reason();
        error.is_remote()
            && (error.is_go_away() && reason == Some(::h2::Reason::NO_ERROR)
                || error.is_reset() && reason == Some(::h2::Reason::REFUSED_STREAM))
    };
    while !is_over() {
        let mut asked = Vec::new();
        let mut is_sent_away = false;
        for _ in 0..10 {
            match send.clone().ready().await.and_then(|mut send| send.send_request(get("/"), true)) {
                Ok((answer, _)) => asked.push(answer),
                Err(error) if is_unbegun(&error) => is_sent_away = true,
                Err(error) => return Err(format!("HTTP/2, before it was sent: {error:?}")),
            }
        }
        for answer in asked {
            let answer = async { whole(answer.await?).await };
            match answer.await {
                Ok(answer) if answer.status == 200 => done(),
                Ok(answer) => return Err(format!("HTTP/2: {}", answer.status)),
                Err(error) if is_unbegun(&error) => is_sent_away = true,
                Err(error) => return Err(format!("HTTP/2: {error:?}")),
            }
        }
        if is_sent_away {
            return Ok(());
        }
    }
    drop(send.ready().await);
    Ok(())
}

#[test]
fn neither_new_certificates_nor_a_new_binary_lose_a_request_of_any_version_under_full_load() {
    let _alone = hogging();
    let toys = [toy("a"), toy("b")];
    let setup = setup(&[group("ig", NEAR).members(&toys)]);
    let authority = Authority::new("ca");
    let pairs = [(); 5].map(|()| authority.server(&["web.example"]));
    let installed = Installation::new("tls-load", &setup);
    write(&installed.folder, &pairs[0]);
    let text = https(&setup.fronts(&[("web", &installed.front.port().to_string())]), &[], "", "")
        .replace("IPAddress: 127.0.0.1", &format!("IPAddress: {}", installed.front.ip()))
        .replace("sslCertificates: []", "sslCertificates: [own]")
        .replace(
            "sslCertificates:\n",
            "sslCertificates: [{name: own, certificateFile: own.pem, privateKeyFile: own.key}]\n",
        );
    installed.write(&text);
    let mut served = installed.serve();
    let mut pids = vec![installed.pid()];
    let load = Load::start(installed.front, &authority.trusting(None));
    load.goes_on();
    let shown = || {
        let fresh = Arc::new(authority.trusting(None));
        Tls::connect(installed.front, &fresh, "web.example").unwrap().shown()
    };
    for swap in pairs[1..].chunks(2) {
        write(&installed.folder, &swap[0]);
        wait_until("the new certificate is shown", || shown() == der(&swap[0].chain));
        load.goes_on();
        pids.push(installed.upgraded());
        // In the middle of the change, too.
        write(&installed.folder, &swap[1]);
        load.goes_on();
        wait_until("the new process answers", || installed.pid() == *pids.last().unwrap());
        wait_until("and shows the newest one", || shown() == der(&swap[1].chain));
    }
    assert_eq!(served.wait_end(), Some(0), "{}", installed.log());
    load.goes_on();
    load.end();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 3, "each time another process");
}

/// As programs that renew certificates write: each file at once, one after the other.
fn write(folder: &Path, pair: &Pair) {
    for (file, text) in [("own.key", &pair.key), ("own.pem", &pair.chain)] {
        std::fs::write(folder.join("aside"), text).unwrap();
        std::fs::rename(folder.join("aside"), folder.join(file)).unwrap();
    }
}
