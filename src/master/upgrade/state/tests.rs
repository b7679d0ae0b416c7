//! States of this release and of past ones, and states that no honest image leaves.

use super::*;
use crate::account::HappenedKind;
use crate::ident::Generation;

/// A state that an image has left.
struct Past {
    name: &'static str,
    text: &'static str,
    format: u32,
    /// What not every one has.
    has: fn(&State) -> bool,
}

/// What programs so far have left, one of each format at least: a server some of whose workers are
/// being replaced, and a connection in every place. The first was made up with the format;
/// the others are what servers have left (`scripts/upgrade-state`): format-1 one of revision 8172b7b,
/// the last before format 2. A release adds its own, and changes none.
const PAST: [Past; 3] = [
    Past {
        name: "0.1.0",
        text: include_str!("../../../../tests/upgrade-states/0.1.0.json"),
        format: 1,
        has: |state| state.connections.iter().any(|one| one.context.is_some()),
    },
    Past {
        name: "format-1",
        text: include_str!("../../../../tests/upgrade-states/format-1.json"),
        format: 1,
        has: |state| state.admin.is_none() && state.meters.is_none(),
    },
    Past {
        name: "format-2",
        text: include_str!("../../../../tests/upgrade-states/format-2.json"),
        format: 2,
        has: |state| {
            let admin = state.admin.as_ref();
            let serves_operators = admin.is_some_and(|admin| {
                admin.listeners.len() == 1
                    && admin.helpers.len() == 1
                    && admin.drained == [Slot(1)]
                    && !admin.happened.is_empty()
            });
            let has_context = state.connections.iter().any(|one| one.context.is_some());
            serves_operators && state.meters.is_some() && has_context
        },
    },
];

#[test]
fn the_states_of_past_programs_are_read() {
    for Past { name, text, format, has } in PAST {
        let state =
            State::decode(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((&*state.header.made_by, state.header.format), ("0.1.0", format), "{name}");
        assert!(has(&state), "{name}");
        let stages = |stage| state.members.iter().filter(|one| one.stage == stage).count();
        assert!(stages(StageState::Serving) > 0 && stages(StageState::Leaving) > 0, "{name}");
        let loans: usize = state.members.iter().map(|one| one.page.on_loan().count()).sum();
        assert!(loans >= 2, "{name}: {loans}");
        let is_at: [fn(&PlaceState) -> bool; 4] = [
            |place| *place == PlaceState::Queued,
            |place| *place == PlaceState::Parked,
            |place| matches!(place, PlaceState::OnLoan { .. }),
            |place| matches!(place, PlaceState::Lingering { .. }),
        ];
        for is_at in is_at {
            assert!(state.connections.iter().any(|one| is_at(&one.place)), "{name}: every place");
        }
        assert!(state.counters["accepted"] > 0, "{name}");
        // What was read is written again: by the next upgrade.
        let again = State::decode(&state.encode().unwrap()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{state:?}"), "{name}");
    }
    let formats: BTreeSet<u32> = PAST.iter().map(|past| past.format).collect();
    assert_eq!(formats, (FORMAT_OLDEST..=FORMAT).collect(), "each format that is read");
}

/// One whose every part is known.
fn sample() -> State {
    State::decode(PAST[0].text.as_bytes()).unwrap()
}

fn refused(change: impl FnOnce(&mut State)) -> String {
    let mut state = sample();
    change(&mut state);
    let bytes = serde_json::to_vec(&state).unwrap();
    State::decode(&bytes).expect_err("it is refused").to_string()
}

#[test]
fn a_state_that_this_program_cannot_go_on_from_is_refused_by_name() {
    let newer = refused(|state| {
        state.header.format = FORMAT + 1;
        state.header.made_by = "9.9.9".into();
    });
    assert_eq!(newer, "state format 3 of 9.9.9; this program reads 1 to 2");
    let workers = refused(|state| state.header.page_layout += 1);
    assert!(workers.contains("pages and frames"), "{workers}");
    let workers = refused(|state| state.header.protocol += 1);
    assert!(workers.contains("pages and frames"), "{workers}");
    assert!(State::decode(b"").is_err());
    assert!(State::decode(b"{}").is_err());
}

#[test]
fn a_state_that_contradicts_itself_is_neither_written_nor_read() {
    type Change = fn(&mut State);
    let changes: [(&str, Change); 10] = [
        ("descriptor", |state| state.connections[1].descriptor = state.connections[0].descriptor),
        ("workers", |state| state.members.truncate(1)),
        ("workers", |state| {
            let stranger = Incarnation { slot: Slot(9), generation: Generation(99) };
            state.members[0].who = stranger;
        }),
        ("twice", |state| state.connections[1].id = state.connections[0].id),
        ("on loan", |state| {
            let loan = LoanId { index: 7, sequence: 7 };
            let parked = state.connections.iter_mut().find(|one| one.place == PlaceState::Parked);
            parked.unwrap().place = PlaceState::OnLoan { member: 0, loan };
        }),
        ("its worker", |state| {
            for one in &mut state.connections {
                if matches!(one.place, PlaceState::OnLoan { .. }) {
                    one.place = PlaceState::Parked;
                }
            }
        }),
        ("waits", |state| state.waiting.clear()),
        ("frame", |state| state.members[0].frames_owed.push(vec![1, 2, 3])),
        ("serves", |state| state.members[0].shape = None),
        ("context", |state| state.connections[0].context = Some(vec![0; 63])),
    ];
    for (word, change) in changes {
        let mut state = sample();
        change(&mut state);
        assert!(state.encode().is_err(), "{word}");
        let said = refused(change);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn what_operators_are_served_by_travels_and_owns_its_descriptors() {
    let mut state = sample();
    state.header = Header::ours();
    let mut listener = state.listeners[0].clone();
    listener.bind = "unix:/run/a".into();
    listener.descriptor = 900;
    let text = "signal 9".into();
    let worker = Some((Incarnation { slot: Slot(1), generation: Generation(2) }, 41));
    let kind = HappenedKind::Died;
    state.admin = Some(AdminState {
        listeners: vec![listener],
        helpers: vec![7],
        happened: vec![Happened { sequence: 3, at_ms: 9, kind, worker, text }],
        drained: vec![Slot(1)],
    });
    let again = State::decode(&state.encode().unwrap()).unwrap();
    assert_eq!(again.admin, state.admin);
    if let Some(admin) = &mut state.admin {
        admin.listeners[0].descriptor = state.listeners[0].descriptor;
    }
    assert!(state.encode().unwrap_err().to_string().contains("descriptor"));
    assert_eq!(sample().admin, None, "an older release knew of none");
}

/// A new release reads what an old one could not know, and the other way round.
#[test]
fn fields_that_are_new_or_missing_do_not_matter() {
    let mut value: serde_json::Value = serde_json::from_str(PAST[0].text).unwrap();
    value["a_field_of_tomorrow"] = serde_json::json!({ "with": [1, 2] });
    value["connections"][0]["another"] = serde_json::json!(true);
    assert!(State::decode(value.to_string().as_bytes()).is_ok());
}

/// Bytes at random never panic: each cut, and each byte changed, of a real state.
#[test]
fn damaged_states_are_refused_or_read_and_never_panic() {
    let bytes = PAST[0].text.trim_end().as_bytes();
    let mut rng = fastrand::Rng::with_seed(7);
    for length in (0..bytes.len()).step_by(37) {
        assert!(State::decode(&bytes[..length]).is_err());
    }
    for _ in 0..500 {
        let mut damaged = bytes.to_vec();
        let at = rng.usize(..damaged.len());
        damaged[at] = rng.u8(..);
        if let Ok(state) = State::decode(&damaged) {
            assert!(state.encode().is_ok(), "what is accepted holds together");
        }
    }
}
