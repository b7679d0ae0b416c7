//! From this process's arguments and surroundings to settings: at start, and again at each reload.
//!
//! Here is all that `resolve` must not do: the environment is looked at, the configuration file read,
//! names are asked for. A worker goes by the text that its master has read: the file may have changed
//! since, and be half written.
//!
//! Not here: what values mean (`resolve`), the file's keys (`config_file`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::thread;

use crate::cli::config_file;
use crate::cli::faults::Faults;
use crate::cli::raw::RawServe;
use crate::cli::resolve::{Resolved, Surroundings, resolve};
use crate::config::{CONFIG_SIZE_MAX, ConfigText};
use crate::sys::inherit::{CONFIG_PATH_VARIABLE, CONFIG_TEXT_VARIABLE};
use crate::sys::listener::passed_by_systemd;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    Worker,
}

/// Why there are no settings. Each line of its text is one fault.
#[derive(Debug)]
pub(super) enum Unsettled {
    /// The configuration file cannot be read.
    File(PathBuf, io::Error),
    /// What is wrong with values.
    Faults(Faults),
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsettled::File(path, cause) => {
                write!(f, "reading the configuration file {}: {cause}", path.display())
            }
            Unsettled::Faults(faults) => faults.fmt(f),
        }
    }
}

/// The settings of this process as they are now.
pub(super) fn settle(raw: &RawServe, role: Role) -> Result<Resolved, Unsettled> {
    let config = match role {
        Role::Worker => inherited_config(),
        Role::Master => read_config(raw)?,
    };
    let surroundings = Surroundings {
        variables: &|name| std::env::var_os(name),
        config,
        // The master has the addresses already; a worker must not fail to start, or wait, because
        // a name server does not answer now.
        lookup: match role {
            Role::Worker => &|_| Ok(vec![Ipv4Addr::UNSPECIFIED.into()]),
            Role::Master => &look_up,
        },
        cores: thread::available_parallelism().map_or(1, usize::from),
        systemd_sockets: passed_by_systemd(
            std::process::id(),
            std::env::var("LISTEN_PID").ok().as_deref(),
            std::env::var("LISTEN_FDS").ok().as_deref(),
        ),
    };
    resolve(raw, &surroundings).map_err(Unsettled::Faults)
}

fn inherited_config() -> Option<ConfigText> {
    let path = std::env::var_os(CONFIG_PATH_VARIABLE)?;
    let text = std::env::var(CONFIG_TEXT_VARIABLE).ok()?;
    Some(ConfigText { path: path.into(), text })
}

fn read_config(raw: &RawServe) -> Result<Option<ConfigText>, Unsettled> {
    let named = raw.config.clone().or_else(|| std::env::var_os("MAITRED_CONFIG"));
    let named = named.filter(|path| !path.is_empty()).map(PathBuf::from);
    let here = std::env::current_dir().map_err(|cause| Unsettled::File(".".into(), cause))?;
    let Some(path) = config_file::find(named.as_deref(), &here) else { return Ok(None) };
    let text = read_bounded(&path).map_err(|cause| Unsettled::File(path.clone(), cause))?;
    // Shown as it was named: what people look for in messages is what they have typed.
    let path = named.unwrap_or_else(|| config_file::FOUND_AS.into());
    Ok(Some(ConfigText { path, text }))
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = CONFIG_SIZE_MAX as u64;
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() > CONFIG_SIZE_MAX {
        let message = format!("it is larger than {CONFIG_SIZE_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    if text.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has a NUL in it"));
    }
    Ok(text)
}

fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address: SocketAddr| address.ip()).collect())
}
