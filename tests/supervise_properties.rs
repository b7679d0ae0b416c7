//! The life of slots: stories that a user knows, and whatever else may happen, at random.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maitred::config::Lifecycle;
use maitred::ident::{Incarnation, Slot};
use maitred::supervise::{
    Cause, Effect, Exit, Reload, ReloadFailure, ReloadReport, Restart, StartFailure,
    SuperviseSettings, Supervisor,
};
use maitred::time::Nanos;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn supervisor(workers: u16) -> Supervisor {
    supervisor_that_reloads(workers, 1)
}

fn supervisor_that_reloads(workers: u16, reload_parallel: u16) -> Supervisor {
    let lifecycle = Lifecycle {
        boot_timeout: Duration::from_secs(60),
        timeout: Some(Duration::from_secs(30)),
        timeout_spares_calls: false,
        graceful_timeout: Duration::from_secs(30),
        drain_delay: Duration::from_secs(1),
        handoff_timeout: Duration::from_secs(10),
        reload_parallel,
    };
    Supervisor::new(SuperviseSettings { workers, lifecycle, seed: 3 })
}

fn effects(supervisor: &mut Supervisor) -> Vec<Effect> {
    std::iter::from_fn(|| supervisor.poll_effect()).collect()
}

fn spawned(effects: &[Effect]) -> Vec<Incarnation> {
    let spawn = |effect: &Effect| match effect {
        Effect::Spawn(who) => Some(*who),
        _ => None,
    };
    effects.iter().filter_map(spawn).collect()
}

/// Two workers that serve, and who they are.
fn two_that_serve() -> (Supervisor, Vec<Incarnation>) {
    all_serve(supervisor(2))
}

fn all_serve(mut supervisor: Supervisor) -> (Supervisor, Vec<Incarnation>) {
    supervisor.start(Nanos(1));
    let workers = spawned(&effects(&mut supervisor));
    for who in &workers {
        supervisor.handle_ready(*who, Nanos(2));
    }
    assert_eq!((supervisor.serving(), effects(&mut supervisor)), (workers.len(), Vec::new()));
    (supervisor, workers)
}

#[test]
fn a_worker_that_dies_after_long_service_is_replaced_at_once() {
    let (mut supervisor, workers) = two_that_serve();
    supervisor.handle_exited(workers[1], Exit::Signal(9), Nanos(60 * SECOND));
    supervisor.handle_time(Nanos(60 * SECOND));
    let new = spawned(&effects(&mut supervisor));
    assert_eq!(new.len(), 1);
    assert_eq!(new[0].slot, workers[1].slot);
    assert_ne!(new[0].generation, workers[1].generation);
}

#[test]
fn a_reload_replaces_one_after_the_other_and_drains_the_old_only_when_the_new_is_ready() {
    let (mut supervisor, workers) = two_that_serve();
    supervisor.reload(Nanos(SECOND));
    let mut now = SECOND;
    for (replaced, old) in (0..).zip(&workers) {
        assert_eq!(supervisor.reload_report().replaced, replaced);
        let asked = effects(&mut supervisor);
        let new = spawned(&asked);
        assert_eq!(asked, [Effect::Spawn(new[0])], "the old one goes on meanwhile");
        assert_eq!(new[0].slot, old.slot);
        assert!(supervisor.is_serving(*old));
        now += SECOND;
        supervisor.handle_ready(new[0], Nanos(now));
        assert!(supervisor.is_serving(new[0]));
        assert_eq!(supervisor.poll_effect(), Some(Effect::Drain(*old)));
        supervisor.handle_exited(*old, Exit::Code(0), Nanos(now));
    }
    let report = supervisor.reload_report();
    assert_eq!((report.state, report.replaced, report.of), (Reload::Done, 2, 2));
    assert_eq!(effects(&mut supervisor), [Effect::ReloadEnded(report)]);
    assert_eq!((supervisor.reload_state(), supervisor.serving()), (Reload::Done, 2));
}

#[test]
fn a_reload_whose_first_worker_fails_keeps_the_old_ones() {
    let (mut supervisor, workers) = two_that_serve();
    supervisor.reload(Nanos(SECOND));
    let new = spawned(&effects(&mut supervisor));
    supervisor.handle_exited(new[0], Exit::Code(1), Nanos(2 * SECOND));
    supervisor.handle_time(Nanos(100 * SECOND));
    let failure = ReloadFailure { who: new[0], how: Exit::Code(1), cause: None };
    let report = ReloadReport { state: Reload::Failed, replaced: 0, of: 2, failure: Some(failure) };
    assert_eq!(effects(&mut supervisor), [Effect::ReloadEnded(report)]);
    assert_eq!(supervisor.reload_report(), report);
    assert_eq!(supervisor.reload_state(), Reload::Failed);
    assert!(workers.iter().all(|who| supervisor.is_serving(*who)));
}

#[test]
fn a_reload_replaces_so_many_at_a_time_and_no_more() {
    let (mut supervisor, workers) = all_serve(supervisor_that_reloads(5, 2));
    supervisor.reload(Nanos(SECOND));
    let mut under_way = spawned(&effects(&mut supervisor));
    assert_eq!(under_way.len(), 2);
    for begun in 3..=5 {
        supervisor.handle_ready(under_way.remove(0), Nanos(SECOND));
        under_way.extend(spawned(&effects(&mut supervisor)));
        assert_eq!(under_way.len(), 2, "the next is begun: {begun}");
    }
    for who in under_way {
        assert_eq!(supervisor.reload_state(), Reload::Running);
        supervisor.handle_ready(who, Nanos(SECOND));
    }
    let report = supervisor.reload_report();
    assert_eq!((report.state, report.replaced, report.of), (Reload::Done, 5, 5));
    assert!(workers.iter().all(|who| !supervisor.is_serving(*who)));
}

#[test]
fn a_reload_that_fails_begins_no_further_slot_and_ends_what_is_under_way() {
    let (mut supervisor, workers) = all_serve(supervisor_that_reloads(4, 2));
    supervisor.reload(Nanos(SECOND));
    let mut new = spawned(&effects(&mut supervisor));
    supervisor.handle_ready(new[0], Nanos(SECOND));
    new.extend(spawned(&effects(&mut supervisor)));
    assert_eq!(new.len(), 3);
    // The second is not Ready in time, and is killed for it.
    supervisor.handle_time(Nanos(61 * SECOND));
    effects(&mut supervisor);
    supervisor.handle_exited(new[1], Exit::Signal(9), Nanos(61 * SECOND));
    let asked = effects(&mut supervisor);
    let how = Exit::Signal(9);
    let failure = ReloadFailure { who: new[1], how, cause: Some(Cause::BootTimeout) };
    let report = ReloadReport { state: Reload::Failed, replaced: 1, of: 4, failure: Some(failure) };
    assert!(asked.contains(&Effect::ReloadEnded(report)), "{asked:?}");
    assert!(spawned(&asked).is_empty(), "{asked:?}");
    supervisor.handle_exited(new[2], Exit::Signal(9), Nanos(62 * SECOND));
    supervisor.handle_time(Nanos(600 * SECOND));
    assert!(spawned(&effects(&mut supervisor)).is_empty());
    assert!(workers[1..].iter().all(|who| supervisor.is_serving(*who)));
    assert_eq!((supervisor.serving(), supervisor.reload_report()), (4, report));
}

#[test]
fn a_reload_of_which_no_process_can_be_started_fails_and_keeps_every_worker() {
    let (mut supervisor, workers) = all_serve(supervisor_that_reloads(3, 3));
    supervisor.reload(Nanos(SECOND));
    let mut ended = Vec::new();
    while let Some(effect) = supervisor.poll_effect() {
        match effect {
            Effect::Spawn(who) => {
                supervisor.handle_spawn_failed(who, Nanos(SECOND));
            }
            Effect::ReloadEnded(report) => ended.push(report),
            _ => {}
        }
    }
    assert_eq!(ended.len(), 1, "it is said once: {ended:?}");
    assert_eq!(ended[0].failure.map(|failure| failure.how), Some(Exit::NeverStarted));
    assert_eq!((ended[0].state, ended[0].replaced, ended[0].of), (Reload::Failed, 0, 3));
    assert!(workers.iter().all(|who| supervisor.is_serving(*who)));
    supervisor.check_invariants();
}

#[test]
fn why_a_process_is_followed_by_another_is_said_once_it_has_ended() {
    let (mut supervisor, workers) = all_serve(supervisor_that_reloads(4, 1));
    let now = Nanos(60 * SECOND);
    let ends = |supervisor: &mut Supervisor, who: Incarnation, how| {
        supervisor.handle_exited(who, how, now)
    };
    let died = ends(&mut supervisor, workers[0], Exit::Signal(9));
    assert_eq!(died, Some(Restart::Killed));
    let replacement = spawned(&effects(&mut supervisor))[0];
    let stillborn = ends(&mut supervisor, replacement, Exit::Code(1));
    assert_eq!(stillborn, Some(Restart::StartFailed));
    assert_eq!(ends(&mut supervisor, workers[1], Exit::Code(0)), Some(Restart::Exited));
    effects(&mut supervisor);

    supervisor.recycle(workers[2], now);
    let replacement = spawned(&effects(&mut supervisor))[0];
    supervisor.handle_ready(replacement, now);
    assert_eq!(ends(&mut supervisor, workers[2], Exit::Code(0)), Some(Restart::Recycled));
    supervisor.handle_hung(replacement, now);
    supervisor.handle_misbehaved(workers[3]);
    assert_eq!(ends(&mut supervisor, workers[3], Exit::Signal(9)), Some(Restart::Misbehaved));
    assert_eq!(ends(&mut supervisor, replacement, Exit::Signal(9)), Some(Restart::Hung));
    assert_eq!(ends(&mut supervisor, replacement, Exit::Signal(9)), None, "it has ended already");

    // What nothing follows is no restart.
    let (mut supervisor, workers) = all_serve(supervisor_that_reloads(2, 1));
    supervisor.scale(-1, now);
    assert_eq!(ends(&mut supervisor, workers[1], Exit::Code(0)), None);
    effects(&mut supervisor);
    supervisor.reload(now);
    let replacement = spawned(&effects(&mut supervisor))[0];
    supervisor.handle_ready(replacement, now);
    assert_eq!(ends(&mut supervisor, workers[0], Exit::Code(0)), Some(Restart::Reloaded));
    supervisor.stop();
    assert_eq!(ends(&mut supervisor, replacement, Exit::Signal(9)), None, "the server ends");
}

#[test]
fn a_second_reload_replaces_what_the_first_had_begun_and_does_not_fail_with_it() {
    let (mut supervisor, _) = all_serve(supervisor_that_reloads(2, 1));
    supervisor.reload(Nanos(SECOND));
    let first = spawned(&effects(&mut supervisor));
    // It may have read what has been changed since.
    supervisor.reload(Nanos(2 * SECOND));
    assert_eq!(spawned(&effects(&mut supervisor)), [], "one at a time");
    supervisor.handle_exited(first[0], Exit::Code(1), Nanos(2 * SECOND));
    let mut replaced = Vec::new();
    for _ in 0..2 {
        let new = spawned(&effects(&mut supervisor));
        assert_eq!(new.len(), 1, "the round goes on");
        supervisor.handle_ready(new[0], Nanos(3 * SECOND));
        replaced.push(new[0].slot);
    }
    assert_eq!(replaced, [Slot(0), Slot(1)]);
    assert_eq!(supervisor.reload_state(), Reload::Done);

    // The same where what the first had begun becomes Ready: it is replaced once more.
    supervisor.reload(Nanos(4 * SECOND));
    let first = spawned(&effects(&mut supervisor));
    supervisor.reload(Nanos(4 * SECOND));
    supervisor.handle_ready(first[0], Nanos(4 * SECOND));
    assert_eq!(supervisor.reload_report().replaced, 0);
    assert_eq!(spawned(&effects(&mut supervisor))[0].slot, first[0].slot);
}

/// A worker that became Ready after the stop went on with the reload, and started another.
#[test]
fn a_reload_does_not_go_on_after_a_stop() {
    let (mut supervisor, _) = two_that_serve();
    supervisor.reload(Nanos(SECOND));
    let new = spawned(&effects(&mut supervisor));
    supervisor.stop();
    supervisor.handle_ready(new[0], Nanos(2 * SECOND));
    assert!(spawned(&effects(&mut supervisor)).is_empty());
}

#[test]
fn one_that_is_due_is_replaced_in_turn_and_after_a_failure_only_after_a_pause() {
    let (mut supervisor, workers) = all_serve(supervisor_that_reloads(3, 1));
    let now = Nanos(SECOND);
    assert!(supervisor.recycle_in_turn(workers[0], now));
    assert!(!supervisor.recycle_in_turn(workers[0], now), "it is being replaced");
    assert!(!supervisor.recycle_in_turn(workers[1], now), "one at a time");
    let new = spawned(&effects(&mut supervisor));
    assert_eq!(new.len(), 1);
    supervisor.handle_exited(new[0], Exit::Code(1), now);
    assert!(supervisor.is_serving(workers[0]), "it goes on");
    assert_eq!(supervisor.reload_state(), Reload::Done, "that was no reload");
    assert!(!supervisor.recycle_in_turn(workers[0], now), "not in a tight loop");
    assert!(supervisor.recycle_in_turn(workers[1], now), "another slot does not wait for it");
    let new = spawned(&effects(&mut supervisor));
    supervisor.handle_ready(new[0], now);
    assert!(supervisor.recycle_in_turn(workers[0], Nanos(2 * SECOND)));
    let new = spawned(&effects(&mut supervisor));
    assert!(supervisor.reload(Nanos(2 * SECOND)));
    assert!(!supervisor.recycle_in_turn(workers[2], Nanos(2 * SECOND)), "the reload does that");
    supervisor.handle_ready(new[0], Nanos(2 * SECOND));
    assert!(!supervisor.recycle_in_turn(workers[0], Nanos(3 * SECOND)), "it has left");
}

#[test]
fn a_deadline_that_is_found_late_is_given_again_once() {
    let mut supervisor = supervisor(1);
    supervisor.start(Nanos(0));
    let who = spawned(&effects(&mut supervisor))[0];
    // The master was stopped for an hour.
    let back_at = Nanos(3600 * SECOND);
    supervisor.handle_time(back_at);
    assert_eq!(effects(&mut supervisor), [Effect::GivenAgain(who)]);
    assert_eq!(supervisor.next_deadline(), Some(back_at + Duration::from_secs(60)));
    supervisor.handle_ready(who, back_at);
    // Each stage has its own.
    supervisor.drain_all(back_at);
    supervisor.handle_time(Nanos(7200 * SECOND));
    assert_eq!(effects(&mut supervisor), [Effect::Drain(who), Effect::GivenAgain(who)]);
    supervisor.handle_time(Nanos(10_800 * SECOND));
    assert_eq!(effects(&mut supervisor), [Effect::Kill(who, Cause::GracefulTimeout)]);
}

#[test]
fn one_that_is_withdrawn_is_given_its_time_again_too() {
    let (mut supervisor, workers) = two_that_serve();
    supervisor.handle_hung(workers[0], Nanos(40 * SECOND));
    effects(&mut supervisor);
    supervisor.handle_time(Nanos(71 * SECOND + 1));
    assert!(effects(&mut supervisor).contains(&Effect::GivenAgain(workers[0])));
}

#[test]
fn workers_that_never_become_ready_end_the_server_and_an_application_that_does_not_load_at_once() {
    let mut supervisor = supervisor(1);
    supervisor.start(Nanos(1));
    let mut now = 1;
    let mut last = Vec::new();
    for _ in 0..3 {
        let who = spawned(&effects(&mut supervisor));
        now += 60 * SECOND;
        supervisor.handle_exited(who[0], Exit::Code(1), Nanos(now));
        now += 60 * SECOND;
        supervisor.handle_time(Nanos(now));
        last.push(who[0]);
    }
    let crash_loop = Effect::Failed(StartFailure::CrashLoop(Exit::Code(1), 3));
    assert!(effects(&mut supervisor).contains(&crash_loop), "after {last:?}");

    let (mut supervisor, mut now) = (self::supervisor(2), 1);
    supervisor.start(Nanos(now));
    let who = spawned(&effects(&mut supervisor));
    now += 1;
    supervisor.handle_exited(who[0], Exit::Code(4), Nanos(now));
    assert!(effects(&mut supervisor).contains(&Effect::Failed(StartFailure::Application)));
}

#[test]
fn the_server_ends_with_the_worker_that_says_why() {
    // Workers that load one application fail at the same time; only the first of them shows the
    // traceback, and it is not killed before it has because another was quicker.
    let mut supervisor = supervisor(2);
    supervisor.start(Nanos(1));
    let who = spawned(&effects(&mut supervisor));
    assert!(!supervisor.is_spoken_for(who[0]) && supervisor.is_spoken_for(who[1]));
    supervisor.handle_exited(who[1], Exit::Code(4), Nanos(2));
    assert_eq!(effects(&mut supervisor), []);
    supervisor.handle_exited(who[0], Exit::Code(4), Nanos(3));
    assert!(effects(&mut supervisor).contains(&Effect::Failed(StartFailure::Application)));
}

#[test]
fn one_that_does_not_become_ready_in_time_is_killed() {
    let mut supervisor = supervisor(1);
    supervisor.start(Nanos(1));
    let who = spawned(&effects(&mut supervisor))[0];
    assert_eq!(supervisor.next_deadline(), Some(Nanos(60 * SECOND + 1)));
    supervisor.handle_time(Nanos(60 * SECOND));
    assert_eq!(effects(&mut supervisor), []);
    supervisor.handle_time(Nanos(60 * SECOND + 1));
    assert_eq!(effects(&mut supervisor), [Effect::Kill(who, Cause::BootTimeout)]);
}

#[test]
fn one_that_hangs_is_withdrawn_replaced_and_killed_in_the_end() {
    let (mut supervisor, workers) = two_that_serve();
    supervisor.handle_hung(workers[0], Nanos(40 * SECOND));
    supervisor.handle_time(Nanos(40 * SECOND));
    let asked = effects(&mut supervisor);
    assert!(asked.contains(&Effect::Withdraw(workers[0], Cause::Hung)), "{asked:?}");
    assert_eq!(spawned(&asked).len(), 1, "{asked:?}");
    supervisor.handle_time(Nanos(70 * SECOND));
    let asked = effects(&mut supervisor);
    assert!(asked.contains(&Effect::Kill(workers[0], Cause::Hung)), "{asked:?}");
}

#[test]
fn scaling_adds_and_drains_the_highest_slot() {
    let (mut supervisor, workers) = two_that_serve();
    assert_eq!(supervisor.scale(1, Nanos(SECOND)), 3);
    let new = spawned(&effects(&mut supervisor));
    assert_eq!(new[0].slot, Slot(2));
    supervisor.handle_ready(new[0], Nanos(SECOND));
    assert_eq!(supervisor.scale(-2, Nanos(2 * SECOND)), 1);
    let asked: BTreeSet<_> =
        effects(&mut supervisor).iter().map(|effect| format!("{effect:?}")).collect();
    let drained = [Effect::Drain(workers[1]), Effect::Drain(new[0])];
    assert_eq!(asked, drained.iter().map(|effect| format!("{effect:?}")).collect());
    assert_eq!(supervisor.scale(-5, Nanos(2 * SECOND)), 1, "one always stays");
}

/// Something that happens; numbers choose among those it can happen to.
#[derive(Clone, Debug)]
enum Fact {
    Ready(usize),
    Exited(usize, i32),
    Hung(usize),
    Misbehaved(usize),
    Recycle(usize),
    RecycleInTurn(usize),
    Late(u64),
    Reload,
    Scale(i32),
    Time(u64),
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        8 => (0..20_usize).prop_map(Fact::Ready),
        4 => (0..20_usize, prop_oneof![Just(0), Just(1), Just(139)])
            .prop_map(|(one, code)| Fact::Exited(one, code)),
        1 => (0..20_usize).prop_map(Fact::Hung),
        1 => (0..20_usize).prop_map(Fact::Misbehaved),
        1 => (0..20_usize).prop_map(Fact::Recycle),
        1 => (0..20_usize).prop_map(Fact::RecycleInTurn),
        1 => (60 * SECOND..600 * SECOND).prop_map(Fact::Late),
        1 => Just(Fact::Reload),
        1 => (-2..3_i32).prop_map(Fact::Scale),
        6 => (1..20 * SECOND).prop_map(Fact::Time),
    ]
}

/// `PROPTEST_CASES` widens a run.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever happens: only what lives is ended, nothing is started twice, no slot serves twice,
    /// and after a stop everything ends, and says so once.
    #[test]
    fn slots_live_in_order_and_everything_ends(
        workers in 1..5_u16,
        facts in prop::collection::vec(fact(), 0..150),
    ) {
        let mut supervisor = supervisor(workers);
        let mut now = Nanos(1);
        let mut alive: BTreeMap<Incarnation, bool> = BTreeMap::new();
        let mut failed = false;
        supervisor.start(now);
        for fact in &facts {
            carry_out(&mut supervisor, &mut alive, &mut failed);
            let pick = |one: usize| alive.keys().nth(one % alive.len().max(1)).copied();
            match *fact {
                Fact::Ready(one) => {
                    if let Some(who) = pick(one)
                        && alive.insert(who, true) == Some(false)
                    {
                        supervisor.handle_ready(who, now);
                    }
                }
                Fact::Exited(one, code) => {
                    if let Some(who) = pick(one) {
                        alive.remove(&who);
                        supervisor.handle_exited(who, Exit::Code(code), now);
                    }
                }
                Fact::Hung(one) => {
                    if let Some(who) = pick(one) { supervisor.handle_hung(who, now) }
                }
                Fact::Misbehaved(one) => {
                    if let Some(who) = pick(one) { supervisor.handle_misbehaved(who) }
                }
                Fact::Recycle(one) => {
                    if let Some(who) = pick(one) { supervisor.recycle(who, now) }
                }
                Fact::RecycleInTurn(one) => {
                    if let Some(who) = pick(one) { supervisor.recycle_in_turn(who, now); }
                }
                Fact::Reload => prop_assert!(supervisor.reload(now)),
                Fact::Scale(by) => {
                    let workers = supervisor.scale(by, now);
                    prop_assert!(workers >= 1);
                }
                Fact::Time(nanos) | Fact::Late(nanos) => {
                    now = Nanos(now.0 + nanos);
                    supervisor.handle_time(now);
                }
            }
            supervisor.check_invariants();
            for slot in 0..supervisor.workers() {
                let serve = alive
                    .keys()
                    .filter(|who| who.slot == Slot(slot) && supervisor.is_serving(**who));
                prop_assert!(serve.count() <= 1, "slot {slot} serves twice");
            }
        }
        carry_out(&mut supervisor, &mut alive, &mut failed);
        supervisor.stop();
        // What was starting may be Ready only now, and a reload may have been under way.
        for who in alive.keys().copied().collect::<Vec<_>>() {
            if alive.insert(who, true) == Some(false) { supervisor.handle_ready(who, now) }
        }
        prop_assert!(!supervisor.reload(now));
        supervisor.drain_all(now);
        supervisor.kill_all();
        let mut finished = 0;
        for _ in 0..4 {
            for who in alive.keys().copied().collect::<Vec<_>>() {
                alive.remove(&who);
                supervisor.handle_exited(who, Exit::Signal(9), now);
            }
            for effect in effects(&mut supervisor) {
                prop_assert!(!matches!(effect, Effect::Spawn(_)), "started after the stop");
                finished += usize::from(effect == Effect::Finished);
            }
        }
        prop_assert_eq!(finished, 1);
    }
}

proptest! {
    #![proptest_config(config())]

    /// However the master's time jumps: nobody is killed for a deadline that was found late, unless
    /// it had been given again; whoever is killed had its whole time since; and in the end everybody
    /// is.
    #[test]
    fn nobody_is_killed_for_the_masters_own_absence(
        workers in 1..4_u16,
        steps in prop::collection::vec(
            prop_oneof![4 => 1..2 * SECOND, 1 => SECOND..200 * SECOND], 1..200),
    ) {
        let mut supervisor = supervisor(workers);
        let mut now = Nanos(1);
        // When the deadline of each was set last, and whether that was the second time.
        let mut set: BTreeMap<Incarnation, (Nanos, bool)> = BTreeMap::new();
        supervisor.start(now);
        for step in steps.iter().copied().chain([SECOND; 121]) {
            for effect in effects(&mut supervisor) {
                match effect {
                    Effect::Spawn(who) => { set.insert(who, (now, false)); }
                    Effect::GivenAgain(who) => {
                        prop_assert_eq!(set.insert(who, (now, true)).map(|before| before.1),
                            Some(false));
                    }
                    Effect::Kill(who, cause) => {
                        prop_assert_eq!(cause, Cause::BootTimeout);
                        let (since, again) = set[&who];
                        let late = now.since(since + Duration::from_secs(60));
                        prop_assert!(now >= since + Duration::from_secs(60));
                        prop_assert!(again || late <= Duration::from_secs(1), "{late:?}");
                        // It stays a zombie, so that no other is started in its slot.
                        set.remove(&who);
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            now = Nanos(now.0 + step);
            supervisor.handle_time(now);
            supervisor.check_invariants();
        }
        for effect in effects(&mut supervisor) {
            if let Effect::Kill(who, _) = effect { set.remove(&who); }
        }
        prop_assert!(set.is_empty(), "{set:?} have not become ready for two minutes");
    }

    /// Whatever becomes Ready or fails: of reloads and recycling together no more are under way than
    /// `--reload-parallel`, and a reload that has begun ends.
    #[test]
    fn no_more_are_replaced_than_may_be_at_a_time(
        workers in 1..7_u16,
        parallel in 1..5_u16,
        steps in prop::collection::vec((0..8_u8, 0..20_usize), 1..200),
    ) {
        let (mut supervisor, serving) = all_serve(supervisor_that_reloads(workers, parallel));
        let mut starting: Vec<Incarnation> = Vec::new();
        let mut here = serving;
        let mut now = Nanos(SECOND);
        for (kind, one) in steps {
            match kind {
                0 => { supervisor.reload(now); }
                1..=3 => { supervisor.recycle_in_turn(here[one % here.len()], now); }
                4..=6 if !starting.is_empty() => {
                    let who = starting.remove(one % starting.len());
                    supervisor.handle_ready(who, now);
                    here.push(who);
                }
                _ if !starting.is_empty() => {
                    let who = starting.remove(one % starting.len());
                    supervisor.handle_exited(who, Exit::Code(1), now);
                }
                _ => now = Nanos(now.0 + SECOND),
            }
            for effect in effects(&mut supervisor) {
                match effect {
                    Effect::Spawn(who) => starting.push(who),
                    Effect::Kill(who, cause) => {
                        prop_assert_eq!(cause, Cause::ReloadFailed);
                        starting.retain(|one| *one != who);
                        supervisor.handle_exited(who, Exit::Signal(9), now);
                    }
                    Effect::Drain(who) => {
                        here.retain(|one| *one != who);
                        supervisor.handle_exited(who, Exit::Code(0), now);
                    }
                    _ => {}
                }
            }
            prop_assert!(starting.len() <= usize::from(parallel), "{starting:?}");
            prop_assert_eq!(supervisor.serving(), usize::from(workers), "nobody is missed");
            let running = supervisor.reload_state() == Reload::Running;
            prop_assert!(!running || !starting.is_empty(), "it waits for nobody");
            supervisor.check_invariants();
        }
    }
}

fn carry_out(
    supervisor: &mut Supervisor,
    alive: &mut BTreeMap<Incarnation, bool>,
    failed: &mut bool,
) {
    for effect in effects(supervisor) {
        match effect {
            Effect::Spawn(who) => {
                assert!(alive.insert(who, false).is_none(), "{who:?} is started twice");
            }
            Effect::Drain(who) | Effect::Withdraw(who, _) | Effect::Kill(who, _) => {
                assert!(alive.contains_key(&who), "{who:?} is ended, and does not live");
            }
            Effect::GivenAgain(who) => assert!(alive.contains_key(&who)),
            Effect::ReloadEnded(report) => assert_ne!(report.state, Reload::Running),
            Effect::Failed(_) => *failed = true,
            Effect::Finished => panic!("finished while workers are wanted"),
        }
    }
}
