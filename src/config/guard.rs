//! Who the workers are, what they may do, and whom they believe.
//!
//! Not here: how it is carried out (`sys::privileges`, `sys::sandbox`, `proxy_protocol`,
//! `http::forwarded`).

use std::path::PathBuf;

use crate::config::peers::PeerList;

/// What a worker process is before it executes anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Who it is; `None` leaves it what the master is.
    pub identity: Option<Identity>,
    /// Permission bits that its new files do not get; `None` leaves the master's.
    pub umask: Option<u32>,
    /// The directory that is its root.
    pub chroot: Option<PathBuf>,
    /// It cannot become more than it is by executing something (`PR_SET_NO_NEW_PRIVS(2const)`).
    pub no_new_privs: bool,
}

impl Privileges {
    /// Whose a file is that the master creates and workers write to.
    pub fn files_owner(&self) -> Owner {
        self.identity.as_ref().map_or(Owner::default(), |identity| Owner {
            uid: Some(identity.uid),
            gid: Some(identity.gid),
        })
    }
}

/// Numbers, since names are looked up once: a name server that does not answer must not keep a
/// worker from being replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
    /// All groups, that one among them.
    pub groups: Vec<u32>,
}

/// Who owns something; `None` leaves it to whom it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

/// Whether workers give up what serving does not need: opening files outside of the served
/// directory, connecting, executing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// They keep it.
    #[default]
    Off,
    /// They give it up, or do not start.
    Required,
    /// They give up as much of it as this kernel can take.
    Try,
}

/// Every connection begins with a PROXY header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Who may connect at all: whoever sends a header says who the client is.
    pub from: PeerList,
}

/// Who may send a PROXY header unless it is said: what Gunicorn has, and proxies at a Unix socket.
pub const PROXY_PROTOCOL_FROM: &str = "127.0.0.1,::1,unix";

/// Whose word counts for who the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Peers whose fields are believed; nobody's where the list is empty.
    pub believed: PeerList,
    /// Which fields they are. One kind alone: a proxy that writes one kind passes the other on as
    /// the client has written it.
    pub fields: ForwardedFields,
}

/// How a proxy says who the client is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedFields {
    /// X-Forwarded-For and X-Forwarded-Proto.
    #[default]
    XForwarded,
    /// Forwarded (RFC 7239).
    Standard,
}

impl ForwardedFields {
    /// Its words on the command line.
    pub const WORDS: [(&str, ForwardedFields); 2] =
        [("x-forwarded", ForwardedFields::XForwarded), ("forwarded", ForwardedFields::Standard)];

    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            ForwardedFields::XForwarded => "x-forwarded",
            ForwardedFields::Standard => "forwarded",
        }
    }
}

/// Whose forwarded fields are believed unless it is said: Uvicorn's default.
pub const FORWARDED_ALLOW_IPS: &str = "127.0.0.1";

impl Default for Forwarded {
    fn default() -> Self {
        Forwarded {
            believed: PeerList::parse(FORWARDED_ALLOW_IPS),
            fields: ForwardedFields::default(),
        }
    }
}
