//! The flags of who workers are, what they may do, and whom they believe.

use super::*;
use crate::config::{ForwardedFields, Identity, Owner, Sandbox};
use crate::ident::PeerAddress;
use crate::sys::accounts::UserEntry;

/// What is tested here.
pub(super) const FLAGS: [&str; 11] = [
    "--user",
    "--group",
    "--umask",
    "--chroot",
    "--no-new-privs",
    "--sandbox",
    "--unix-owner",
    "--proxy-protocol",
    "--proxy-protocol-from",
    "--forwarded-fields",
    "--request-id",
];

/// A system with the user www (33), in groups www (33) and media (44), and without an entry for
/// 1000.
pub(super) fn accounts() -> Accounts<'static> {
    Accounts {
        user: &|name| match name {
            "www" | "33" => Ok(Some(UserEntry { uid: 33, groups: Some((33, vec![33, 44])) })),
            "1000" => Ok(Some(UserEntry { uid: 1000, groups: None })),
            "slow" => Err(io::Error::other("timed out")),
            _ => Ok(None),
        },
        group: &|name| match name {
            "media" | "44" => Ok(Some(44)),
            "50" => Ok(Some(50)),
            _ => Ok(None),
        },
        own_uid: 7,
    }
}

fn identity(arguments: &[&str]) -> Option<Identity> {
    settings(arguments).privileges.identity
}

#[test]
fn a_user_has_its_groups_unless_one_is_named() {
    assert_eq!(identity(&[]), None);
    let of = |gid, groups: &[u32]| Some(Identity { uid: 33, gid, groups: groups.to_vec() });
    assert_eq!(identity(&["--user", "www"]), of(33, &[33, 44]));
    assert_eq!(identity(&["-u", "33"]), of(33, &[33, 44]));
    assert_eq!(identity(&["-u", "www", "-g", "media"]), of(44, &[44, 33]));
    assert_eq!(identity(&["-u", "www", "-g", "50"]), of(50, &[50, 33, 44]));
    let number = Identity { uid: 1000, gid: 50, groups: vec![50] };
    assert_eq!(identity(&["-u", "1000", "-g", "50"]), Some(number));
    // The user stays.
    assert_eq!(identity(&["-g", "44"]), Some(Identity { uid: 7, gid: 44, groups: vec![44] }));
}

#[test]
fn nobody_becomes_what_is_not_there() {
    for (arguments, text) in [
        (&["--user", "nobody"][..], "--user \"nobody\": there is no such user"),
        (&["--user", "slow"], "the user database does not answer: timed out"),
        (&["--group", "none"], "--group \"none\": there is no such group"),
        (&["--user", ""], "must be the name or number of a user"),
        (&["--user", "1000"], "has no entry in the user database: say --group too"),
        (&["--umask", "8"], "must be permission bits in octal"),
        (&["--chroot", ""], "must be a path of 1 to"),
        (&["--no-new-privs=perhaps"], "must be true or false"),
        (&["--unix-owner", ":"], "must be USER, USER:GROUP or :GROUP"),
        (&["--unix-owner", "www:none"], "there is no such group"),
    ] {
        assert!(refusal(arguments).contains(text), "{arguments:?}: {}", refusal(arguments));
    }
}

#[test]
fn new_files_and_the_root_directory() {
    let privileges = settings(&["-m", "027", "--chroot", "/srv/jail"]).privileges;
    assert_eq!(privileges.umask, Some(0o27));
    assert_eq!(privileges.chroot, Some("/srv/jail".into()));
    let variables = [("MAITRED_CHROOT", "/srv/other"), ("MAITRED_UMASK", "77")];
    let privileges = resolved(&[], &variables).unwrap().settings.privileges;
    assert_eq!((privileges.umask, privileges.chroot), (Some(0o77), Some("/srv/other".into())));
}

#[test]
fn what_is_built_in_executes_nothing_and_an_application_may() {
    let is_set = |arguments: &[&str]| settings(arguments).privileges.no_new_privs;
    assert!(is_set(&[]) && is_set(&["echo"]) && is_set(&["static:."]));
    assert!(!is_set(&["pkg:app"]) && !is_set(&["--", "cmd"]));
    assert!(!is_set(&["--no-new-privs=false"]) && is_set(&["pkg:app", "--no-new-privs"]));
}

#[test]
fn a_socket_is_its_workers_unless_it_is_somebody_elses() {
    let owner = |arguments: &[&str]| settings(arguments).listen.unix_owner;
    assert_eq!(owner(&[]), None);
    assert_eq!(owner(&["-u", "www"]), Some(Owner { uid: Some(33), gid: Some(33) }));
    let other = ["-u", "www", "--unix-owner", ":media"];
    assert_eq!(owner(&other), Some(Owner { uid: None, gid: Some(44) }));
    let of = |text| owner(&["--unix-owner", text]);
    assert_eq!(of("www"), Some(Owner { uid: Some(33), gid: Some(33) }));
    assert_eq!(of("www:50"), Some(Owner { uid: Some(33), gid: Some(50) }));
    assert_eq!(of("1000"), Some(Owner { uid: Some(1000), gid: None }));
}

#[test]
fn a_sandbox_is_for_what_can_be_served_in_one() {
    let sandbox = |arguments: &[&str]| settings(arguments).sandbox;
    assert_eq!(sandbox(&[]), Sandbox::Off);
    assert_eq!(sandbox(&["static:.", "--sandbox"]), Sandbox::Required);
    assert_eq!(sandbox(&["echo", "--sandbox=try"]), Sandbox::Try);
    assert_eq!(sandbox(&["--sandbox=off"]), Sandbox::Off);
    assert!(refusal(&["--sandbox=half"]).contains("must be true, try or false"));
    for application in [&["pkg:app"][..], &["--", "cmd"]] {
        let arguments = [&["--sandbox"], application].concat();
        assert!(refusal(&arguments).contains("is for echo, static:DIR and handlers in Rust"));
        // Not quietly nothing, wherever it was said.
        assert!(resolved(application, &[("MAITRED_SANDBOX", "try")]).is_err());
        assert!(resolved(application, &[("MAITRED_SANDBOX", "false")]).is_ok());
    }
    assert!(refusal(&["--sandbox", "--no-new-privs=false"]).contains("which needs it"));
}

#[test]
fn a_proxy_header_is_taken_from_whom_it_may_come() {
    let peer = |text: &str| PeerAddress::Inet(text.parse().unwrap());
    assert_eq!(settings(&[]).proxy_protocol, None);
    let from = settings(&["--proxy-protocol"]).proxy_protocol.unwrap().from;
    assert!(from.has(peer("127.0.0.1:1")) && from.has(peer("[::1]:1")));
    assert!(from.has(PeerAddress::Local) && !from.has(peer("10.0.0.1:1")));
    let arguments = ["--proxy-protocol", "--proxy-allow-from", "10.0.0.0/8"];
    let from = settings(&arguments).proxy_protocol.unwrap().from;
    assert!(from.has(peer("10.0.0.1:1")) && !from.has(PeerAddress::Local));
    let names = refusal(&["--proxy-protocol", "--proxy-protocol-from", "10.0.0.1,balancer"]);
    assert!(names.contains("\"balancer\" is none of them"), "{names}");
    assert!(refusal(&["--proxy-protocol-from", "*"]).contains("needs --proxy-protocol"));
    assert!(refusal(&["--proxy-protocol", "--", "cmd"]).contains("itself"));
    assert!(resolved(&["--", "cmd"], &[("MAITRED_PROXY_PROTOCOL", "1")]).is_err());
}

#[test]
fn forwarded_fields_are_believed_whatever_is_served() {
    let local = PeerAddress::Inet("127.0.0.1:1".parse().unwrap());
    for application in ["echo", "pkg:app"] {
        let forwarded = |more: &[&str]| settings(&[&[application], more].concat()).forwarded;
        assert!(forwarded(&[]).believed.has(local));
        assert!(!forwarded(&["--no-proxy-headers"]).believed.has(local));
        assert!(!forwarded(&["--forwarded-allow-ips", "10.0.0.0/8"]).believed.has(local));
    }
    let platform = resolved(&["echo"], &[("FORWARDED_ALLOW_IPS", "unix")]).unwrap().settings;
    assert!(platform.forwarded.believed.has(PeerAddress::Local));
    let fields = ["--forwarded-fields", "forwarded"];
    assert_eq!(settings(&fields).forwarded.fields, ForwardedFields::Standard);
    assert!(refusal(&[&["pkg:app"][..], &fields].concat()).contains("Uvicorn's rules"));
    assert!(refusal(&["--forwarded-fields", "both"]).contains("x-forwarded, forwarded"));
}

#[test]
fn requests_have_ids_if_it_is_said() {
    assert!(!settings(&[]).request_id);
    assert!(settings(&["--request-id"]).request_id);
    assert!(resolved(&[], &[("MAITRED_REQUEST_ID", "on")]).unwrap().settings.request_id);
    let told_twice = refusal(&["--proxy-headers=perhaps"]);
    assert_eq!(told_twice.lines().count(), 1, "{told_twice}");
}
