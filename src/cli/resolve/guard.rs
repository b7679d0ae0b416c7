//! The flags of who workers are, what they may do, and whom they believe.
//!
//! What keeps somebody out is refused where it would not hold, wherever it was said: a variable
//! that quietly did nothing would be believed to do something.
//!
//! Not here: whether this process may (`sys::privileges`), the flags of Python's proxies
//! (`python`).

use std::io;
use std::path::PathBuf;

use crate::cli::faults::{Given, Reader, variable_of};
use crate::cli::raw::{RawGuard, RawServe};
use crate::cli::resolve::python;
use crate::cli::values::{self, Refusal};
use crate::config::{
    App, Forwarded, ForwardedFields, Identity, Owner, PROXY_PROTOCOL_FROM, PeerList, Privileges,
    ProxyProtocol, Sandbox, Settings,
};
use crate::sys::accounts::UserEntry;

/// Asks for a user of this name or number.
pub type UserLookup<'a> = &'a dyn Fn(&str) -> io::Result<Option<UserEntry>>;

/// Asks for a group of this name or number.
pub type GroupLookup<'a> = &'a dyn Fn(&str) -> io::Result<Option<u32>>;

/// The system's databases of users and groups.
#[derive(Clone, Copy)]
pub struct Accounts<'a> {
    /// Users.
    pub user: UserLookup<'a>,
    /// Groups.
    pub group: GroupLookup<'a>,
    /// The user that this process is.
    pub own_uid: u32,
}

/// All of it.
pub(super) struct Guard {
    pub(super) privileges: Privileges,
    pub(super) sandbox: Sandbox,
    pub(super) unix_owner: Option<Owner>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    pub(super) forwarded: Forwarded,
    pub(super) request_id: bool,
}

impl Guard {
    pub(super) fn put_into(self, settings: &mut Settings) {
        settings.privileges = self.privileges;
        settings.sandbox = self.sandbox;
        settings.listen.unix_owner = self.unix_owner;
        settings.proxy_protocol = self.proxy_protocol;
        settings.forwarded = self.forwarded;
        settings.request_id = self.request_id;
    }
}

pub(super) fn guard(
    raw: &RawServe,
    app: &App,
    accounts: Accounts<'_>,
    reader: &mut Reader<'_>,
) -> Guard {
    let privileges = privileges(&raw.guard, app, accounts, reader);
    let sandbox = sandbox(&raw.guard, app, reader);
    if sandbox != Sandbox::Off && !privileges.no_new_privs {
        reader.refuse("--no-new-privs", None, "cannot be false with --sandbox, which needs it");
    }
    // The files that the master makes for workers' clients are the workers' own.
    let own = privileges
        .identity
        .as_ref()
        .map(|identity| Owner { uid: Some(identity.uid), gid: Some(identity.gid) });
    let owner =
        reader.value("--unix-owner", raw.guard.unix_owner.as_deref(), |text| owner(text, accounts));
    Guard {
        privileges,
        sandbox,
        unix_owner: owner.map(|given| given.value).or(own),
        proxy_protocol: proxy_protocol(&raw.guard, app, reader),
        forwarded: forwarded(raw, app, reader),
        request_id: reader.value_or(
            "--request-id",
            raw.guard.request_id.as_deref(),
            false,
            values::switch,
        ),
    }
}

fn privileges(
    raw: &RawGuard,
    app: &App,
    accounts: Accounts<'_>,
    reader: &mut Reader<'_>,
) -> Privileges {
    let user = reader.value("--user", raw.user.as_deref(), |text| user(text, accounts));
    let group = reader.value("--group", raw.group.as_deref(), |text| group(text, accounts));
    let umask = reader.value("--umask", raw.umask.as_deref(), values::unix_mode);
    let typed = raw.chroot.clone();
    let typed = typed.map(|value| Given { name: "--chroot".to_owned(), value, typed: true });
    let chroot = typed.or_else(|| reader.variable(&variable_of("--chroot")));
    let chroot = chroot.and_then(|given| reader.parsed_raw(given, values::path));
    // What an application executes may be set-uid on purpose (sendmail, sudo, ping): that is its
    // own affair. What is built in executes nothing.
    let executes = matches!(app, App::Python(_) | App::Command(_));
    let no_new_privs =
        reader.value_or("--no-new-privs", raw.no_new_privs.as_deref(), !executes, values::switch);
    let group = group.map(|given| given.value);
    let identity = match (user.map(|given| given.value), group) {
        (Some(UserEntry { uid, groups: Some((own, groups)) }), group) => {
            let gid = group.unwrap_or(own);
            let others = groups.into_iter().filter(|other| *other != gid);
            Some(Identity { uid, gid, groups: [gid].into_iter().chain(others).collect() })
        }
        (Some(UserEntry { uid, groups: None }), Some(gid)) => {
            Some(Identity { uid, gid, groups: vec![gid] })
        }
        (Some(UserEntry { uid, groups: None }), None) => {
            // The master's own group would be root's, and nobody has asked for that.
            let refusal = "has no entry in the user database: say --group too";
            reader.refuse("--user", Some(uid.to_string().into()), refusal);
            None
        }
        // The user stays.
        (None, Some(gid)) => Some(Identity { uid: accounts.own_uid, gid, groups: vec![gid] }),
        (None, None) => None,
    };
    let umask = umask.map(|given| given.value);
    let chroot: Option<PathBuf> = chroot.map(|given| given.value);
    Privileges { identity, umask, chroot, no_new_privs }
}

fn user(text: &str, accounts: Accounts<'_>) -> Result<UserEntry, Refusal> {
    if text.is_empty() {
        return Err("must be the name or number of a user".to_owned());
    }
    match (accounts.user)(text) {
        Ok(Some(entry)) => Ok(entry),
        Ok(None) => Err("there is no such user".to_owned()),
        Err(cause) => Err(format!("the user database does not answer: {cause}")),
    }
}

fn group(text: &str, accounts: Accounts<'_>) -> Result<u32, Refusal> {
    if text.is_empty() {
        return Err("must be the name or number of a group".to_owned());
    }
    match (accounts.group)(text) {
        Ok(Some(gid)) => Ok(gid),
        Ok(None) => Err("there is no such group".to_owned()),
        Err(cause) => Err(format!("the group database does not answer: {cause}")),
    }
}

/// `USER`, `USER:GROUP` or `:GROUP`, as chown(1) has it. Of a user alone the group is its own.
fn owner(text: &str, accounts: Accounts<'_>) -> Result<Owner, Refusal> {
    let (name, group_name) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() && group_name.is_empty() {
        return Err("must be USER, USER:GROUP or :GROUP".to_owned());
    }
    let user = (!name.is_empty()).then(|| user(name, accounts)).transpose()?;
    let gid = match (group_name, &user) {
        ("", Some(user)) => user.groups.as_ref().map(|(gid, _)| *gid),
        (name, _) => Some(group(name, accounts)?),
    };
    Ok(Owner { uid: user.map(|user| user.uid), gid })
}

fn sandbox(raw: &RawGuard, app: &App, reader: &mut Reader<'_>) -> Sandbox {
    let parse = |text: &str| match text {
        "try" => Ok(Sandbox::Try),
        _ => match values::switch(text) {
            Ok(true) => Ok(Sandbox::Required),
            Ok(false) => Ok(Sandbox::Off),
            Err(_) => Err("must be true, try or false".to_owned()),
        },
    };
    let sandbox = reader.value_or("--sandbox", raw.sandbox.as_deref(), Sandbox::Off, parse);
    let refusal = match app {
        App::Python(_) => "a Python application imports, connects and executes as it likes",
        App::Command(_) => "a CMD gives up what it does not need by itself",
        App::Embedded | App::Echo | App::Static { .. } => return sandbox,
    };
    if sandbox != Sandbox::Off {
        let refusal = format!("is for echo, static:DIR and handlers in Rust: {refusal}");
        reader.refuse("--sandbox", None, refusal);
    }
    Sandbox::Off
}

fn proxy_protocol(raw: &RawGuard, app: &App, reader: &mut Reader<'_>) -> Option<ProxyProtocol> {
    let is_on =
        reader.value_or("--proxy-protocol", raw.proxy_protocol.as_deref(), false, values::switch);
    let from = reader.value("--proxy-protocol-from", raw.proxy_protocol_from.as_deref(), |text| {
        PeerList::parse_addresses(text).map_err(|item| {
            format!("must be addresses, networks, unix or *, and {item:?} is none of them")
        })
    });
    if !is_on {
        if from.is_some_and(|given| given.typed) {
            reader.refuse("--proxy-protocol-from", None, "needs --proxy-protocol");
        }
        return None;
    }
    if matches!(app, App::Command(_)) {
        let refusal = "a CMD reads its connections' first bytes, and their PROXY headers, itself";
        reader.refuse("--proxy-protocol", None, refusal);
    }
    let from = from.map_or_else(|| PeerList::parse(PROXY_PROTOCOL_FROM), |given| given.value);
    Some(ProxyProtocol { from })
}

fn forwarded(raw: &RawServe, app: &App, reader: &mut Reader<'_>) -> Forwarded {
    let (is_on, list) = match app {
        App::Python(app) => (app.proxy_headers, app.forwarded_allow_ips.clone()),
        App::Embedded | App::Echo | App::Static { .. } | App::Command(_) => {
            python::proxy_headers(&raw.python, reader)
        }
    };
    let fields =
        reader.value("--forwarded-fields", raw.guard.forwarded_fields.as_deref(), |text| {
            values::one_of(text, &ForwardedFields::WORDS)
        });
    let fields = fields.map_or(ForwardedFields::default(), |given| given.value);
    if matches!(app, App::Python(_)) && fields != ForwardedFields::default() {
        let refusal = "a Python application has Uvicorn's rules: X-Forwarded-For and -Proto";
        reader.refuse("--forwarded-fields", None, refusal);
    }
    let believed = if is_on { PeerList::parse(&list) } else { PeerList::default() };
    Forwarded { believed, fields }
}
