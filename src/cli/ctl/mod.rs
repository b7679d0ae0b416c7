//! `maitred ctl`: talks to a server at its admin address.
//!
//! Each call is one request, and `reload --wait` a few. What is printed is a sentence or the state;
//! with `--json` what the server has said, as it is.
//!
//! Not here: HTTP (`client`), what commands do (`master::admin`).

pub(super) mod client;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use crate::admin::order::Order;
use crate::cli::complain;
use crate::cli::ctl::client::{Address, ClientError};
use crate::cli::faults::variable_of;
use crate::cli::raw::{RawCtl, RawCtlCommand};
use crate::exit::{CtlExit, Exit};
use crate::observe::status::{Text, WorkersText};
use crate::observe::view::{SCHEMA, View};

/// Between two looks of `reload --wait`.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(program: &str, raw: &RawCtl) -> u8 {
    let Some(command) = &raw.command else {
        complain(program, &"ctl needs a command: see ctl --help");
        return Exit::Usage as u8;
    };
    let address = match address(raw.admin.as_ref()) {
        Ok(address) => address,
        Err(refusal) => {
            complain(program, &refusal);
            return Exit::Usage as u8;
        }
    };
    let call = Call { address: &address, json: raw.json };
    match call.run(command) {
        Ok(exit) => exit as u8,
        Err(failure) => {
            complain(program, &format_args!("{address}: {failure}"));
            failure.exit() as u8
        }
    }
}

/// What a server at this address says of itself, as text or JSON, and the exit code that `status`
/// has for it.
pub(super) fn status(program: &str, address: &Address, json: bool) -> u8 {
    let call = Call { address, json };
    match call.status(false) {
        Ok(exit) => exit as u8,
        Err(failure) => {
            complain(program, &format_args!("{address}: {failure}"));
            failure.exit() as u8
        }
    }
}

/// Where the server is: as it was typed, or by the variable that `serve` reads too.
fn address(typed: Option<&OsString>) -> Result<Address, String> {
    const FLAG: &str = "--admin";
    if let Some(typed) = typed {
        return Address::parse(typed).map_err(|refusal| format!("{FLAG} {typed:?}: {refusal}"));
    }
    let variable = variable_of(FLAG);
    let set = std::env::var_os(&variable).filter(|value| !value.is_empty());
    let set = set.ok_or(format!("ctl needs the server's --admin address, or {variable}"))?;
    one_of(&set).map_err(|refusal| format!("{variable}={set:?}: {refusal}"))
}

/// Of the addresses in a variable that `serve` reads too, with commas between them, the one to ask:
/// a Unix socket is preferred, because it takes commands.
///
/// # Errors
/// What one of them must be.
pub(super) fn one_of(variable: &OsStr) -> Result<Address, String> {
    let all: Vec<OsString> = match variable.to_str() {
        Some(text) => text.split(',').map(|address| address.trim().into()).collect(),
        None => vec![variable.to_owned()],
    };
    let parsed: Result<Vec<Address>, String> =
        all.iter().map(|text| Address::parse(text)).collect();
    let mut parsed = parsed?;
    parsed.sort_by_key(|address| matches!(address, Address::Tcp(_)));
    parsed.into_iter().next().ok_or("names no address".to_owned())
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("no answer of a maitred: {0}")]
    Unreadable(serde_json::Error),
    #[error("its status has schema {0}; this program reads {SCHEMA}")]
    Schema(u32),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotServing(String),
}

impl Failure {
    fn exit(&self) -> CtlExit {
        match self {
            Failure::Client(ClientError::Unreachable(_)) | Failure::NotServing(_) => {
                CtlExit::NotServing
            }
            Failure::Client(ClientError::Nonsense(_) | ClientError::Broken(_))
            | Failure::Unreadable(_)
            | Failure::Schema(_) => CtlExit::Unreadable,
            Failure::Refused(_) => CtlExit::Refused,
            Failure::Usage(_) => CtlExit::Usage,
        }
    }
}

struct Call<'a> {
    address: &'a Address,
    json: bool,
}

/// What comes back for a command.
#[derive(Deserialize)]
struct Told {
    text: String,
}

impl Call<'_> {
    fn run(&self, command: &RawCtlCommand) -> Result<CtlExit, Failure> {
        let order = match command {
            RawCtlCommand::Status => return self.status(false),
            RawCtlCommand::Workers => return self.status(true),
            RawCtlCommand::Ping => return self.ping(),
            RawCtlCommand::Reload { wait: true } => return self.reload_and_wait(),
            RawCtlCommand::Reload { wait: false } => Order::Reload {},
            RawCtlCommand::Scale { workers } => Order::Scale { workers: *workers },
            RawCtlCommand::Drain { slot } => Order::Drain { slot: *slot },
            RawCtlCommand::Undrain { slot } => Order::Undrain { slot: *slot },
            RawCtlCommand::Stop { now } => Order::Stop { now: *now },
            RawCtlCommand::Balance { policy } => Order::Balance { policy: policy.clone() },
            RawCtlCommand::Rebalance { mode } => Order::Rebalance { mode: mode.clone() },
            RawCtlCommand::LogLevel { level } => Order::LogLevel { level: level.clone() },
            RawCtlCommand::Reopen => Order::Reopen {},
        };
        let body = self.order(&order)?;
        self.show(&body)?;
        Ok(CtlExit::Done)
    }

    fn status(&self, workers_alone: bool) -> Result<CtlExit, Failure> {
        let (body, view) = self.view()?;
        match (self.json, workers_alone) {
            (true, false) => print(&body),
            (true, true) => {
                let workers = serde_json::to_string_pretty(&view.workers);
                print(format!("{}\n", workers.map_err(Failure::Unreadable)?).as_bytes());
            }
            (false, false) => print(Text(&view).to_string().as_bytes()),
            (false, true) => print(WorkersText(&view).to_string().as_bytes()),
        }
        Ok(match (view.serving, view.reload.state.as_str()) {
            (false, _) => CtlExit::NotServing,
            (true, "failed") => CtlExit::Refused,
            (true, _) => CtlExit::Done,
        })
    }

    fn ping(&self) -> Result<CtlExit, Failure> {
        #[derive(Deserialize)]
        struct Live {
            live: bool,
            what: String,
            seconds: f64,
        }
        let reply = self.address.request("GET", "/livez", b"")?;
        let live: Live = serde_json::from_slice(&reply.body).map_err(Failure::Unreadable)?;
        if self.json {
            print(&reply.body);
        } else {
            let milliseconds = live.seconds * 1000.0;
            print(format!("{} ({milliseconds:.1} ms)\n", escaped(&live.what)).as_bytes());
        }
        Ok(if live.live { CtlExit::Done } else { CtlExit::NotServing })
    }

    /// Until the round that is begun here, or a later one, has come to an end.
    fn reload_and_wait(&self) -> Result<CtlExit, Failure> {
        let reloads = |view: &View| view.events.get("reloads").unwrap_or(0);
        let before = reloads(&self.view()?.1);
        self.order(&Order::Reload {})?;
        loop {
            let (body, view) = self.view()?;
            if !view.serving {
                return Err(Failure::NotServing("the server ends".to_owned()));
            }
            if reloads(&view) > before && view.reload.state != "running" {
                if self.json {
                    print(&body);
                } else {
                    let reload = &view.reload;
                    let (state, replaced) = (escaped(&reload.state), reload.replaced);
                    let text =
                        format!("reload {state}: {replaced} of {} workers replaced\n", reload.of);
                    print(text.as_bytes());
                }
                let is_done = view.reload.state == "done";
                return Ok(if is_done { CtlExit::Done } else { CtlExit::Refused });
            }
            thread::sleep(LOOK);
        }
    }

    fn view(&self) -> Result<(Vec<u8>, View), Failure> {
        let reply = self.address.request("GET", "/status", b"")?;
        if reply.status != 200 {
            let said = String::from_utf8_lossy(&reply.body);
            return Err(Failure::NotServing(escaped(said.trim_end())));
        }
        let view: View = serde_json::from_slice(&reply.body).map_err(Failure::Unreadable)?;
        match view.schema {
            SCHEMA => Ok((reply.body, view)),
            other => Err(Failure::Schema(other)),
        }
    }

    /// Gives a command; what came back, if it was carried out.
    fn order(&self, order: &Order) -> Result<Vec<u8>, Failure> {
        let body = serde_json::to_vec(order).map_err(Failure::Unreadable)?;
        let reply = self.address.request("POST", "/ctl", &body)?;
        let told: Told = serde_json::from_slice(&reply.body).map_err(Failure::Unreadable)?;
        let text = escaped(&told.text);
        match reply.status {
            200 => Ok(reply.body),
            400 => Err(Failure::Usage(text)),
            503 => Err(Failure::NotServing(text)),
            _ => Err(Failure::Refused(text)),
        }
    }

    fn show(&self, body: &[u8]) -> Result<(), Failure> {
        if self.json {
            print(body);
            return Ok(());
        }
        let told: Told = serde_json::from_slice(body).map_err(Failure::Unreadable)?;
        print(format!("{}\n", escaped(&told.text)).as_bytes());
        Ok(())
    }
}

/// A reader that has gone (`ctl status | head -1`) has its exit code all the same.
fn print(bytes: &[u8]) {
    let _ = io::stdout().write_all(bytes);
}

/// What answers may be anything.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    crate::observe::escape::message(text, &mut out);
    out
}
