//! The life of slots: stories that a user knows, and whatever else may happen, at random.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maitred::config::Lifecycle;
use maitred::ident::{Incarnation, Slot};
use maitred::supervise::{
    Cause, Effect, Exit, Reload, StartFailure, SuperviseSettings, Supervisor,
};
use maitred::time::Nanos;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn supervisor(workers: u16) -> Supervisor {
    let lifecycle = Lifecycle {
        boot_timeout: Duration::from_secs(60),
        timeout: Some(Duration::from_secs(30)),
        graceful_timeout: Duration::from_secs(30),
        drain_delay: Duration::from_secs(1),
        handoff_timeout: Duration::from_secs(10),
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
    let mut supervisor = supervisor(2);
    supervisor.start(Nanos(1));
    let workers = spawned(&effects(&mut supervisor));
    for who in &workers {
        supervisor.handle_ready(*who, Nanos(2));
    }
    assert_eq!((supervisor.serving(), effects(&mut supervisor)), (2, Vec::new()));
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
        assert_eq!(supervisor.reload_progress(), (replaced, 2));
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
    assert_eq!(effects(&mut supervisor), []);
    assert_eq!((supervisor.reload_state(), supervisor.serving()), (Reload::Done, 2));
    assert_eq!(supervisor.reload_progress(), (2, 2));
}

#[test]
fn a_reload_whose_first_worker_fails_keeps_the_old_ones() {
    let (mut supervisor, workers) = two_that_serve();
    supervisor.reload(Nanos(SECOND));
    let new = spawned(&effects(&mut supervisor));
    supervisor.handle_exited(new[0], Exit::Code(1), Nanos(2 * SECOND));
    supervisor.handle_time(Nanos(100 * SECOND));
    assert_eq!(effects(&mut supervisor), []);
    assert_eq!(supervisor.reload_state(), Reload::Failed);
    assert_eq!(supervisor.reload_progress(), (0, 2));
    assert!(workers.iter().all(|who| supervisor.is_serving(*who)));
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
    supervisor.handle_time(Nanos(71 * SECOND));
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
                Fact::Reload => {
                    supervisor.reload(now);
                    let (replaced, of) = supervisor.reload_progress();
                    prop_assert!(replaced == 0 && of == supervisor.workers(), "nothing is new");
                }
                Fact::Scale(by) => {
                    let workers = supervisor.scale(by, now);
                    prop_assert!(workers >= 1);
                }
                Fact::Time(nanos) => {
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
            Effect::Failed(_) => *failed = true,
            Effect::Finished => panic!("finished while workers are wanted"),
        }
    }
}
