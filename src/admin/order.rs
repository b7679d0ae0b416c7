//! The JSON of a command: `{"command":"scale","workers":4}`.
//!
//! Strict in what it takes: an unknown command, an unknown member or a number out of bounds is an
//! error in words. The client (`cli::ctl`) writes the same type.
//!
//! Not here: its way to the master (`frame`), who may give one (`routes`).

use serde::{Deserialize, Serialize};

use crate::admin::frame::{Command, StopHow};
use crate::config::{ADMIN_TEXT_SIZE_MAX, Balance, Rebalance, WORKERS_MAX};
use crate::ident::Slot;

/// A command as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// To answer.
    Ping {},
    /// So many workers.
    Scale {
        /// How many.
        workers: u16,
    },
    /// Replace all workers, by the settings as they are now.
    Reload {},
    /// Take a slot out of service; without one the whole server, which then ends.
    Drain {
        /// Which.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slot: Option<u16>,
    },
    /// Put it into service again.
    Undrain {
        /// Which.
        slot: u16,
    },
    /// End.
    Stop {
        /// At once.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        now: bool,
    },
    /// Another policy.
    Balance {
        /// As `--balance` takes it.
        policy: String,
    },
    /// Another way of rebalancing.
    Rebalance {
        /// As `--rebalance` takes it.
        mode: String,
    },
    /// What is worth a line of the log.
    LogLevel {
        /// As `--log-level` takes it.
        level: String,
    },
    /// Log files have been moved.
    Reopen {},
}

impl Order {
    /// Reads one.
    ///
    /// # Errors
    /// Why it is none, as a sentence.
    pub fn read(json: &[u8]) -> Result<Order, String> {
        serde_json::from_slice(json).map_err(|error| format!("no command: {error}"))
    }

    /// What the master is asked.
    ///
    /// # Errors
    /// Why it cannot be asked that, as a sentence.
    pub fn command(&self) -> Result<Command, String> {
        Ok(match self {
            Order::Ping {} => Command::Ping,
            Order::Scale { workers } if (1..=WORKERS_MAX).contains(workers) => {
                Command::Scale(*workers)
            }
            Order::Scale { .. } => return Err(format!("workers must be from 1 to {WORKERS_MAX}")),
            Order::Reload {} => Command::Reload,
            Order::Drain { slot: Some(slot) } => Command::Drain(Slot(*slot)),
            Order::Drain { slot: None } | Order::Stop { now: false } => {
                Command::Stop(StopHow::Graceful)
            }
            Order::Undrain { slot } => Command::Undrain(Slot(*slot)),
            Order::Stop { now: true } => Command::Stop(StopHow::Now),
            Order::Balance { policy } => {
                let all = Balance::ALL.map(Balance::name).join(", ");
                let refusal = || format!("policy must be one of {all}");
                Command::Balance(Balance::of(policy).ok_or_else(refusal)?)
            }
            Order::Rebalance { mode } => {
                let all = Rebalance::ALL.map(Rebalance::name).join(", ");
                let refusal = || format!("mode must be one of {all}");
                Command::Rebalance(Rebalance::of(mode).ok_or_else(refusal)?)
            }
            Order::LogLevel { level } if level.len() <= ADMIN_TEXT_SIZE_MAX => {
                Command::LogLevel(level.clone())
            }
            Order::LogLevel { .. } => {
                return Err(format!("level must have at most {ADMIN_TEXT_SIZE_MAX} bytes"));
            }
            Order::Reopen {} => Command::Reopen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(json: &str) -> Result<Command, String> {
        Order::read(json.as_bytes())?.command()
    }

    #[test]
    fn every_command_is_read_and_written_the_same() {
        for (json, expected) in [
            (r#"{"command":"ping"}"#, Command::Ping),
            (r#"{"command":"scale","workers":4}"#, Command::Scale(4)),
            (r#"{"command":"reload"}"#, Command::Reload),
            (r#"{"command":"drain"}"#, Command::Stop(StopHow::Graceful)),
            (r#"{"command":"drain","slot":3}"#, Command::Drain(Slot(3))),
            (r#"{"command":"undrain","slot":3}"#, Command::Undrain(Slot(3))),
            (r#"{"command":"stop"}"#, Command::Stop(StopHow::Graceful)),
            (r#"{"command":"stop","now":true}"#, Command::Stop(StopHow::Now)),
            (r#"{"command":"balance","policy":"random"}"#, Command::Balance(Balance::Random)),
            (r#"{"command":"rebalance","mode":"never"}"#, Command::Rebalance(Rebalance::Never)),
            (r#"{"command":"log-level","level":"debug"}"#, Command::LogLevel("debug".into())),
            (r#"{"command":"reopen"}"#, Command::Reopen),
        ] {
            assert_eq!(command(json).as_ref(), Ok(&expected), "{json}");
            let order = Order::read(json.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&order).unwrap(), json);
        }
    }

    #[test]
    fn what_is_no_command_is_refused_in_words() {
        for (json, word) in [
            ("", "no command"),
            ("{}", "command"),
            ("[]", "no command"),
            (r#"{"command":"format"}"#, "format"),
            (r#"{"command":"scale"}"#, "workers"),
            (r#"{"command":"scale","workers":0}"#, "from 1 to 1024"),
            (r#"{"command":"scale","workers":-1}"#, "-1"),
            (r#"{"command":"scale","workers":1e9}"#, "no command"),
            (r#"{"command":"scale","workers":4,"by":"me"}"#, "by"),
            (r#"{"command":"reload","now":true}"#, "now"),
            (r#"{"command":"undrain"}"#, "slot"),
            (r#"{"command":"balance","policy":"fair"}"#, "round-robin"),
            (r#"{"command":"rebalance","mode":"sometimes"}"#, "never, auto, always"),
            (r#"{"command":"stop"} {"command":"stop"}"#, "trailing"),
        ] {
            let refusal = command(json).expect_err(json);
            assert!(refusal.contains(word), "{json}: {refusal}");
        }
        let long = "x".repeat(ADMIN_TEXT_SIZE_MAX + 1);
        assert!(Order::LogLevel { level: long }.command().is_err());
    }
}
