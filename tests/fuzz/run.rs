//! Runs a target: its corpus, then changed seeds; a failure is made smaller and printed so that it can join the corpus.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::time::{Duration, Instant};

use crate::mutate::Mutator;

/// What a short run begins with: CI meets the same inputs each time.
const SEED: u64 = 20_261_121;
/// A short run ends at this many inputs or this time, whichever comes first.
const SHORT: (u64, Duration) = (20_000, Duration::from_secs(3));
/// CPU time that one input of at most 64 KiB may take in a debug build.
const MOST_CPU: Duration = Duration::from_secs(2);
/// An input that takes as long as this never ends.
const HANGS: Duration = Duration::from_secs(300);
/// Attempts to make a failing input smaller.
const MOST_ATTEMPTS: usize = 3000;

/// Runs `check` on every file of `tests/corpus/<name>`, on the seeds and on changes of both. It panics when an input
/// shows a bug, and returns what kind of effect the input had: kinds that are new are gone on from.
pub(crate) fn fuzz(name: &str, seeds: Vec<Vec<u8>>, words: &[&str], check: impl Fn(&[u8]) -> u64) {
    let mut all = corpus(name);
    all.extend(seeds);
    let seconds: Option<u64> = variable("OVERSPILL_FUZZ_SECONDS");
    let seed = variable("OVERSPILL_FUZZ_SEED").unwrap_or_else(|| seconds.map_or(SEED, |_| any_seed()));
    println!("{name}: seed {seed}, {} inputs to begin with", all.len());
    let runner = Runner { name, check: &check, watch: Watch::start(name) };
    let mut mutator = Mutator::new(&all, words, seed);
    let mut kinds: HashSet<u64> = all.iter().map(|input| runner.one(input)).collect();
    let (most, time) = seconds.map_or(SHORT, |seconds| (u64::MAX, Duration::from_secs(seconds)));
    let (begun, mut count) = (Instant::now(), 0);
    while count < most && begun.elapsed() < time {
        let input = mutator.next();
        if kinds.insert(runner.one(&input)) {
            mutator.keep(input);
        }
        count += 1;
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("{name}: {count} inputs, {rate:.0}/s, {} kinds of effect", kinds.len());
}

/// The files of `tests/corpus/<name>`, sorted; a target that has found nothing yet has none.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = format!("tests/corpus/{name}");
    let is_there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder).is_dir();
    if is_there { files(&folder, |_| true) } else { Vec::new() }
}

/// Contents of the files of a folder of the repository, sorted by name.
pub(crate) fn files(folder: &str, is_wanted: impl Fn(&Path) -> bool) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file() && is_wanted(path));
    files.sort();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no whole number")))
}

/// Another one in each run.
fn any_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(())
}

struct Runner<'a, C> {
    name: &'a str,
    check: &'a C,
    watch: Watch,
}

impl<C: Fn(&[u8]) -> u64> Runner<'_, C> {
    /// Fails the test with the smallest input that fails alike.
    fn one(&self, input: &[u8]) -> u64 {
        self.watch.begin(input);
        let begun = Instant::now();
        let kind = match self.attempt(input) {
            Ok(kind) => kind,
            Err(why) => self.give_up(input, &why),
        };
        // The machine may have stood still: a second look counts what this thread has used.
        if begun.elapsed() > MOST_CPU {
            let before = cpu_time();
            let _ = self.attempt(input);
            let used = cpu_time().saturating_sub(before);
            assert!(used < MOST_CPU, "{}: {used:?} for b\"{}\"", self.name, input.escape_ascii());
        }
        kind
    }

    fn attempt(&self, input: &[u8]) -> Result<u64, String> {
        quietly(|| (self.check)(input))
    }

    fn give_up(&self, input: &[u8], why: &str) -> ! {
        let mut smallest = input.to_vec();
        let (mut attempts, mut piece) = (0, input.len().div_ceil(2));
        while piece > 0 && attempts < MOST_ATTEMPTS {
            let (mut at, before) = (0, smallest.len());
            while at < smallest.len() && attempts < MOST_ATTEMPTS {
                let mut shorter = smallest.clone();
                shorter.drain(at..(at + piece).min(smallest.len()));
                attempts += 1;
                match self.attempt(&shorter) {
                    Err(_) => smallest = shorter,
                    Ok(_) => at += piece,
                }
            }
            if smallest.len() == before {
                piece /= 2;
            }
        }
        let last = self.attempt(&smallest).err().unwrap_or_default();
        let (name, shown) = (self.name, smallest.escape_ascii());
        panic!("{name}: {why}\nsmallest: {last}\nfor a file in tests/corpus/{name}/:\nb\"{shown}\"");
    }
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `what`; its panic becomes a sentence instead of lines on standard error.
fn quietly<T>(what: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    thread_local! {
        static SAID: Cell<String> = const { Cell::new(String::new()) };
    }
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(
            move |info| {
                if IS_QUIET.get() { SAID.set(info.to_string()) } else { before(info) }
            },
        ));
    });
    IS_QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(what));
    IS_QUIET.set(false);
    result.map_err(|_| SAID.take())
}

/// CPU time of this thread; none where the system does not tell.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Names an input that never ends, which nothing else would.
struct Watch {
    current: Arc<Mutex<(Vec<u8>, Instant)>>,
    _end: mpsc::Sender<()>,
}

impl Watch {
    fn start(name: &str) -> Self {
        let current = Arc::new(Mutex::new((Vec::new(), Instant::now())));
        let (end, ended) = mpsc::channel();
        let (shared, name) = (current.clone(), name.to_owned());
        std::thread::spawn(move || {
            while ended.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
                let (input, since) = &*shared.lock().unwrap();
                if since.elapsed() > HANGS {
                    // Past the test runner, which waits for a test that never ends.
                    let shown = input.escape_ascii();
                    let _ = writeln!(std::io::stderr(), "{name}: no end of b\"{shown}\"");
                    std::process::abort();
                }
            }
        });
        Self { current, _end: end }
    }

    fn begin(&self, input: &[u8]) {
        let mut current = self.current.lock().unwrap();
        current.0.clear();
        current.0.extend_from_slice(input);
        current.1 = Instant::now();
    }
}
