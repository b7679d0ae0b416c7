//! The claim machine: one word per loan says who may read its connection next.
//!
//! The master lends a connection by storing LENT, and the worker claims it by a compare-exchange
//! directly before it reads. What is not claimed the master can take back, with a compare-exchange
//! of its own. Nobody asks anybody: whoever wins the exchange has the connection, and whoever loses
//! it drops its copy.
//!
//! ```text
//!                 lend                     claim                first byte of a response
//!   FREE ────────(master)──────→ LENT ────(worker)────→ ACTIVE ────────(worker)────────→ ANSWERING
//!    ▲                            │ │                    ▲ │ ▲                            │  │  │
//!    │                     recall │ │ give         claim │ │ └────── next one is here ────┘  │  │
//!    │                   (master) │ │ (worker)  (worker) │ │ nothing there                   │  │
//!    │                            ▼ ▼                    │ ▼          all is written         │  │
//!    │◀── its id came ── RECALLED   GIVEN ◀──(worker)── IDLE ◀───────────────────────────────┘  │
//!    │   through the ring    ▲                            │                                     │
//!    │                       └─────────(master)───────────┘                                     │
//!    └◀───────────────────────────────── ENDED ◀──────(worker; also from ACTIVE, PINNED)────────┘
//! ```
//!
//! Everything here is arithmetic on values: no atomics, no memory. That is what lets the same rules
//! be explored exhaustively, with a crash at every step (tests/loan_exploration.rs).
//!
//! Not here: the words in shared memory and their orderings (`board`).

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a claim word says of its loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LoanState {
    /// The place is not in use.
    Free = 0,
    /// Seated here; nobody has read from it since.
    Lent = 1,
    /// The worker is reading or handling a request.
    Active = 2,
    /// A response has begun to leave.
    Answering = 3,
    /// Answered, nothing more has been read: it may be claimed again, or taken back.
    Idle = 4,
    /// The master has taken it back; the worker has yet to drop its copy.
    Recalled = 5,
    /// The worker has given it back.
    Given = 6,
    /// TLS or upgraded: state of the connection is in the worker, and it is never taken back.
    Pinned = 7,
    /// Over: the worker has shut the connection down.
    Ended = 8,
}

impl LoanState {
    /// Every state, in order of its number.
    pub const ALL: [LoanState; 9] = [
        LoanState::Free,
        LoanState::Lent,
        LoanState::Active,
        LoanState::Answering,
        LoanState::Idle,
        LoanState::Recalled,
        LoanState::Given,
        LoanState::Pinned,
        LoanState::Ended,
    ];
}

/// A claim word, taken apart. In memory: the sequence in the upper half, the state below it, and
/// nothing else, so that a word that one of us did not write is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimWord {
    /// How often the place had been used before: tells a loan from its predecessors. Wraps after
    /// 2³² uses of one place, by when no frame or ring entry of the first use can be left.
    pub sequence: u32,
    /// Who may read.
    pub state: LoanState,
}

/// A word that no transition can have left.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("claim word {0:#018x} is no claim word")]
pub struct Garbled(pub u64);

impl ClaimWord {
    /// The word as it stands in memory.
    pub fn encode(self) -> u64 {
        u64::from(self.sequence) << 32 | self.state as u64
    }

    /// The word of a number from memory, which a worker can write whatever it likes to.
    ///
    /// # Errors
    /// Bits that stand for nothing.
    pub fn decode(word: u64) -> Result<ClaimWord, Garbled> {
        let number = (word & u64::from(u32::MAX)) as usize;
        let state = LoanState::ALL.get(number).copied().ok_or(Garbled(word))?;
        Ok(ClaimWord { sequence: (word >> 32) as u32, state })
    }
}

/// The two sides of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The process that lends.
    Master,
    /// The process that was lent to.
    Worker,
}

/// How a transition is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// The other side cannot move: a plain store.
    Store,
    /// The other side may move at the same moment: a compare-exchange, and one of us loses.
    Exchange,
}

/// Whether a side may make a transition, and how. Every pair that is not listed is forbidden.
pub fn transition(side: Side, from: LoanState, to: LoanState) -> Option<How> {
    use LoanState::{Active, Answering, Ended, Free, Given, Idle, Lent, Pinned, Recalled};
    match (side, from, to) {
        (Side::Master, Free, Lent) => Some(How::Store),
        (Side::Master, Lent | Idle, Recalled) => Some(How::Exchange),
        // Through the ring; LENT and RECALLED also when the send failed or the packet was refused.
        (Side::Master, Lent | Recalled | Given | Ended, Free) => Some(How::Store),
        (Side::Worker, Lent | Idle, Active) => Some(How::Exchange),
        (Side::Worker, Lent | Idle, Given) => Some(How::Exchange),
        (Side::Worker, Active, Answering | Idle | Pinned | Ended) => Some(How::Store),
        (Side::Worker, Answering, Active | Idle | Pinned | Ended) => Some(How::Store),
        (Side::Worker, Pinned, Ended) => Some(How::Store),
        (
            Side::Master | Side::Worker,
            Free | Lent | Active | Answering | Idle | Recalled | Given | Pinned | Ended,
            Free | Lent | Active | Answering | Idle | Recalled | Given | Pinned | Ended,
        ) => None,
    }
}

/// The master's own record of a place. It goes by this, not by the word: what it has taken back is
/// gone from the page, whatever the word says later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MasterState {
    /// Not in use.
    Free,
    /// A connection is at the worker.
    OnLoan,
    /// Taken back; the place is occupied until the worker has dropped its copy.
    Recalled,
}

/// What becomes of a connection whose worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// Nobody has read from it: another worker gets it, bytes intact.
    SeatAgain,
    /// Between two requests: parked, or seated at once if something has come.
    Idle,
    /// A request was read and not a byte answered: 502.
    BadGateway,
    /// Nothing that could be sent would be right: reset, so that the client sees it.
    Reset(ResetReason),
    /// The worker had ended it: close.
    Close,
    /// The master had taken it back: it is somewhere else already.
    Elsewhere,
}

/// Why a connection is reset when its worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// A part of an answer has left.
    Answering,
    /// State of the connection was in the worker alone.
    Pinned,
    /// The worker wrote what cannot be: there is no telling.
    Garbled,
}

/// Settles one loan of a worker that has ended, by the master's record and the claim word, never
/// by the ring: death may fall between the two.
pub fn settle(record: MasterState, word: u64, sequence: u32) -> Settlement {
    match record {
        MasterState::Free | MasterState::Recalled => Settlement::Elsewhere,
        MasterState::OnLoan => match ClaimWord::decode(word) {
            Ok(word) if word.sequence == sequence => settle_state(word.state),
            // Somebody else's sequence on a place that is lent: the worker wrote over it.
            Ok(_) | Err(Garbled(_)) => Settlement::Reset(ResetReason::Garbled),
        },
    }
}

fn settle_state(state: LoanState) -> Settlement {
    match state {
        LoanState::Lent => Settlement::SeatAgain,
        LoanState::Idle | LoanState::Given => Settlement::Idle,
        LoanState::Active => Settlement::BadGateway,
        LoanState::Answering => Settlement::Reset(ResetReason::Answering),
        LoanState::Pinned => Settlement::Reset(ResetReason::Pinned),
        LoanState::Ended => Settlement::Close,
        // Only the master writes these, and its record says otherwise: the worker lies.
        LoanState::Free | LoanState::Recalled => Settlement::Reset(ResetReason::Garbled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_comes_back_and_no_other_number_is_one() {
        for state in LoanState::ALL {
            for sequence in [0, 1, u32::MAX] {
                let word = ClaimWord { sequence, state };
                assert_eq!(ClaimWord::decode(word.encode()), Ok(word));
            }
        }
        for number in [9, 10, 255, 1 << 8, 1 << 31] {
            assert_eq!(ClaimWord::decode(number), Err(Garbled(number)));
        }
    }

    #[test]
    fn a_plain_store_is_only_used_where_the_other_side_has_no_move() {
        for from in LoanState::ALL {
            for to in LoanState::ALL {
                let stores = |side| transition(side, from, to) == Some(How::Store);
                let moves =
                    |side| LoanState::ALL.iter().any(|to| transition(side, from, *to).is_some());
                if stores(Side::Worker) {
                    assert!(!moves(Side::Master), "{from:?} → {to:?}");
                }
                // The master's store over LENT is made before the packet has gone, or after the
                // worker has refused it: the worker holds no copy then.
                if stores(Side::Master) && from != LoanState::Lent {
                    assert!(!moves(Side::Worker) || from == LoanState::Free, "{from:?} → {to:?}");
                }
            }
        }
    }

    #[test]
    fn what_nobody_has_read_is_never_lost_to_a_death() {
        let word = |state| ClaimWord { sequence: 7, state }.encode();
        let on_loan = |state| settle(MasterState::OnLoan, word(state), 7);
        assert_eq!(on_loan(LoanState::Lent), Settlement::SeatAgain);
        assert_eq!(on_loan(LoanState::Idle), Settlement::Idle);
        assert_eq!(on_loan(LoanState::Given), Settlement::Idle);
        assert_eq!(on_loan(LoanState::Active), Settlement::BadGateway);
        assert_eq!(on_loan(LoanState::Answering), Settlement::Reset(ResetReason::Answering));
        assert_eq!(on_loan(LoanState::Pinned), Settlement::Reset(ResetReason::Pinned));
        assert_eq!(on_loan(LoanState::Ended), Settlement::Close);
    }

    #[test]
    fn a_word_that_cannot_be_is_a_reset_and_a_recalled_loan_is_elsewhere_whatever_it_says() {
        let garbled = Settlement::Reset(ResetReason::Garbled);
        assert_eq!(settle(MasterState::OnLoan, u64::MAX, 7), garbled);
        let other = ClaimWord { sequence: 8, state: LoanState::Lent }.encode();
        assert_eq!(settle(MasterState::OnLoan, other, 7), garbled);
        for state in LoanState::ALL {
            let word = ClaimWord { sequence: 7, state }.encode();
            assert_eq!(settle(MasterState::Recalled, word, 7), Settlement::Elsewhere);
        }
    }
}
