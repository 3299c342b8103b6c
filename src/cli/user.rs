//! `--user NAME`: started as root to bind low ports, the process goes on as a plain user.

use std::ffi::CString;
use std::io;

use nix::unistd::{Uid, User, initgroups, setgid, setuid};

/// Gives up root for the user `name`, with its groups, in all threads and for good. Nothing to do when the process is
/// that user already, as after a binary upgrade.
///
/// # Errors
/// When there is no such user, or the process may not become it.
pub(super) fn become_user(name: &str) -> io::Result<()> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("there is no user `{name}`"));
    let user = User::from_name(name)?.ok_or_else(unknown)?;
    if Uid::effective() == user.uid && Uid::current() == user.uid {
        return Ok(());
    }
    let name = CString::new(name).map_err(|_| unknown())?;
    initgroups(&name, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    // Not to be undone, or it was for nothing.
    if !user.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("the process could become root again"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_is_an_error_and_oneself_is_nothing_to_do() {
        assert_eq!(become_user("no-such-user-here").unwrap_err().kind(), io::ErrorKind::NotFound);
        let oneself = User::from_uid(Uid::effective()).unwrap();
        // A container may run under a number without a name.
        oneself.into_iter().for_each(|user| become_user(&user.name).unwrap());
    }
}
