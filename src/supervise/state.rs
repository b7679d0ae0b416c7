//! The supervisor's state, as one master image leaves it to the next.
//!
//! What counts on in another process is all here: places, lives and their deadlines, which stand on
//! the machine's clock. What is drawn at random is drawn anew, and a reload that was running is not
//! mentioned: the next image begins one of its own.
//!
//! Not here: the file that it stands in (`master::upgrade`).

use serde::{Deserialize, Serialize};

use crate::ident::Incarnation;
use crate::supervise::life::{Life, Place};
use crate::supervise::{SuperviseSettings, Supervisor};

/// A supervisor between two of its turns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SupervisorState {
    generation: u32,
    ever_ready: bool,
    places: Vec<Place>,
    lives: Vec<Life>,
}

impl SupervisorState {
    /// Every process that has been started and not reaped.
    pub fn incarnations(&self) -> impl Iterator<Item = Incarnation> {
        self.lives.iter().map(|life| life.who)
    }
}

impl Supervisor {
    /// What the next image must know. There must be no effect left to poll.
    pub fn state(&self) -> SupervisorState {
        debug_assert!(self.effects.is_empty(), "what has been decided is done");
        SupervisorState {
            generation: self.generation,
            ever_ready: self.ever_ready,
            places: self.places.clone(),
            lives: self.lives.clone(),
        }
    }

    /// A supervisor that goes on from there. The number of slots is the one of the state: it may
    /// have been scaled.
    pub fn resume(settings: SuperviseSettings, state: SupervisorState) -> Self {
        let SupervisorState { generation, ever_ready, mut places, lives } = state;
        for place in &mut places {
            place.reload = false;
        }
        Supervisor { generation, ever_ready, places, lives, ..Supervisor::new(settings) }
    }
}
