//! Changes by the API and in the file, and crashes, at random but from a seed; `benches/control` runs them by the
//! thousand.

use std::time::Duration;

use super::support::backend::toy;
use super::support::own_address;
use super::torture::Torture;

#[test]
fn random_changes_edits_and_crashes_leave_the_file_as_it_was_or_as_it_should_be_and_fail_no_request() {
    let toys: Vec<_> = (0..5).map(|n| toy(&format!("toy-{n}"))).collect();
    let members: Vec<_> = toys.iter().map(overspill::cli::toy::ToyBackend::address).collect();
    // Other tests run beside it.
    let load = (false, Duration::from_millis(20));
    let mut torture = Torture::start(7, &members, [own_address(), own_address()], load).unwrap();
    for turn in 1..=60 {
        // Chance may take long to come to them.
        let done = match turn {
            20 => torture.crash_idle(),
            35 => torture.crash_in_change(),
            50 => torture.crash_in_both(turn),
            _ => torture.step(turn, false),
        };
        done.and_then(|()| torture.nothing_failed()).unwrap_or_else(|why| panic!("{why}\n{}", torture.doing));
    }
    torture.finish().unwrap();
    assert_eq!(torture.counts.kills, 3);
    assert!(torture.counts.changes > 0 && torture.counts.edits > 0 && torture.counts.at_once > 0);
    assert!(torture.load.counts().0 > 0);
}
