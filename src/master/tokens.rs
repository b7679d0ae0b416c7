//! Tokens of the master's event loop: what an event is about, packed into mio's `usize`.
//!
//! Not here: what is done about it (`master`).

use mio::Token;

use crate::ident::{ConnectionId, ListenerId};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Signals have arrived.
    Signals,
    /// A listener has connections.
    Listener(ListenerId),
    /// A worker has sent frames; by its place in the roster.
    Channel(u32),
    /// A worker has ended; by its place in the roster.
    Process(u32),
    /// A parked connection is readable or gone.
    Parked(ConnectionId),
    /// A connection that is being closed gently has sent something, or gone.
    Lingering(ConnectionId),
    /// A worker's alarm has rung: it may be stuck; by its place in the roster.
    Alarm(u32),
    /// An idle connection of a stuck worker has become readable; by the worker's place.
    Watched(u32),
    /// The master's own alarm: it is time for a look.
    Look,
    /// The program that an upgrade asks has ended.
    Preflight,
    /// A worker has rung its bell: it has room, or has given loans back; by its place in the roster.
    Bell(u32),
    /// The helper has sent frames, or is gone.
    Admin,
}

const KIND_SHIFT: u32 = 32;

impl Source {
    /// The token to register with.
    pub(crate) fn token(self) -> Token {
        let (kind, number) = match self {
            Source::Signals => (0, 0),
            Source::Listener(listener) => (1, u32::from(listener.0)),
            Source::Channel(place) => (2, place),
            Source::Process(place) => (3, place),
            Source::Parked(connection) => (4, connection.0),
            Source::Lingering(connection) => (5, connection.0),
            Source::Alarm(place) => (6, place),
            Source::Watched(place) => (7, place),
            Source::Look => (8, 0),
            Source::Preflight => (10, 0),
            Source::Bell(place) => (9, place),
            Source::Admin => (11, 0),
        };
        Token((kind << KIND_SHIFT) | number as usize)
    }

    /// What a token of [`Source::token`] stands for; `None` for any other.
    pub(crate) fn of(token: Token) -> Option<Source> {
        let number = (token.0 & u32::MAX as usize) as u32;
        match token.0 >> KIND_SHIFT {
            0 => Some(Source::Signals),
            1 => Some(Source::Listener(ListenerId(number as u16))),
            2 => Some(Source::Channel(number)),
            3 => Some(Source::Process(number)),
            4 => Some(Source::Parked(ConnectionId(number))),
            5 => Some(Source::Lingering(ConnectionId(number))),
            6 => Some(Source::Alarm(number)),
            7 => Some(Source::Watched(number)),
            8 => Some(Source::Look),
            10 => Some(Source::Preflight),
            9 => Some(Source::Bell(number)),
            11 => Some(Source::Admin),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_comes_back_from_its_token() {
        let sources = [
            Source::Signals,
            Source::Listener(ListenerId(u16::MAX)),
            Source::Channel(7),
            Source::Process(u32::MAX),
            Source::Parked(ConnectionId(u32::MAX)),
            Source::Lingering(ConnectionId(0)),
            Source::Alarm(3),
            Source::Watched(u32::MAX),
            Source::Look,
            Source::Preflight,
            Source::Bell(u32::MAX),
            Source::Admin,
        ];
        for source in sources {
            assert_eq!(Source::of(source.token()), Some(source));
        }
        assert_eq!(Source::of(Token(12 << KIND_SHIFT)), None);
    }
}
