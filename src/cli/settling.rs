//! From this process's arguments and surroundings to settings: at start, and again at each reload.
//!
//! Here is all that `resolve` must not do: the environment is looked at, the configuration file read,
//! names are asked for. A worker goes by the text that its master has read: the file may have changed
//! since, and be half written.
//!
//! Not here: what values mean (`resolve`), the file's keys (`config_file`).

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::thread;

use crate::cli::binds::ANY_SOCKET;
use crate::cli::config_file::{self, ConfigFile};
use crate::cli::faults::{Faults, variable_of};
use crate::cli::raw::RawServe;
use crate::cli::resolve::{Accounts, Resolved, Surroundings, resolve};
use crate::config::{CONFIG_SIZE_MAX, ConfigText};
use crate::master::env_file::{self, EnvFile};
use crate::sys::accounts;
use crate::sys::inherit::{CONFIG_PATH_VARIABLE, CONFIG_TEXT_VARIABLE};
use crate::sys::listener::{SystemdSocket, keep_to_this_process, passed_by_systemd};

const ENV_FILE: &str = "--env-file";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    /// Who only asks whether the settings hold.
    Checker,
    Worker,
}

/// Why there are no settings. Each line of its text is one fault.
#[derive(Debug)]
pub(super) enum Unsettled {
    /// The configuration file cannot be read.
    File(PathBuf, io::Error),
    /// The file of variables cannot be read.
    EnvFile(PathBuf, io::Error),
    /// What is wrong with values.
    Faults(Faults),
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsettled::File(path, cause) => {
                write!(f, "reading the configuration file {}: {cause}", path.display())
            }
            Unsettled::EnvFile(path, cause) => {
                write!(f, "{ENV_FILE} {:?}: cannot be read: {cause}", path.as_os_str())
            }
            Unsettled::Faults(faults) => faults.fmt(f),
        }
    }
}

/// What has been found out.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) resolved: Resolved,
    pub(super) variables: AllVariables,
}

/// The environment, and beneath it what `--env-file` says: it counts for the server itself too, as in
/// Uvicorn (WEB_CONCURRENCY).
#[derive(Debug, Default)]
pub(super) struct AllVariables {
    file: EnvFile,
}

impl AllVariables {
    pub(super) fn get(&self, name: &str) -> Option<OsString> {
        let in_file = || self.file.variables.iter().find(|(other, _)| other == name);
        std::env::var_os(name).or_else(|| in_file().map(|(_, value)| value.into()))
    }
}

/// The settings of this process as they are now.
pub(super) fn settle(raw: &RawServe, role: Role) -> Result<Settled, Unsettled> {
    let (config, variables) = match role {
        // A worker has been given them by its master.
        Role::Worker => (inherited_config(), AllVariables::default()),
        Role::Master | Role::Checker => {
            let config = read_config(raw)?;
            let variables = AllVariables { file: variables_of_file(raw, config.as_ref())? };
            (config, variables)
        }
    };
    let surroundings = Surroundings {
        variables: &|name| variables.get(name),
        config,
        // The master has the addresses already; a worker must not fail to start, or wait, because
        // a name server does not answer now.
        lookup: match role {
            Role::Worker => &|_| Ok(vec![Ipv4Addr::UNSPECIFIED.into()]),
            Role::Master | Role::Checker => &look_up,
        },
        // A worker is already who it is to be, and may have no database where it is.
        accounts: match role {
            Role::Worker => Accounts {
                user: &|_| accounts::own().map(Some),
                group: &|_| Ok(accounts::own()?.groups.map(|(gid, _)| gid)),
                own_uid: accounts::own_uid(),
            },
            Role::Master | Role::Checker => Accounts {
                user: &accounts::user,
                group: &accounts::group,
                own_uid: accounts::own_uid(),
            },
        },
        cores: thread::available_parallelism().map_or(1, usize::from),
        systemd_sockets: match role {
            Role::Master => systemd_sockets(),
            Role::Worker | Role::Checker => {
                vec![SystemdSocket { number: 0, name: ANY_SOCKET.to_owned() }]
            }
        },
    };
    let resolved = resolve(raw, &surroundings).map_err(Unsettled::Faults)?;
    Ok(Settled { resolved, variables })
}

/// What systemd has passed, whether it is served or not: no worker gets any of it.
fn systemd_sockets() -> Vec<SystemdSocket> {
    let variable = |name| std::env::var(name).ok();
    let (pid, fds) = (variable("LISTEN_PID"), variable("LISTEN_FDS"));
    let names = variable("LISTEN_FDNAMES");
    let passed =
        passed_by_systemd(std::process::id(), pid.as_deref(), fds.as_deref(), names.as_deref());
    passed.iter().for_each(|socket| keep_to_this_process(socket.number));
    passed
}

fn variables_of_file(raw: &RawServe, config: Option<&ConfigText>) -> Result<EnvFile, Unsettled> {
    let variable = variable_of(ENV_FILE);
    let in_config = || {
        let file = ConfigFile::parse(config?, &[ENV_FILE.to_owned()]).0;
        file.values(&variable).first().map(|given| given.value.clone())
    };
    let path = raw.python.env_file.clone().or_else(|| std::env::var_os(&variable));
    let path = path.or_else(in_config);
    // An empty variable is none, and an empty flag is refused with all else that is.
    let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(EnvFile::default()) };
    env_file::read(Path::new(&path), &|name| std::env::var_os(name))
        .map_err(|cause| Unsettled::EnvFile(path.into(), cause))
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
