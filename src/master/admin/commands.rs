//! What operators tell the master, done by the same functions as signals and reloads do it.
//!
//! What is switched here holds until the configuration is read again (HUP) or another image takes
//! over (USR2): then what stands in it counts.
//!
//! Not here: who may give commands (`crate::admin::routes`).

use tracing::info;

use crate::account::HappenedKind;
use crate::admin::frame::{Command, StopHow};
use crate::config::{Balance, Rebalance};
use crate::master::Master;

impl Master {
    /// Carries a command out. What was done, or why nothing was, in words.
    pub(super) fn carry_out(&mut self, command: Command) -> Result<String, String> {
        info!(?command, "an operator's command");
        match command {
            Command::Ping => Ok(String::new()),
            Command::Stop(how) => self.stop_by_command(how),
            _ if self.stopping.is_stopping() => Err("the server ends".to_owned()),
            Command::Scale(workers) => {
                let by = i32::from(workers) - i32::from(self.supervisor.workers());
                let workers = self.scale(by);
                Ok(format!("{workers} workers are wanted"))
            }
            Command::Reload => {
                self.reload()?;
                Ok("workers are being replaced".to_owned())
            }
            Command::Drain(slot) => self.drain_slot(slot),
            Command::Undrain(slot) => self.undrain_slot(slot),
            Command::Balance(balance) => self.switch_balance(balance),
            Command::Rebalance(rebalance) => self.switch_rebalance(rebalance),
            Command::LogLevel(level) => {
                (self.hooks.set_log_level)(&level)?;
                Ok(format!("the master logs {level}"))
            }
            Command::Reopen => {
                self.reopen_logs();
                Ok("log files are opened again".to_owned())
            }
        }
    }

    fn stop_by_command(&mut self, how: StopHow) -> Result<String, String> {
        match how {
            StopHow::Now => {
                self.stop_fast();
                Ok("the server ends at once".to_owned())
            }
            // By a signal the second one is a fast one; here it has a word of its own.
            StopHow::Graceful if self.stopping.is_stopping() => {
                Ok("the server ends already".to_owned())
            }
            StopHow::Graceful => {
                self.stop(self.settings.lifecycle.drain_delay);
                Ok("the server ends: what has been accepted is answered".to_owned())
            }
        }
    }

    fn switch_balance(&mut self, balance: Balance) -> Result<String, String> {
        self.check_lends()?;
        let seed = self.settings.seed.unwrap_or_else(|| fastrand::u64(..));
        self.dispatcher.switch_policy(balance, &self.settings.weights, seed);
        self.settings.balance = balance;
        self.happened(HappenedKind::Policy, None, &format!("--balance {balance}"));
        Ok(format!("connections are seated by {balance}"))
    }

    /// Whether a worker gives connections back it goes by its own settings, and only a new one can
    /// have others: those are replaced then.
    fn switch_rebalance(&mut self, rebalance: Rebalance) -> Result<String, String> {
        self.check_lends()?;
        let always = |mode| mode == Rebalance::Always;
        let needs_others = always(rebalance) != always(self.settings.rebalance);
        self.dispatcher.switch_rebalance(rebalance);
        self.settings.rebalance = rebalance;
        self.admin.rebalance = Some(rebalance);
        self.want_alarms();
        self.happened(HappenedKind::Policy, None, &format!("--rebalance {rebalance}"));
        if needs_others {
            self.replace_workers();
            return Ok(format!("--rebalance {rebalance}: workers are being replaced for it"));
        }
        Ok(format!("--rebalance {rebalance}"))
    }

    fn check_lends(&self) -> Result<(), String> {
        if self.acceptor.lends() {
            return Ok(());
        }
        Err(format!("with --accept {} nobody is lent anything", self.settings.accept.arm))
    }
}
