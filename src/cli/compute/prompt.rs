//! Questions to whoever sits at the terminal.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Asks on standard error. No answer, as without a terminal, is a yes: as gcloud has it.
pub(super) fn is_yes(question: &str) -> bool {
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    eprintln!();
    !matches!(answer.trim().to_ascii_lowercase().as_str(), "n" | "no")
}

/// Whether there is somebody to ask.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}
