//! What a node answers to HAProxy's agent check: one line of words, and the connection ends.
//!
//! HAProxy connects every `agent-inter`, reads a line and acts on its words (configuration manual,
//! "agent-check"): `up` or `down` for the health as the agent sees it, `ready`, `drain` or `maint`
//! for the administrative state, and a percentage of the configured weight. A word that is not said
//! changes nothing, so each answer says all that is to hold: after a `drain` only `ready` brings a
//! node back.
//!
//! Not here: the weight (`weight`), the connection (`admin`).

/// What a node is to its balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has no worker that serves yet.
    Starting,
    /// It takes connections.
    Serving,
    /// An operator has taken it out of service, or it was told to end: it serves what comes, and
    /// nothing new should.
    Draining,
    /// It has stopped listening, or does not live.
    Stopped,
}

/// The line, its end included.
pub fn answer(standing: Standing, weight_percent: u8) -> String {
    match standing {
        // Behind # stands what HAProxy logs as the reason.
        Standing::Starting => "down # starting\n".to_owned(),
        // The weight is for when it is ready again, so that it is not the one of an hour ago.
        Standing::Serving => format!("up ready {}%\n", weight_percent.clamp(1, 100)),
        Standing::Draining => "up drain\n".to_owned(),
        Standing::Stopped => "down # stopped\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_standing_is_said_in_words_of_the_protocol() {
        assert_eq!(answer(Standing::Serving, 75), "up ready 75%\n");
        assert_eq!(answer(Standing::Draining, 75), "up drain\n");
        for standing in [Standing::Starting, Standing::Stopped] {
            assert!(answer(standing, 75).starts_with("down # "));
        }
    }

    #[test]
    fn a_node_that_serves_never_asks_for_nothing() {
        // HAProxy takes 0 % for a drain.
        assert_eq!(answer(Standing::Serving, 0), "up ready 1%\n");
        assert_eq!(answer(Standing::Serving, 255), "up ready 100%\n");
    }
}
