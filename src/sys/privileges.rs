//! What a child is before it executes anything: its root, its groups, its user, and that it cannot
//! get more back.
//!
//! The master stays what it is: it binds again at a reload, and starts the next worker. Each child
//! drops between fork and exec, in the one order that works: umask, root directory, groups, user,
//! capabilities. Then it tries to be root again, and ends if it can.
//!
//! Not here: who it is to be (`config::Privileges`), what a worker gives up once it runs
//! (`sandbox`).
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl::set_no_new_privs;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Uid, chdir, chroot, getegid, geteuid, setgroups, setresgid, setresuid, setuid,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
};
use thiserror::Error;

use crate::config::{Identity, Owner, Privileges};

/// Why a child cannot be started as it should be.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// Only root may become somebody else.
    #[error(
        "only root can run workers as another user or group (uid {uid}, gid {gid}): start the server \
         as root, or as that user"
    )]
    Identity {
        /// Who it should be.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Only root may take another root directory.
    #[error("only root can use --chroot: start the server as root, or leave it out")]
    Chroot,
    /// It is not there, or no directory.
    #[error("--chroot {path}: {source}")]
    Root {
        /// As it was named.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Whether this process can give its children what they are to have: said at once, and not by each
/// of them.
///
/// # Errors
/// It cannot.
pub fn check(privileges: &Privileges) -> Result<(), PrivilegeError> {
    let able = capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
    if let Some(identity) = &privileges.identity
        && !is_ours(identity)
        && !able.contains(CapabilitySet::SETUID | CapabilitySet::SETGID)
    {
        return Err(PrivilegeError::Identity { uid: identity.uid, gid: identity.gid });
    }
    if let Some(root) = &privileges.chroot {
        if !able.contains(CapabilitySet::SYS_CHROOT) {
            return Err(PrivilegeError::Chroot);
        }
        let path = || root.display().to_string();
        let refused = match std::fs::metadata(root) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => io::ErrorKind::NotADirectory.into(),
            Err(source) => source,
        };
        return Err(PrivilegeError::Root { path: path(), source: refused });
    }
    Ok(())
}

/// Makes a command's process what `privileges` say, before it executes its program; `directory` is
/// where it runs, inside of its root directory if it has one. For workers, and for every other
/// child that is to be no more than they are.
///
/// # Errors
/// A path with a NUL in it.
pub fn confine(
    command: &mut Command,
    privileges: &Privileges,
    directory: Option<&Path>,
) -> io::Result<()> {
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let root = privileges.chroot.as_deref().map(path).transpose()?;
    let inside = path(directory.unwrap_or(Path::new("/")))?;
    if let (None, Some(directory)) = (&root, directory) {
        command.current_dir(directory);
    }
    let mask = privileges.umask.map(Mode::from_bits_truncate);
    // Nothing has to change where nothing would: a server without root may name its own user.
    let identity = privileges.identity.clone().filter(|identity| !is_ours(identity));
    let identity = identity.map(|identity| {
        let groups = identity.groups.into_iter().map(Gid::from_raw).collect::<Vec<_>>();
        (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid), groups)
    });
    let no_new_privs = privileges.no_new_privs;
    let become_it = move || -> io::Result<()> {
        if let Some(mask) = mask {
            umask(mask);
        }
        if let Some(root) = &root {
            say_which(b"chroot", chroot(root.as_c_str()))?;
            say_which(b"chdir in the new root", chdir(inside.as_c_str()))?;
        }
        if let Some((uid, gid, groups)) = &identity {
            say_which(b"setgroups", setgroups(groups))?;
            say_which(b"setresgid", setresgid(*gid, *gid, *gid))?;
            say_which(b"setresuid", setresuid(*uid, *uid, *uid))?;
            if !uid.is_root() {
                say_which(b"giving up capabilities", give_up_capabilities())?;
                if setuid(Uid::from_raw(0)).is_ok() {
                    return say_which(b"giving up root for good", Err(Errno::EPERM));
                }
            }
        }
        if no_new_privs {
            say_which(b"no_new_privs", set_no_new_privs())?;
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec and makes nothing but system calls; it
    // allocates nothing (what it needs was made before and is only read, and an error is a number).
    unsafe {
        command.pre_exec(become_it);
    }
    Ok(())
}

/// Gives a file that this process has made to somebody.
///
/// # Errors
/// Only root may.
pub fn give(path: &Path, owner: Owner) -> io::Result<()> {
    // Not through a link that somebody has laid there.
    std::os::unix::fs::lchown(path, owner.uid, owner.gid)
}

type Step = Result<(), Errno>;

/// The parent learns a number only; who reads the log wants to know of which call.
fn say_which(what: &[u8], step: Step) -> io::Result<()> {
    if step.is_err() {
        for text in [b"maitred: a worker cannot be started: ".as_slice(), what, b" is refused\n"] {
            // Whoever started the server may have closed it.
            let _ = rustix::io::write(rustix::stdio::stderr(), text);
        }
    }
    Ok(step?)
}

/// Of a process that is no longer root and had them not from being root (systemd's
/// AmbientCapabilities=).
fn give_up_capabilities() -> Step {
    let nothing = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let errno = |errno: rustix::io::Errno| Errno::from_raw(errno.raw_os_error());
    clear_ambient_capability_set().map_err(errno)?;
    set_capabilities(None, nothing).map_err(errno)
}

/// Whether this process is that already.
fn is_ours(identity: &Identity) -> bool {
    geteuid().as_raw() == identity.uid && getegid().as_raw() == identity.gid
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// What a command says that is started with these privileges; none where it is not started.
    fn says(privileges: &Privileges, script: &str) -> Option<String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stderr(Stdio::null());
        confine(&mut command, privileges, None).unwrap();
        let output = command.output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    fn identity() -> Option<Identity> {
        Some(Identity { uid: 12_345, gid: 23_456, groups: vec![23_456, 34_567] })
    }

    #[test]
    fn a_child_is_somebody_else_for_good_if_this_is_root() {
        let privileges = Privileges { identity: identity(), ..Privileges::default() };
        let script = "id -u; id -g; id -G; grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)' \
                      /proc/self/status | tr -d '\\t' | tr '\\n' ' '";
        let said = says(&privileges, script);
        if !geteuid().is_root() {
            eprintln!("not root: only the refusal is tested");
            assert_eq!(said, None);
            let error = check(&privileges).unwrap_err();
            assert!(error.to_string().starts_with("only root can"), "{error}");
            return;
        }
        check(&privileges).unwrap();
        let none = "0000000000000000";
        let expected = format!(
            "12345\n23456\n23456 34567\nCapInh:{none} CapPrm:{none} CapEff:{none} CapAmb:{none} \
             NoNewPrivs:0"
        );
        assert_eq!(said.as_deref(), Some(expected.as_str()));
    }

    #[test]
    fn umask_and_no_new_privs_need_nobody_to_be_root() {
        let privileges =
            Privileges { umask: Some(0o027), no_new_privs: true, ..Privileges::default() };
        check(&privileges).unwrap();
        let script = "umask; grep NoNewPrivs /proc/self/status | tr -d '\\t'";
        assert_eq!(says(&privileges, script).as_deref(), Some("0027\nNoNewPrivs:1"));
        assert!(nix::sys::prctl::get_no_new_privs().is_ok_and(|is_set| !is_set), "the child alone");
    }

    #[test]
    fn the_user_that_it_is_already_asks_for_nothing() {
        let own = Identity {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: vec![getegid().as_raw()],
        };
        let privileges = Privileges { identity: Some(own), ..Privileges::default() };
        check(&privileges).unwrap();
        assert_eq!(says(&privileges, "id -u"), Some(geteuid().as_raw().to_string()));
    }

    #[test]
    fn a_root_directory_has_to_be_one() {
        for path in ["/no/such", "/etc/passwd"] {
            let privileges = Privileges { chroot: Some(path.into()), ..Privileges::default() };
            let error = check(&privileges).unwrap_err();
            let is_root = geteuid().is_root();
            let expected = if is_root { format!("--chroot {path}: ") } else { "only root".into() };
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
}
