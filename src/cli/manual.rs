//! `overspill completion SHELL` and `overspill man --out DIR`, both made from the commands themselves.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::shells;

use super::args::{Arguments, Shell};

/// Writes the script of a shell to standard output.
pub(super) fn completion(shell: Shell) -> u8 {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, "overspill", &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, "overspill", &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, "overspill", &mut script),
    }
    super::say(&String::from_utf8_lossy(&script));
    0
}

/// Writes `overspill.1`, `overspill-serve.1` and so on. Exit code: 0 done, 1 not written.
pub(super) fn pages(folder: &Path) -> u8 {
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    match written {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("error: {}: {why}", folder.display());
            1
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_each_command() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(pages(folder.path()), 0);
        for page in ["overspill.1", "overspill-serve.1", "overspill-backend-services-update-backend.1"] {
            let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(text.contains(".TH"), "{page}");
        }
        assert_eq!(pages(&folder.path().join("overspill.1")), 1);
    }
}
