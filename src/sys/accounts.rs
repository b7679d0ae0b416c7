//! Users and groups, by name or number, as the system's databases have them.
//!
//! Looking one up may ask a name server, and takes what that takes: at start and at a reload, never
//! between.
//!
//! Not here: what a worker becomes (`privileges`).

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups};

/// A user, as far as workers need to know one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEntry {
    /// The number.
    pub uid: u32,
    /// Its group and all its groups; none where there is no entry for the number.
    pub groups: Option<(u32, Vec<u32>)>,
}

/// The user of this name, or of this number; `None` if there is no such name.
///
/// # Errors
/// The database does not answer.
pub fn user(name: &str) -> io::Result<Option<UserEntry>> {
    let number = name.parse().ok();
    let found = match number {
        Some(uid) => User::from_uid(Uid::from_raw(uid))?,
        None => User::from_name(name)?,
    };
    let Some(found) = found else {
        return Ok(number.map(|uid| UserEntry { uid, groups: None }));
    };
    let name = CString::new(found.name)?;
    let groups = getgrouplist(&name, found.gid)?.into_iter().map(Gid::as_raw).collect();
    Ok(Some(UserEntry { uid: found.uid.as_raw(), groups: Some((found.gid.as_raw(), groups)) }))
}

/// The group of this name, or this number; `None` if there is no such name.
///
/// # Errors
/// The database does not answer.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    match name.parse() {
        Ok(gid) => Ok(Some(gid)),
        Err(_) => Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())),
    }
}

/// The user that this process is.
///
/// # Errors
/// None, with as many groups as Linux allows.
pub fn own() -> io::Result<UserEntry> {
    let groups = getgroups()?.into_iter().map(Gid::as_raw).collect();
    Ok(UserEntry { uid: geteuid().as_raw(), groups: Some((getegid().as_raw(), groups)) })
}

/// Its number.
pub fn own_uid() -> u32 {
    geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_have_names_and_numbers() {
        let root = user("root").unwrap().unwrap();
        assert_eq!(user("0").unwrap().unwrap(), root);
        assert_eq!((root.uid, root.groups.unwrap().0), (0, 0));
        assert_eq!(group("root").unwrap(), Some(0));
        assert_eq!(group("12345").unwrap(), Some(12345));
        assert_eq!(user("no-such-user").unwrap(), None);
        assert_eq!(group("no-such-group").unwrap(), None);
        // No entry, and a number all the same: it is what a container often runs as.
        let number = user("3999999").unwrap().unwrap();
        assert_eq!(number, UserEntry { uid: 3_999_999, groups: None });
        assert_eq!(own().unwrap().uid, geteuid().as_raw());
    }
}
