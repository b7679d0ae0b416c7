//! A view for people: the state in one line, the account, a table of workers, and the last things
//! that have happened.
//!
//! Not here: the stable form for programs (`json`).

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use crate::account::{Group, Outcome};
use crate::observe::calendar::{Rfc3339, Utc};
use crate::observe::escape;
use crate::observe::view::{ACCEPT_ERROR, Numbers, View, WorkerView};

/// How many of the last things that have happened are shown.
const HAPPENED_MAX: usize = 10;

/// Prints a view as text of several lines. It may come from anywhere: texts in it are escaped.
pub struct Text<'a>(pub &'a View);

/// Prints its workers alone.
pub struct WorkersText<'a>(pub &'a View);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state(f)?;
        self.reload(f)?;
        self.account(f)?;
        if !self.0.workers.is_empty() {
            write!(f, "\n{}", WorkersText(self.0))?;
        }
        self.happened(f)
    }
}

impl Text<'_> {
    fn state(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let View { running, phase, pid, accept, started_at, written_at, .. } = self.0;
        let phase = escaped(phase);
        match (running, phase.as_str()) {
            (true, phase) => write!(f, "{phase}: master {pid}")?,
            (false, "stopped") => write!(f, "stopped: master {pid} has ended")?,
            (false, phase) => write!(f, "not running: master {pid} died while {phase}")?,
        }
        if accept != "master" {
            write!(f, ", workers accept ({})", escaped(accept))?;
        }
        let (since, at) = (escaped(started_at), escaped(written_at));
        writeln!(f, ", started {since}, last changed {at}")
    }

    fn reload(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reload = &self.0.reload;
        let progress = format!("{} of {} workers replaced", reload.replaced, reload.of);
        match reload.state.as_str() {
            "running" => writeln!(f, "reload: running, {progress}"),
            "done" => writeln!(f, "reload: done, {progress}"),
            "failed" => writeln!(
                f,
                "reload: FAILED, {progress}: a new worker did not become ready, the old ones go on"
            ),
            _ => Ok(()),
        }
    }

    fn account(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = &self.0.account;
        writeln!(f, "\nconnections accepted {:>12}", account.accepted)?;
        for (name, count) in &account.here.0 {
            writeln!(f, "  {:<19}{count:>12}", escaped(&name.replace('_', " ")))?;
        }
        writeln!(f, "  {:<19}{:>12}", "finished", account.finished)?;
        let groups: [(Group, &Numbers); 3] = [
            (Group::EndedIdle, &account.ended_idle),
            (Group::Shed, &account.shed),
            (Group::Aborted, &account.aborted),
        ];
        for (group, numbers) in groups {
            // A number that is not zero wants to be explained, one that is wants no line.
            for (reason, count) in numbers.0.iter().filter(|(_, count)| *count > 0) {
                let known = Outcome::ALL.into_iter().find(|outcome| {
                    outcome.group() == group && outcome.reason() == reason.as_str()
                });
                let why = known.map_or_else(|| escaped(reason), |outcome| outcome.to_string());
                writeln!(f, "  {:<19}{count:>12}  {why}", group.name().replace('_', " "))?;
            }
        }
        if account.missing != 0 {
            writeln!(f, "  MISSING            {:>12}  a bug: please report it", account.missing)?;
        }
        let mut behind = "";
        f.write_str("\n")?;
        // Kinds of what is counted as one already, and of what has not happened, are for programs.
        let is_said = |name: &str, count: u64| {
            let is_kind = name.starts_with("breach_") || name.starts_with(ACCEPT_ERROR);
            !is_kind && (count > 0 || !name.starts_with("restart_"))
        };
        let events = self.0.events.0.iter().filter(|(name, count)| is_said(name, *count));
        let failures = self.0.accept_errors().0.into_iter().filter(|(_, count)| *count > 0);
        let failures = failures.map(|(name, count)| (format!("{ACCEPT_ERROR}{name}"), count));
        for (name, count) in events.cloned().chain(failures) {
            write!(f, "{behind}{} {count}", escaped(&name.replace('_', " ")))?;
            behind = ", ";
        }
        f.write_str("\n")
    }

    fn happened(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = &self.0.happened;
        let last = &all[all.len().saturating_sub(HAPPENED_MAX)..];
        for (place, happened) in last.iter().enumerate() {
            let (at, kind) = (escaped(&happened.at), escaped(&happened.kind));
            write!(f, "{}{at} {kind:<10}", if place == 0 { "\n" } else { "" })?;
            if let (Some(slot), Some(pid)) = (happened.slot, happened.pid) {
                write!(f, " worker {slot} ({pid})")?;
            }
            writeln!(f, " {}", escaped(&happened.text))?;
        }
        Ok(())
    }
}

impl fmt::Display for WorkersText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.0;
        // With the kernel's arms nobody is lent anything.
        let own = view.accept != "master";
        let columns = if own { ["open", "accepted"] } else { ["on loan", "waiting"] };
        writeln!(
            f,
            "{:>6} {:>5} {:>8} {:<9} {:>7} {:>9} {:>6} {:>12} {:>8} {:>8}",
            "worker",
            "gen",
            "pid",
            "stage",
            columns[0],
            columns[1],
            "active",
            "finished",
            "errors",
            "restarts"
        )?;
        for worker in &view.workers {
            let WorkerView { slot, generation, pid, stage, on_loan, waiting, .. } = worker;
            let (here, more) = match own {
                true => (worker.own_open, worker.own_accepted),
                false => (u64::from(*on_loan), u64::from(*waiting)),
            };
            write!(
                f,
                "{slot:>6} {generation:>5} {pid:>8} {:<9} {here:>7} {more:>9} {:>6} {:>12} {:>8} \
                 {:>8}",
                escaped(stage),
                worker.active,
                worker.requests_finished,
                worker.errors,
                worker.restarts,
            )?;
            let states =
                [(worker.stuck, "stuck"), (worker.stopped, "stopped"), (worker.drained, "drained")];
            for (is_so, word) in states {
                if is_so {
                    write!(f, "  {word}")?;
                }
            }
            f.write_str("\n")?;
        }
        let unlisted = (view.workers_in_all as usize).saturating_sub(view.workers.len());
        if unlisted > 0 {
            writeln!(f, "and {unlisted} more")?;
        }
        Ok(())
    }
}

/// A moment from a page, which may hold any number.
pub fn moment(unix_ms: u64) -> Rfc3339 {
    // A leap to the last year that RFC 3339 can write.
    const LATEST_MS: u64 = 253_402_300_799_999;
    let since = Duration::from_millis(unix_ms.min(LATEST_MS));
    Rfc3339(Utc::from(UNIX_EPOCH + since))
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    escape::message(text, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::view::{HappenedView, SlotView};

    #[test]
    fn what_accept_fails_with_is_said_wherever_it_was() {
        let emfile = |count| Numbers::from_iter([("emfile", count), ("other", 0)]);
        let slot = SlotView { accept_errors: emfile(3), ..SlotView::default() };
        let events = [("upgrades", 0), ("accept_error_emfile", 1)].into_iter().collect();
        let view = View { events, slots: vec![slot], ..View::default() };
        let text = Text(&view).to_string();
        assert!(text.contains("upgrades 0, accept error emfile 4\n"), "{text}");
    }

    #[test]
    fn the_last_things_are_shown_and_no_text_moves_a_cursor() {
        let happened = |sequence: u64| HappenedView {
            sequence,
            at: "2026-11-24T17:00:00.000Z".into(),
            kind: "died".into(),
            slot: Some(3),
            pid: Some(41),
            text: format!("signal 9, in GET /\u{1b}[2J{sequence}"),
            ..HappenedView::default()
        };
        let view = View {
            phase: "\u{7}".into(),
            happened: (1..=12).map(happened).collect(),
            ..View::default()
        };
        let text = Text(&view).to_string();
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
        assert_eq!(text.matches("died ").count(), HAPPENED_MAX + 1);
        assert!(
            text.ends_with("died       worker 3 (41) signal 9, in GET /\\u{1b}[2J12\n"),
            "{text}"
        );
    }
}
