//! Where a chunked body ends (RFC 9112 section 7.1): sizes are read, everything else is skipped.
//!
//! A reader of our own, and not the server's: a client that shares the server's parser would share
//! its mistakes. httparse's accepts an empty size and a bare LF.
//!
//! Not here: the head that announces it (`answer`).

use crate::experiment::load::answer::AnswerError;
use crate::experiment::load::limits::{CHUNK_EXTRAS_MAX, CHUNK_SIZE_DIGITS_MAX};

/// Reads a chunked body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunks {
    state: State,
    size: u64,
    size_digits: u8,
    /// Bytes of extensions and trailers, over the whole body.
    extras: u32,
    /// Bytes of data that have been skipped.
    pub(super) data: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// The first byte of a trailer field, or CR of the empty line.
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    EndLineFeed,
    End,
}

impl Chunks {
    /// Reads on; returns how many bytes are used up, and whether the body is over.
    ///
    /// # Errors
    /// What is no chunk, or has too much besides its data.
    pub(super) fn handle_bytes(&mut self, input: &[u8]) -> Result<(usize, bool), AnswerError> {
        let mut used = 0;
        while self.state != State::End && used < input.len() {
            if self.state == State::Data {
                let rest = (input.len() - used) as u64;
                let taken = self.size.min(rest);
                self.size -= taken;
                self.data = self.data.saturating_add(taken);
                // No more than the input's length.
                used += taken as usize;
                if self.size == 0 {
                    self.state = State::DataReturn;
                }
            } else {
                self.state = self.step(input[used])?;
                used += 1;
            }
        }
        Ok((used, self.state == State::End))
    }

    fn step(&mut self, byte: u8) -> Result<State, AnswerError> {
        match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.size_digits == CHUNK_SIZE_DIGITS_MAX {
                    return Err(AnswerError::Chunk);
                }
                self.size_digits += 1;
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.size = self.size << 4 | u64::from(digit);
                Ok(State::Size)
            }
            (State::Size, b';') if self.size_digits > 0 => Ok(State::Extension),
            (State::Size, b'\r') if self.size_digits > 0 => Ok(State::SizeLineFeed),
            (State::Extension, b'\r') => Ok(State::SizeLineFeed),
            (State::SizeLineFeed, b'\n') => {
                self.size_digits = 0;
                Ok(if self.size == 0 { State::TrailerStart } else { State::Data })
            }
            (State::DataReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::EndLineFeed),
            (State::Trailer, b'\r') => Ok(State::TrailerLineFeed),
            (State::TrailerLineFeed, b'\n') => Ok(State::TrailerStart),
            (State::EndLineFeed, b'\n') => Ok(State::End),
            (State::Extension, _) if byte != b'\n' => self.extra(State::Extension),
            (State::TrailerStart | State::Trailer, _) if byte != b'\n' => {
                self.extra(State::Trailer)
            }
            _ => Err(AnswerError::Chunk),
        }
    }

    fn extra(&mut self, next: State) -> Result<State, AnswerError> {
        self.extras += 1;
        if self.extras > CHUNK_EXTRAS_MAX { Err(AnswerError::Chunk) } else { Ok(next) }
    }
}
