//! Whether somebody starves: for how many turns in a row the master has seated others, and none of
//! those who waited.
//!
//! New connections wait with the kernel, and accepted with the dispatcher; those that have come back
//! wait with the dispatcher, in another queue. What the dispatcher promises of the two (turn about
//! in a decision and from one to the next, half of the credit each, an odd one in turn) bounds how
//! long either is passed over, however long the other one is:
//!
//! - **come back: 1 turn.** The turn seats a new one last; the next begins with them.
//! - **new: 2 turns.** In one the master does not know that somebody has come; in another all the
//!   credit there is is one place, and it is the other queue's turn to have it.
//!
//! Not here: how long that takes (credit is what workers make of it), order within a queue.

/// Turns that those who have come back may be passed over in a row.
const RETURNED_MAX: u32 = 1;

/// Turns that new connections may be.
const NEW_MAX: u32 = 2;

/// Something of each of the two.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kinds {
    pub(super) new: bool,
    pub(super) returned: bool,
}

/// The count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PassedOver {
    new: u32,
    returned: u32,
    /// Who waited when this turn began to seat.
    waited: Kinds,
    /// Who was seated in it.
    seated: Kinds,
}

impl PassedOver {
    pub(super) fn begin_turn(&mut self, waits: Kinds) {
        (self.waited, self.seated) = (waits, Kinds::default());
    }

    /// Somebody was seated, who had come back or was new.
    pub(super) fn seated(&mut self, returned: bool) {
        self.seated.returned |= returned;
        self.seated.new |= !returned;
    }

    pub(super) fn end_turn(&mut self, waits: Kinds) {
        let Kinds { new, returned } = self.seated;
        count(&mut self.new, self.waited.new && waits.new, new, returned);
        count(&mut self.returned, self.waited.returned && waits.returned, returned, new);
    }

    /// In a row: of the new ones, of those that have come back.
    pub(super) fn turns(&self) -> (u32, u32) {
        (self.new, self.returned)
    }

    /// Nobody is passed over for longer than the dispatcher's rules allow.
    pub(super) fn check_invariants(&self) {
        assert!(self.new <= NEW_MAX, "new connections starve: {self:?}");
        assert!(self.returned <= RETURNED_MAX, "what has come back starves: {self:?}");
    }
}

fn count(turns: &mut u32, waits: bool, own_seated: bool, others_seated: bool) {
    if own_seated || !waits {
        *turns = 0;
    } else if others_seated {
        *turns += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Kinds = Kinds { new: true, returned: true };

    fn turn(passed_over: &mut PassedOver, seated: &[bool], left: Kinds) -> (u32, u32) {
        passed_over.begin_turn(BOTH);
        seated.iter().for_each(|returned| passed_over.seated(*returned));
        passed_over.end_turn(left);
        passed_over.turns()
    }

    #[test]
    fn turns_count_in_which_others_were_seated_and_none_of_those_who_waited() {
        let mut passed_over = PassedOver::default();
        assert_eq!(turn(&mut passed_over, &[true], BOTH), (1, 0));
        assert_eq!(turn(&mut passed_over, &[], BOTH), (1, 0), "nobody was seated");
        assert_eq!(turn(&mut passed_over, &[true, true], BOTH), (2, 0));
        assert_eq!(turn(&mut passed_over, &[true, false], BOTH), (0, 0), "turn about");
        assert_eq!(turn(&mut passed_over, &[false], BOTH), (0, 1));
        let nobody = Kinds::default();
        assert_eq!(turn(&mut passed_over, &[false], nobody), (0, 0), "nobody waits");
    }

    #[test]
    #[should_panic(expected = "starve")]
    fn two_turns_are_too_many_for_those_who_have_come_back() {
        let mut passed_over = PassedOver::default();
        turn(&mut passed_over, &[false], BOTH);
        turn(&mut passed_over, &[false], BOTH);
        passed_over.check_invariants();
    }
}
