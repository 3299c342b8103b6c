//! How long a change of one member takes among so many, from the text to the world that serves, and the longest that a
//! request takes meanwhile, beside the longest in as much time without a change.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use overspill::engine::start::{Overrides, start_resolved};
use overspill::model::resolve;

use super::counting::client::{connect, exchange, head, until_healthy};
use super::document::Shape;
use super::origin::Origin;
use super::plot::{Line, Plot};
use super::process::TempDir;

const RELOADS: usize = 9;
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(200);

/// Milliseconds of a reload; milliseconds of the longest request during them, and without.
pub(crate) fn measure(sizes: &[u32], dir: &TempDir) -> Result<(Plot, Plot), String> {
    let (mut taken, mut with) = (Line::new("reload, median"), Line::new("during reloads"));
    let mut without = Line::new("without");
    for members in sizes {
        let origin = Origin::start(dir)?;
        let found = reloads(*members, origin.port).map_err(|why| format!("{members} members: {why}"))?;
        taken.add(*members, found.taken);
        with.add(*members, found.longest);
        without.add(*members, found.longest_without);
    }
    let taken = Plot::new("A reload: time", ("members", "ms"), vec![taken]);
    Ok((taken, Plot::new("A reload: longest request", ("members", "ms"), vec![with, without])))
}

struct Found {
    taken: f64,
    longest: f64,
    longest_without: f64,
}

fn reloads(members: u32, port: u16) -> Result<Found, String> {
    let shape = Shape { members, workers: 1, ..Shape::ONE };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let texts = ["m-0", "m-new"].map(|name| shape.document(any, port, name));
    let resolved = resolve::document(&texts[0]);
    let config = resolved.config.ok_or(format!("{:#?}", resolved.problems))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let overrides = Overrides { workers: Some(1), seed: Some(7), ..Overrides::default() };
        let handle = start_resolved(Arc::new(config), Path::new("growth"), overrides)
            .await
            .map_err(|error| format!("{error:?}"))?;
        handle.ready().await;
        let at = handle.listeners().first().map(|listener| listener.bound).ok_or("no listener")?;
        let mut found = Vec::new();
        let requests = Requests::start(at);
        let began = Instant::now();
        for turn in 1..=RELOADS {
            let text = texts.get(turn % 2).cloned().unwrap_or_default();
            let began = Instant::now();
            handle.apply(text, Path::new("growth")).await.map_err(|refused| format!("{refused:?}"))?;
            found.push(began.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(PAUSE).await;
        }
        let time = began.elapsed();
        let longest = requests.stop().await?;
        let requests = Requests::start(at);
        tokio::time::sleep(time).await;
        let longest_without = requests.stop().await?;
        handle.stop().await;
        found.sort_unstable_by(f64::total_cmp);
        let taken = found.get(RELOADS / 2).copied().unwrap_or(f64::NAN);
        Ok(Found { taken, longest, longest_without })
    })
}

/// One connection that asks all the time.
struct Requests {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<f64, String>>,
}

impl Requests {
    fn start(at: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = stop.clone();
        let thread = thread::spawn(move || {
            until_healthy(|| exchange(&mut connect(at)?, &head(("GET", "/"), at, "Connection: close\r\n")))?;
            let (mut stream, request, mut longest) = (connect(at)?, head(("GET", "/"), at, ""), 0.0_f64);
            while !is_stopped.load(Relaxed) {
                let began = Instant::now();
                exchange(&mut stream, &request)?;
                longest = longest.max(began.elapsed().as_secs_f64() * 1e3);
            }
            Ok(longest)
        });
        Self { stop, thread }
    }

    /// Milliseconds of the longest request.
    async fn stop(self) -> Result<f64, String> {
        self.stop.store(true, Relaxed);
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await;
        ended.map_err(|error| error.to_string())?.map_err(|_| "a client panicked".to_owned())?
    }
}
