//! The sessions of one worker: a slab whose keys tell an old inhabitant from a new one.
//!
//! An event, a deadline or a handler's result may arrive after its session has ended and its place
//! has been taken again; the generation in the key makes it miss.
//!
//! Not here: what a session does (`session`).

use mio::Token;
use slab::Slab;

/// Names one session for as long as the worker lives: place in the low half, generation above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// Tokens below this are the loop's own (channel, waker, listeners); session tokens lie above.
pub const TOKENS_RESERVED: usize = 128;

impl SessionKey {
    fn new(place: usize, generation: u32) -> Self {
        SessionKey(u64::from(generation) << 32 | place as u64)
    }

    fn place(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The token under which the session's socket is registered.
    pub fn token(self) -> Token {
        // The generation's top bits are given up; 2^31 reuses of one place within the life of one
        // stale event do not happen.
        Token((self.0 as usize).wrapping_add(TOKENS_RESERVED))
    }

    /// The session that a token stands for; `None` for the loop's own.
    pub fn of(token: Token) -> Option<SessionKey> {
        (token.0 >= TOKENS_RESERVED).then(|| SessionKey((token.0 - TOKENS_RESERVED) as u64))
    }
}

/// All sessions, by key.
#[derive(Debug)]
pub struct Sessions<S> {
    slab: Slab<(u32, S)>,
    /// Counts insertions; every key is new.
    generation: u32,
}

impl<S> Default for Sessions<S> {
    fn default() -> Self {
        Sessions { slab: Slab::new(), generation: 0 }
    }
}

impl<S> Sessions<S> {
    /// None yet.
    pub fn new() -> Self {
        Sessions::default()
    }

    /// Adds a session.
    pub fn insert(&mut self, session: S) -> SessionKey {
        // Thirty-one bits, so that a token stays clear of mio's own reserved value.
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let generation = self.generation;
        SessionKey::new(self.slab.insert((generation, session)), generation)
    }

    /// Takes a session out.
    pub fn remove(&mut self, key: SessionKey) -> Option<S> {
        self.get(key)?;
        Some(self.slab.remove(key.place()).1)
    }

    /// The session of a key.
    pub fn get_mut(&mut self, key: SessionKey) -> Option<&mut S> {
        self.slab
            .get_mut(key.place())
            .filter(|(generation, _)| *generation == key.generation())
            .map(|(_, session)| session)
    }

    /// The session of a key.
    pub fn get(&self, key: SessionKey) -> Option<&S> {
        self.slab
            .get(key.place())
            .filter(|(generation, _)| *generation == key.generation())
            .map(|(_, session)| session)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Every key, as of now.
    pub fn keys(&self) -> Vec<SessionKey> {
        self.slab
            .iter()
            .map(|(place, (generation, _))| SessionKey::new(place, *generation))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_find_the_next_inhabitant_of_its_place() {
        let mut sessions = Sessions::new();
        let first = sessions.insert('a');
        assert_eq!(sessions.remove(first), Some('a'));
        let second = sessions.insert('b');
        assert_eq!(first.place(), second.place());
        assert_eq!(sessions.get(first), None);
        assert_eq!(sessions.remove(first), None);
        assert_eq!(sessions.get_mut(second), Some(&mut 'b'));
        assert_eq!(sessions.keys(), vec![second]);
    }

    #[test]
    fn keys_come_back_from_their_tokens() {
        let key = SessionKey::new(70_000, 12);
        assert_eq!(SessionKey::of(key.token()), Some(key));
        assert_eq!(SessionKey::of(Token(3)), None);
    }
}
