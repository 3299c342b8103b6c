use std::fs::{self, File};
use std::future::Future;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use rustix::io::Errno;
use tokio::sync::mpsc;

use super::*;
use crate::engine::start::{Overrides, start};
use crate::source::file::{Watch, follow};

/// Called at each step of a change.
pub(super) struct Probe(Box<dyn FnMut(Step) + Send>);

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

impl Store {
    pub(super) fn step(&self, step: Step) {
        if let Some(probe) = &mut *self.shared.probe.lock().unwrap() {
            (probe.0)(step);
        }
    }

    fn probed(&self, probe: impl FnMut(Step) + Send + 'static) {
        *self.shared.probe.lock().unwrap() = Some(Probe(Box::new(probe)));
    }
}

/// All but [`Moment::Found`], which only an edit leads to.
const STEPS: [Step; 7] = [
    Step::Read,
    Step::Made,
    Step::Staged,
    Step::Applied,
    Step::Swap(Moment::Looked),
    Step::Swap(Moment::Exchanged),
    Step::Swapped,
];

/// Names cannot be exchanged, as on NFS.
fn without_exchange() -> Names {
    Names { exchange: |_, _| Err(Errno::INVAL), ..Names::default() }
}

/// Nor has a file a second name, as on FAT.
fn without_links() -> Names {
    Names { exchange: |_, _| Err(Errno::NOSYS), link: |_, _| Err(ErrorKind::Unsupported.into()) }
}

/// A front on a port that the system chooses, and the service's time-out, which changes change.
fn document(timeout: u32) -> String {
    format!(
        "# ours\n\
         proxy: {{zone: us-central1-a, admin: none, accessLog: {{path: none}}}}\n\
         forwardingRules: [{{name: h, IPAddress: 127.0.0.1, portRange: \"0\", target: hp}}]\n\
         targetHttpProxies: [{{name: hp, urlMap: m}}]\n\
         urlMaps: [{{name: m, defaultService: web}}]\n\
         backendServices:\n\
         - {{name: web, protocol: HTTP, timeoutSec: {timeout}, backends: [{{group: neg}}]}}\n\
         networkEndpointGroups:\n\
         - name: neg\n  networkEndpointType: INTERNET_IP_PORT\n  networkEndpoints: [{{ipAddress: 127.0.0.1, port: 9}}]\n"
    )
}

fn render(problems: &[Problem], _: &str, _: &str) -> String {
    format!("{problems:?}")
}

/// A file, the engine that serves it, and its store.
struct Stage {
    folder: tempfile::TempDir,
    file: PathBuf,
    handle: Handle,
    store: Store,
}

impl Stage {
    async fn new() -> Self {
        Self::on(Names::default()).await
    }

    /// On a file system of this kind.
    async fn on(names: Names) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lb.yaml");
        fs::write(&file, document(10)).unwrap();
        let (handle, mut store) = serve(&file).await;
        Arc::get_mut(&mut store.shared).unwrap().names = names;
        Self { folder, file, handle, store }
    }

    fn on_disk(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    /// What requests meet.
    fn timeout(&self) -> u64 {
        let world = self.handle.world();
        world.config.services[0].timeout.to_std().as_secs()
    }

    fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).filter(|name| name != "lb.yaml").collect()
    }

    async fn set(&self, timeout: u32) -> Result<Changed<()>, ChangeError<()>> {
        self.store.change(|text| Ok((Some(with(text, timeout)), ()))).await
    }

    async fn end(self) {
        self.handle.stop().await;
    }
}

async fn serve(file: &Path) -> (Handle, Store) {
    let text = fs::read_to_string(file).unwrap();
    let overrides = Overrides { workers: Some(1), ..Overrides::default() };
    let handle = start(text.clone(), file, overrides).await.unwrap();
    let mut store = Store::of_file(handle.clone(), file, text, render);
    Arc::get_mut(&mut store.shared).unwrap().settle = Duration::from_millis(1);
    (handle, store)
}

/// The text with another time-out.
fn with(text: &str, timeout: u32) -> String {
    let (before, rest) = text.split_once("timeoutSec: ").unwrap();
    let (_, after) = rest.split_once(',').unwrap();
    format!("{before}timeoutSec: {timeout},{after}")
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect(what);
}

#[tokio::test]
async fn a_change_serves_and_is_in_the_file_with_its_mode_and_nothing_is_left_beside_it() {
    let stage = Stage::new().await;
    fs::set_permissions(&stage.file, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&stage.file).unwrap();
    let changed = stage.set(20).await.unwrap();
    assert_eq!((stage.timeout(), stage.on_disk()), (20, document(20)));
    assert_eq!((&*changed.before, &*changed.after), (&*document(10), &*document(20)));
    assert_eq!((&*stage.store.text(), changed.applied.unwrap().changed), (&*document(20), true));
    let after = fs::metadata(&stage.file).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino(), "replaced, not written over");
    assert_eq!(stage.leftovers(), [""; 0]);
    stage.end().await;
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let stage = Stage::new().await;
    let before = fs::metadata(&stage.file).unwrap();
    for new in [None, Some(document(10))] {
        let changed = stage.store.change(|_| Ok::<_, ()>((new.clone(), 7))).await.unwrap();
        assert_eq!((changed.value, changed.applied), (7, None));
    }
    assert!(matches!(stage.store.change(|_| Err::<(_, ()), _>("no")).await, Err(ChangeError::Made("no"))));
    assert_eq!(fs::metadata(&stage.file).unwrap().ino(), before.ino());
    stage.end().await;
}

#[tokio::test]
async fn a_refused_change_leaves_file_world_and_the_report_of_the_file_as_they_were() {
    let stage = Stage::new().await;
    let (reload, files) = (stage.handle.reload(), stage.handle.files());
    let refused = stage.set(0).await;
    let Err(ChangeError::Refused(problems)) = refused else { panic!("{refused:?}") };
    assert!(!problems.is_empty());
    assert_eq!((stage.timeout(), stage.on_disk()), (10, document(10)));
    assert!(Arc::ptr_eq(&reload, &stage.handle.reload()) && Arc::ptr_eq(&files, &stage.handle.files()));
    assert_eq!(stage.leftovers(), [""; 0]);
    stage.end().await;
}

#[tokio::test]
async fn an_edit_that_nobody_has_read_is_taken_before_the_change() {
    let stage = Stage::new().await;
    fs::write(&stage.file, document(10) + "# edited\n").unwrap();
    stage.set(30).await.unwrap();
    assert_eq!((stage.timeout(), stage.on_disk()), (30, document(30) + "# edited\n"));
    stage.end().await;
}

#[tokio::test]
async fn a_broken_edit_refuses_changes_until_it_is_mended_and_is_kept() {
    let stage = Stage::new().await;
    fs::write(&stage.file, "forwardingRules: [").unwrap();
    for _ in 0..2 {
        assert!(
            matches!(stage.set(30).await, Err(ChangeError::FileIsBroken(problems)) if !problems.is_empty())
        );
        assert_eq!((stage.timeout(), stage.on_disk()), (10, "forwardingRules: [".to_owned()));
    }
    assert_eq!(stage.handle.reload().refused, 1, "the same text is reported once");
    fs::write(&stage.file, document(15)).unwrap();
    stage.set(30).await.unwrap();
    assert_eq!((stage.timeout(), stage.on_disk()), (30, document(30)));
    assert!(stage.handle.reload().is_ok);
    stage.end().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_keeps_its_changes_from_being_made() {
    let stage = Stage::new().await;
    fs::remove_file(&stage.file).unwrap();
    assert!(
        matches!(stage.set(30).await, Err(ChangeError::NotKept(error)) if error.kind() == ErrorKind::NotFound)
    );
    assert_eq!(stage.timeout(), 10);
    stage.end().await;
}

#[tokio::test]
async fn an_edit_at_any_moment_of_a_change_stays_and_the_change_is_made_on_it() {
    an_edit_at_each_of(&STEPS, Names::default()).await;
}

#[tokio::test]
async fn an_edit_at_any_moment_stays_where_names_cannot_be_exchanged() {
    an_edit_at_each_of(&STEPS, without_exchange()).await;
    // A sandbox that does not know the call.
    an_edit_at_each_of(&STEPS, Names { exchange: |_, _| Err(Errno::PERM), ..Names::default() }).await;
}

#[tokio::test]
async fn an_edit_at_any_moment_but_the_last_stays_where_files_have_no_second_names() {
    let steps = STEPS.map(|step| if step == Step::Swap(Moment::Exchanged) { Step::Swapped } else { step });
    an_edit_at_each_of(&steps, without_links()).await;
}

async fn an_edit_at_each_of(steps: &[Step], names: Names) {
    for &at in steps {
        for is_in_place in [true, false] {
            let stage = Stage::on(names).await;
            let (file, mut is_due) = (stage.file.clone(), true);
            stage.store.probed(move |step| {
                if step == at && std::mem::take(&mut is_due) {
                    let text = fs::read_to_string(&file).unwrap() + "# edited\n";
                    edit(&file, &text, is_in_place);
                }
            });
            stage.set(30).await.unwrap();
            assert_eq!((stage.timeout(), stage.on_disk()), (30, document(30) + "# edited\n"), "{at:?}");
            // What came after the swap is read before the next change.
            stage.set(31).await.unwrap();
            assert_eq!((stage.timeout(), stage.on_disk()), (31, document(31) + "# edited\n"), "{at:?}");
            assert_eq!(stage.leftovers(), [""; 0]);
            stage.end().await;
        }
    }
}

#[tokio::test]
async fn where_a_file_is_mounted_by_itself_nothing_changes_and_what_would_be_right_is_told() {
    // What kernels answer that do not tell of the mount before.
    let busy = Names { exchange: |_, _| Err(Errno::BUSY), ..Names::default() };
    let elsewhere = Names { exchange: |_, _| Err(Errno::XDEV), ..Names::default() };
    for names in [busy, elsewhere] {
        let stage = Stage::on(names).await;
        let refused = stage.set(30).await;
        assert!(
            matches!(&refused, Err(ChangeError::ReadOnly(why)) if why.contains("mount its folder instead")),
            "{refused:?}"
        );
        assert_eq!((stage.timeout(), stage.on_disk()), (10, document(10)));
        assert_eq!(stage.leftovers(), [""; 0]);
        stage.end().await;
    }
}

#[tokio::test]
async fn a_crash_without_exchange_leaves_the_file_whole_and_nothing_that_the_next_start_keeps() {
    let stage = Stage::on(without_exchange()).await;
    let (folder, seen) = (stage.folder.path().to_owned(), Arc::new(Mutex::new(Vec::new())));
    let theirs = seen.clone();
    stage.store.probed(move |step| {
        if step == Step::Swap(Moment::Exchanged) {
            // As a crash finds it.
            let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
            let files = files.map(|file| (file.file_name(), fs::read_to_string(file.path()).unwrap()));
            *theirs.lock().unwrap() = files.collect();
        }
    });
    stage.set(30).await.unwrap();
    let mut files = std::mem::take(&mut *seen.lock().unwrap());
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!((&*files[1].0.to_string_lossy(), &files[1].1), ("lb.yaml", &document(30)));
    assert_eq!(files[0].1, document(10));
    fs::write(stage.folder.path().join(&files[0].0), &files[0].1).unwrap();
    replace::clean(&stage.file);
    assert_eq!(stage.leftovers(), [""; 0]);
    stage.end().await;
}

fn edit(file: &Path, text: &str, is_in_place: bool) {
    if is_in_place {
        fs::write(file, text).unwrap();
    } else {
        let new = file.with_extension("saved");
        fs::write(&new, text).unwrap();
        fs::rename(&new, file).unwrap();
    }
}

#[tokio::test]
async fn a_broken_edit_at_the_moment_of_the_rename_stays_and_the_world_is_as_before() {
    let stage = Stage::new().await;
    let file = stage.file.clone();
    stage.store.probed(move |step| {
        if step == Step::Applied {
            fs::write(&file, "proxy: 7").unwrap();
        }
    });
    assert!(matches!(stage.set(30).await, Err(ChangeError::FileIsBroken(_))));
    assert_eq!((stage.timeout(), stage.on_disk()), (10, "proxy: 7".to_owned()));
    assert_eq!(stage.leftovers(), [""; 0]);
    stage.end().await;
}

#[tokio::test]
async fn a_file_that_is_edited_each_time_ends_the_tries() {
    let stage = Stage::new().await;
    let (file, count) = (stage.file.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    stage.store.probed(move |step| {
        if step == Step::Applied {
            let count = counted.fetch_add(1, Ordering::Relaxed);
            fs::write(&file, document(100) + &format!("# {count}\n")).unwrap();
        }
    });
    assert!(matches!(stage.set(30).await, Err(ChangeError::NotKept(_))));
    assert_eq!(count.load(Ordering::Relaxed), TRIES);
    assert_eq!((stage.timeout(), stage.on_disk()), (100, document(100) + "# 4\n"));
    stage.end().await;
}

#[tokio::test]
async fn who_had_the_old_file_open_has_written_the_new_one() {
    use std::io::{Seek as _, Write as _};
    let stage = Stage::new().await;
    let mut editor = File::options().write(true).open(&stage.file).unwrap();
    stage.set(30).await.unwrap();
    editor.rewind().unwrap();
    editor.write_all((document(40) + "# late\n").as_bytes()).unwrap();
    drop(editor);
    until("the late edit is in the file", || stage.on_disk() == document(40) + "# late\n").await;
    until("it serves", || stage.timeout() == 40).await;
    stage.end().await;
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_any_more_ends_all_the_same() {
    let stage = Stage::new().await;
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    stage.store.probed(move |step| {
        if step == Step::Staged {
            let _ = begun.send(());
        }
    });
    {
        let mut change = std::pin::pin!(stage.set(30));
        tokio::select! {
            biased;
            _ = has_begun.recv() => {}
            _ = &mut change => panic!("it waits for the engine"),
        }
    }
    stage.store.idle().await;
    assert_eq!((stage.timeout(), stage.on_disk()), (30, document(30)));
    assert_eq!(&*stage.store.text(), document(30));
    stage.end().await;
}

#[tokio::test]
async fn a_link_stays_and_the_file_behind_it_is_replaced() {
    let stage = Stage::new().await;
    let link = stage.folder.path().join("link.yaml");
    std::os::unix::fs::symlink("lb.yaml", &link).unwrap();
    let (handle, store) = serve(&link).await;
    store.change(|text| Ok::<_, ()>((Some(with(text, 30)), ()))).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(stage.on_disk(), document(30));
    handle.stop().await;
    stage.end().await;
}

#[tokio::test]
async fn a_configmap_is_for_whoever_mounted_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("..1")).unwrap();
    fs::write(at("..1/a.yaml"), document(10)).unwrap();
    std::os::unix::fs::symlink("..1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", at("a.yaml")).unwrap();
    let (handle, store) = serve(&at("a.yaml")).await;
    let refused = store.change(|text| Ok::<_, ()>((Some(with(text, 30)), ()))).await;
    assert!(matches!(&refused, Err(ChangeError::ReadOnly(why)) if why.contains("ConfigMap")), "{refused:?}");
    assert_eq!(fs::read_to_string(at("a.yaml")).unwrap(), document(10));
    assert_eq!(handle.world().config.services[0].timeout.to_std().as_secs(), 10);
    handle.stop().await;
}

#[tokio::test]
async fn a_folder_where_nothing_can_be_made_refuses_before_anything_changes() {
    let stage = Stage::new().await;
    // The kernel's folders take no files, not even root's.
    let place = Path::new("/proc/version");
    let shown = fs::read_to_string(place).unwrap();
    let store = Store::of_file(stage.handle.clone(), place, shown, render);
    let refused = store.change(|_| Ok::<_, ()>((Some(document(30)), ()))).await;
    assert!(matches!(refused, Err(ChangeError::ReadOnly(_) | ChangeError::NotKept(_))), "{refused:?}");
    assert_eq!(stage.timeout(), 10);
    stage.end().await;
}

#[tokio::test]
async fn a_closed_store_and_one_that_is_being_replaced_refuse_changes() {
    let stage = Stage::new().await;
    let closed = Store::in_memory(stage.handle.clone(), Path::new("x"), document(10)).closed("because");
    let refused = closed.change(|text| Ok::<_, ()>((Some(with(text, 30)), ()))).await;
    assert!(matches!(refused, Err(ChangeError::ReadOnly(why)) if why == "because"));
    for phase in [Phase::Running, Phase::HandedOver(7)] {
        stage.handle.set_upgrade(phase);
        assert!(matches!(stage.set(30).await, Err(ChangeError::ReadOnly(_))));
    }
    assert_eq!((stage.timeout(), stage.on_disk()), (10, document(10)));
    stage.handle.set_upgrade(Phase::Failed("it would not".to_owned()));
    stage.set(30).await.unwrap();
    assert_eq!(stage.timeout(), 30);
    stage.end().await;
}

#[tokio::test]
async fn without_a_file_changes_live_in_the_process() {
    let stage = Stage::new().await;
    let store = Store::in_memory(stage.handle.clone(), Path::new("run"), document(10));
    store.change(|text| Ok::<_, ()>((Some(with(text, 30)), ()))).await.unwrap();
    assert_eq!((stage.timeout(), &*store.text()), (30, &*document(30)));
    assert_eq!(stage.on_disk(), document(10));
    stage.end().await;
}

#[tokio::test]
async fn the_watcher_takes_our_own_rename_for_no_edit_and_edits_and_signals_for_what_they_are() {
    let stage = Stage::new().await;
    let (force, forced) = mpsc::channel(1);
    let watch = Watch::new(&stage.file, &document(10));
    let follower = tokio::spawn(follow(stage.store.clone(), watch, forced));
    stage.set(30).await.unwrap();
    let taken = stage.handle.reload().taken;
    // An edit that is seen after the change: the watcher has looked at the change before it.
    fs::write(&stage.file, document(40)).unwrap();
    until("the edit serves", || stage.timeout() == 40).await;
    assert_eq!(stage.handle.reload().taken, taken + 1, "the change was taken once");
    assert_eq!(&*stage.store.text(), document(40));
    let (done, verdict) = tokio::sync::oneshot::channel();
    force.send(done).await.unwrap();
    verdict.await.unwrap();
    assert_eq!(stage.handle.reload().taken, taken + 2, "a signal applies the same text again");
    follower.abort();
    stage.end().await;
}

#[tokio::test]
async fn an_edit_back_to_the_text_that_the_watcher_saw_last_is_an_edit() {
    let stage = Stage::new().await;
    let (_force, forced) = mpsc::channel(1);
    let follower = tokio::spawn(follow(stage.store.clone(), Watch::new(&stage.file, &document(10)), forced));
    for timeout in [30, 31] {
        stage.set(timeout).await.unwrap();
        // Before the watcher has looked, or after: what it read last is not what serves.
        fs::write(&stage.file, document(10)).unwrap();
        until("the edit serves", || stage.timeout() == 10).await;
        assert_eq!(&*stage.store.text(), document(10));
    }
    follower.abort();
    stage.end().await;
}

#[tokio::test]
async fn a_watcher_that_comes_late_with_an_older_text_changes_nothing() {
    let stage = Stage::new().await;
    stage.set(30).await.unwrap();
    let taken = stage.handle.reload().taken;
    stage.store.take(Seen::Text(document(10)), Cause::Edit).await;
    assert_eq!((stage.timeout(), stage.handle.reload().taken), (30, taken));
    stage.end().await;
}

#[tokio::test]
async fn what_a_crash_leaves_is_taken_away_but_for_an_edit_and_for_what_is_not_ours() {
    let stage = Stage::new().await;
    let at = |name: &str| stage.folder.path().join(name);
    // Where a crash may be: while the text is written, before the exchange, after it.
    fs::write(at(".lb.yaml.overspill-new-0123456789abcdef"), "pro").unwrap();
    let staged = |base: &str| Staged::write(&stage.file, base, &document(20), Names::default()).unwrap();
    std::mem::forget(staged(&document(10)));
    let swapping = staged(&document(10));
    let name = stage.leftovers().into_iter().filter(|name| name.contains("swap-")).max().unwrap();
    std::mem::forget(swapping);
    fs::write(at(&name), document(10)).unwrap();
    let edited = staged(&document(10));
    let names = stage.leftovers();
    std::mem::forget(edited);
    for name in names.iter().filter(|other| other.contains("swap-") && **other != name) {
        fs::write(at(name), "an edit").unwrap();
    }
    let foreign = [
        ".lb.yaml.overspill-new-x",
        ".lb.yaml.overspill-swap-0123456789abcdef",
        ".other.yaml.overspill-new-0123456789abcdef",
        ".lb.yaml.swp",
    ];
    for name in foreign {
        fs::write(at(name), "").unwrap();
    }
    replace::clean(&stage.file);
    let mut left = stage.leftovers();
    left.sort();
    let (kept, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|name| name.starts_with("lb.yaml.edit-"));
    let mut foreign = foreign.map(str::to_owned);
    foreign.sort();
    assert_eq!(rest, foreign);
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|name| fs::read_to_string(at(name)).unwrap() == "an edit"));
    assert_eq!(stage.on_disk(), document(10));
    stage.end().await;
}

/// Not for security: the same numbers from the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Each edit and each change adds a line of its own; none may be missing at the end.
#[tokio::test]
async fn of_200_edits_and_changes_at_random_moments_none_is_lost() {
    edits_and_changes(Names::default()).await;
}

#[tokio::test]
async fn of_200_edits_and_changes_none_is_lost_where_names_cannot_be_exchanged() {
    edits_and_changes(without_exchange()).await;
}

async fn edits_and_changes(names: Names) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    });
    println!("SEED={seed}");
    let mut chance = Chance(seed);
    let mut interfered = 0;
    let stage = Stage::on(names).await;
    let (_force, forced) = mpsc::channel(1);
    let follower = tokio::spawn(follow(stage.store.clone(), Watch::new(&stage.file, &document(10)), forced));
    let edits = Arc::new(Mutex::new(Vec::new()));
    for round in 0..200 {
        let at = STEPS[usize::try_from(chance.below(7)).unwrap()];
        let (is_in_place, has_edit, is_again) =
            (chance.below(2) == 0, chance.below(4) != 0, chance.below(2) == 0);
        let (file, edits) = (stage.file.clone(), edits.clone());
        let mut due = [has_edit.then_some(at), is_again.then_some(Step::Swap(Moment::Found))];
        interfered += usize::from(has_edit && at == Step::Swap(Moment::Looked));
        stage.store.probed(move |step| {
            for (number, _) in due
                .iter_mut()
                .enumerate()
                .filter_map(|(n, due)| due.take_if(|at| *at == step).map(|at| (n, at)))
            {
                let line = format!("# edit {round} {number}\n");
                edit(&file, &(fs::read_to_string(&file).unwrap() + &line), is_in_place);
                edits.lock().unwrap().push(line);
            }
        });
        let line = format!("# change {round}\n");
        let changed = stage.store.change(|text| Ok::<_, ()>((Some(text.to_owned() + &line), ()))).await;
        assert!(changed.is_ok(), "{changed:?}");
    }
    stage.store.change(|_| Ok::<_, ()>((None, ()))).await.unwrap();
    let text = stage.on_disk();
    assert_eq!(*text, *stage.store.text());
    // Two edits in the moment of one exchange: the earlier is in a file of its own.
    let aside = stage.leftovers();
    assert!(aside.iter().all(|name| name.starts_with("lb.yaml.edit-")), "{aside:?}");
    let aside: String =
        aside.iter().map(|name| fs::read_to_string(stage.folder.path().join(name)).unwrap()).collect();
    for line in edits.lock().unwrap().iter() {
        assert!(
            text.matches(line).count() == 1 || (text.matches(line).count() == 0 && aside.contains(line)),
            "{line}"
        );
    }
    for round in 0..200 {
        assert_eq!(text.matches(&format!("# change {round}\n")).count(), 1, "{round}");
    }
    assert!(interfered > 0, "{interfered}");
    follower.abort();
    stage.handle.stop().await;
}

/// A process that may write no file longer than this one stands for a full disk.
#[test]
fn a_full_disk_is_found_before_anything_changes() {
    const CHILD: &str = "OVERSPILL_TEST_FULL_DISK";
    if std::env::var_os(CHILD).is_some() {
        return on_a_full_disk();
    }
    let name = "source::store::tests::a_full_disk_is_found_before_anything_changes";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

fn on_a_full_disk() {
    block_on(async {
        let stage = Stage::new().await;
        // The signal that comes with it would end the process.
        let _ignored = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(25)).unwrap();
        let room = stage.on_disk().len() as u64 + 10;
        rlimit::Resource::FSIZE.set(room, room).unwrap();
        let long = document(30) + &"# more\n".repeat(10);
        let refused = stage.store.change(|_| Ok::<_, ()>((Some(long.clone()), ()))).await;
        assert!(matches!(refused, Err(ChangeError::NotKept(_))), "{refused:?}");
        assert_eq!((stage.timeout(), stage.on_disk()), (10, document(10)));
        assert_eq!(stage.leftovers(), [""; 0]);
        stage.set(30).await.unwrap();
        assert_eq!((stage.timeout(), stage.on_disk()), (30, document(30)));
        stage.end().await;
    });
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
