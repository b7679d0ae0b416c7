//! A reload: the settings are asked for again, and workers replaced that go by them.
//!
//! What is broken changes nothing: not the settings, and no worker. What only a new image can take
//! (addresses, whose descriptors are open; the files that are locked) is named, and waits for USR2.
//!
//! Not here: which slots are replaced when (`supervise`), reading the file (`cli`).

use tracing::{error, info, warn};

use crate::account::HappenedKind;
use crate::config::{App, Settings};
use crate::master::Master;
use crate::supervise::hang::HangJudge;
use crate::supervise::recycling::Recycling;

impl Master {
    /// HUP: takes over what has changed, and replaces the workers.
    ///
    /// # Errors
    /// Nothing was done, and why: it is in the log.
    pub(super) fn reload(&mut self) -> Result<(), String> {
        let settings = (self.hooks.settings_again)();
        let settings = settings.and_then(|new| match impossible(&self.settings, &new) {
            Some(fault) => Err(fault.to_owned()),
            None => Ok(new),
        });
        match settings {
            Ok(settings) => self.take_over(settings),
            Err(faults) => {
                for fault in faults.lines() {
                    error!("not reloaded, the settings stay as they are: {fault}");
                }
                let text = format!("refused: {faults}");
                self.happened(HappenedKind::Reload, None, &text);
                self.service.reload_refused(self.now);
                return Err(faults);
            }
        }
        self.replace_workers();
        Ok(())
    }

    /// A round of replacements begins.
    pub(super) fn replace_workers(&mut self) {
        let parallel = self.settings.lifecycle.reload_parallel;
        info!(parallel, "reloading: workers are replaced");
        if self.supervisor.reload(self.now) {
            self.service.reloading(self.now);
            self.counters.reloads += 1;
            self.happened(HappenedKind::Reload, None, "workers are being replaced");
        }
    }

    fn take_over(&mut self, new: Settings) {
        for kept in kept(&self.settings, &new) {
            warn!(
                setting = kept,
                "changed, and not taken over by a reload: USR2 or a restart does"
            );
        }
        let old = &self.settings;
        let policy_changed = (old.balance, &old.weights) != (new.balance, &new.weights);
        let rebalance_changed = new.rebalance != old.rebalance;
        let more = i32::from(new.workers) - i32::from(old.workers);
        let (scaling, workers) = (new.scaling, new.workers);
        let scaled_otherwise = old.scaling != new.scaling;
        if policy_changed {
            let seed = new.seed.unwrap_or_else(|| fastrand::u64(..));
            self.dispatcher.switch_policy(new.balance, &new.weights, seed);
            info!(balance = ?new.balance, "another policy");
            let text = format!("--balance {}", new.balance);
            self.happened(HappenedKind::Policy, None, &text);
        }
        if rebalance_changed {
            self.dispatcher.switch_rebalance(new.rebalance);
            info!(rebalance = ?new.rebalance, "another way of rebalancing");
            let text = format!("--rebalance {}", new.rebalance);
            self.happened(HappenedKind::Policy, None, &text);
        }
        self.admin.forget_rebalance();
        self.settle_admin(&new.admin, new.fleet.agent_check.as_ref());
        let old = &self.settings;
        if new.lifecycle != old.lifecycle {
            self.supervisor.set_lifecycle(new.lifecycle);
            let timeout = new.lifecycle.timeout;
            self.hang = timeout.map(|timeout| (HangJudge::new(timeout), self.now));
        }
        if new.recycle != old.recycle {
            let seed = new.seed.unwrap_or_else(|| fastrand::u64(..));
            self.recycling = Recycling::new(new.recycle, seed, self.now);
        }
        self.settings = Settings {
            binds: old.binds.clone(),
            listen: old.listen,
            credit: old.credit,
            queue_timeout: old.queue_timeout,
            max_queue: old.max_queue,
            stall_after: old.stall_after,
            report_age: old.report_age,
            pid_file: old.pid_file.clone(),
            status_file: old.status_file.clone(),
            reload: old.reload.clone(),
            ..new
        };
        self.settle_meters();
        self.want_alarms();
        // Slots that somebody has added or taken away by a signal stay so, unless the number changes.
        if scaled_otherwise {
            self.rescale(scaling, workers);
        } else if scaling.is_none() && more != 0 {
            self.scale(more);
        }
    }
}

/// What would part workers from their master: they would go by it, and it cannot.
fn impossible(old: &Settings, new: &Settings) -> Option<&'static str> {
    let is_command = |settings: &Settings| matches!(settings.app, App::Command(_));
    if old.accept != new.accept {
        return Some("accept has changed: USR2 or a restart takes it over");
    }
    if is_command(old) != is_command(new) {
        return Some("command has come or gone: USR2 or a restart takes it over");
    }
    None
}

/// Settings that have changed, and that this image cannot change.
fn kept(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let changed = [
        ("bind", old.binds != new.binds),
        ("backlog, defer-accept, unix-mode, unix-owner", old.listen != new.listen),
        ("credit", old.credit != new.credit),
        ("queue-timeout", old.queue_timeout != new.queue_timeout),
        ("max-queue", old.max_queue != new.max_queue),
        ("stall-after", old.stall_after != new.stall_after),
        ("report-age", old.report_age != new.report_age),
        ("pid-file", old.pid_file != new.pid_file),
        ("status-file", old.status_file != new.status_file),
        ("reload", old.reload != new.reload),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}
