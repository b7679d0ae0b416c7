//! The chunked transfer coding, read strictly (RFC 9112 section 7.1).
//!
//! A parser of our own: httparse's accepts an empty size and a bare LF within extensions, and both
//! are known ways to make two servers disagree on where a request ends. This one takes the grammar
//! at its word, but for "bad whitespace", which it refuses: no client sends it and it is the other
//! half of such tricks. It reads every byte once, whatever pieces they come in, and keeps none.
//!
//! Not here: what becomes of the data (`connection`).

use std::ops::Range;

use crate::config::{
    CHUNK_EXTENSIONS_SIZE_MAX, CHUNK_SIZE_DIGITS_MAX, HttpLimits, TRAILERS_SIZE_MAX,
};
use crate::http::error::HttpError;
use crate::http::scan::is_token_byte;

/// Reads a chunked body: sizes, extensions and trailers are checked and dropped, data is pointed
/// at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChunkedBody {
    state: State,
    /// Digits of the size that have been read.
    size_digits: u8,
    /// Bytes of extensions, over all chunks.
    extensions_size: u16,
    /// Bytes of trailer fields, over all of them.
    trailers_size: u32,
    /// Bytes of the trailer field that is being read.
    trailer_size: u32,
    /// Trailer fields.
    trailers: u32,
    /// In a size line: the size so far. In data: the bytes that are still to come.
    size: u64,
    /// Bytes of data, over all chunks that have been announced.
    total: u64,
}

/// What a call of [`ChunkedBody::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// All input is used up; more is needed.
    Partial,
    /// Data, at this range of the input. Never empty.
    Data(Range<usize>),
    /// The end of the body.
    End,
}

/// Where in the grammar the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// `chunk-size`
    #[default]
    Size,
    /// The first byte of `chunk-ext-name`, after `;`.
    ExtensionStart,
    /// `chunk-ext-name`
    ExtensionName,
    /// The first byte of `chunk-ext-val`, after `=`.
    ExtensionValue,
    /// A value that is a token.
    ExtensionToken,
    /// Within a value that is a quoted string.
    ExtensionQuoted,
    /// After `\` in one.
    ExtensionEscape,
    /// After its closing quote.
    ExtensionQuotedEnd,
    /// LF of the size line.
    SizeLineFeed,
    /// `chunk-data`
    Data,
    /// CR behind the data.
    DataReturn,
    /// LF behind the data.
    DataLineFeed,
    /// The first byte of a trailer field, or CR of the empty line.
    TrailerStart,
    /// The name of a trailer field.
    TrailerName,
    /// Its value.
    TrailerValue,
    /// LF behind a trailer field.
    TrailerLineFeed,
    /// LF of the empty line.
    EndLineFeed,
    /// The body is over.
    End,
}

impl ChunkedBody {
    /// Reads on. Returns how many bytes are used up, with what they end in.
    ///
    /// # Errors
    /// Whatever the grammar or a limit forbids; the same for the same bytes, however they are cut
    /// into pieces. A chunk that would make the body too large is refused when it is announced.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        limits: &HttpLimits,
    ) -> Result<(usize, Chunk), HttpError> {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            match self.state {
                State::Data => {
                    let rest = u64::try_from(input.len() - used).unwrap_or(u64::MAX);
                    let taken = self.size.min(rest);
                    self.size -= taken;
                    if self.size == 0 {
                        self.state = State::DataReturn;
                    }
                    let start = used;
                    used += usize::try_from(taken).expect("no more than the input's length");
                    return Ok((used, Chunk::Data(start..used)));
                }
                State::End => break,
                _ => self.state = self.step(byte, limits)?,
            }
            used += 1;
        }
        match self.state {
            State::End => Ok((used, Chunk::End)),
            _ => Ok((used, Chunk::Partial)),
        }
    }

    /// Bytes that have been announced, in order; the data of a chunk is never empty.
    pub(super) fn check_invariants(&self, limits: &HttpLimits) {
        assert!(self.size <= self.total || self.state != State::Data, "a chunk is part of the sum");
        assert!(self.size > 0 || self.state != State::Data, "data that is awaited has a size");
        assert!(self.size_digits <= CHUNK_SIZE_DIGITS_MAX, "sizes do not overflow");
        assert!(self.extensions_size <= CHUNK_EXTENSIONS_SIZE_MAX, "extensions are bounded");
        assert!(self.trailers_size <= TRAILERS_SIZE_MAX, "trailers are bounded");
        assert!(
            limits.body_max.is_none_or(|max| self.total <= max),
            "no more is announced than may come"
        );
    }

    /// The state after a byte that is not data.
    fn step(&mut self, byte: u8, limits: &HttpLimits) -> Result<State, HttpError> {
        match self.state {
            State::Size => match byte {
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => self.size_digit(byte),
                _ if self.size_digits == 0 => Err(HttpError::ChunkSizeInvalid),
                b';' => self.extension(State::ExtensionStart),
                b'\r' => Ok(State::SizeLineFeed),
                _ => Err(HttpError::ChunkSizeInvalid),
            },
            State::ExtensionStart => match byte {
                _ if is_token_byte(byte) => self.extension(State::ExtensionName),
                _ => Err(HttpError::ChunkExtensionInvalid),
            },
            State::ExtensionName => match byte {
                b'=' => self.extension(State::ExtensionValue),
                b';' => self.extension(State::ExtensionStart),
                b'\r' => Ok(State::SizeLineFeed),
                _ if is_token_byte(byte) => self.extension(State::ExtensionName),
                _ => Err(HttpError::ChunkExtensionInvalid),
            },
            State::ExtensionValue => match byte {
                b'"' => self.extension(State::ExtensionQuoted),
                _ if is_token_byte(byte) => self.extension(State::ExtensionToken),
                _ => Err(HttpError::ChunkExtensionInvalid),
            },
            State::ExtensionToken => match byte {
                b';' => self.extension(State::ExtensionStart),
                b'\r' => Ok(State::SizeLineFeed),
                _ if is_token_byte(byte) => self.extension(State::ExtensionToken),
                _ => Err(HttpError::ChunkExtensionInvalid),
            },
            State::ExtensionQuoted => match byte {
                b'"' => self.extension(State::ExtensionQuotedEnd),
                b'\\' => self.extension(State::ExtensionEscape),
                _ if is_text_byte(byte) => self.extension(State::ExtensionQuoted),
                _ => Err(HttpError::ChunkExtensionInvalid),
            },
            State::ExtensionEscape => match byte {
                _ if is_text_byte(byte) => self.extension(State::ExtensionQuoted),
                _ => Err(HttpError::ChunkExtensionInvalid),
            },
            State::ExtensionQuotedEnd => match byte {
                b';' => self.extension(State::ExtensionStart),
                b'\r' => Ok(State::SizeLineFeed),
                _ => Err(HttpError::ChunkExtensionInvalid),
            },
            State::SizeLineFeed => match byte {
                b'\n' => self.announce(limits),
                _ => Err(HttpError::ChunkSizeInvalid),
            },
            State::DataReturn => match byte {
                b'\r' => Ok(State::DataLineFeed),
                _ => Err(HttpError::ChunkEndInvalid),
            },
            State::DataLineFeed => match byte {
                b'\n' => Ok(State::Size),
                _ => Err(HttpError::ChunkEndInvalid),
            },
            State::TrailerStart => match byte {
                b'\r' => Ok(State::EndLineFeed),
                _ if is_token_byte(byte) => {
                    self.trailers += 1;
                    self.trailer_size = 0;
                    if usize::try_from(self.trailers).is_ok_and(|count| count > limits.fields_max) {
                        return Err(HttpError::FieldsTooMany);
                    }
                    self.trailer(State::TrailerName, limits)
                }
                _ => Err(HttpError::TrailerInvalid),
            },
            State::TrailerName => match byte {
                b':' => self.trailer(State::TrailerValue, limits),
                _ if is_token_byte(byte) => self.trailer(State::TrailerName, limits),
                _ => Err(HttpError::TrailerInvalid),
            },
            State::TrailerValue => match byte {
                b'\r' => Ok(State::TrailerLineFeed),
                _ if is_text_byte(byte) => self.trailer(State::TrailerValue, limits),
                _ => Err(HttpError::TrailerInvalid),
            },
            State::TrailerLineFeed => match byte {
                b'\n' => Ok(State::TrailerStart),
                _ => Err(HttpError::TrailerInvalid),
            },
            State::EndLineFeed => match byte {
                b'\n' => Ok(State::End),
                _ => Err(HttpError::TrailerInvalid),
            },
            State::Data | State::End => Ok(self.state),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<State, HttpError> {
        if self.size_digits == CHUNK_SIZE_DIGITS_MAX {
            return Err(HttpError::ChunkSizeInvalid);
        }
        let digit = char::from(byte).to_digit(16).ok_or(HttpError::ChunkSizeInvalid)?;
        self.size = self.size << 4 | u64::from(digit);
        self.size_digits += 1;
        Ok(State::Size)
    }

    fn extension(&mut self, next: State) -> Result<State, HttpError> {
        if self.extensions_size == CHUNK_EXTENSIONS_SIZE_MAX {
            return Err(HttpError::ChunkExtensionsTooLarge);
        }
        self.extensions_size += 1;
        Ok(next)
    }

    fn trailer(&mut self, next: State, limits: &HttpLimits) -> Result<State, HttpError> {
        self.trailer_size += 1;
        if usize::try_from(self.trailer_size).is_ok_and(|size| size > limits.field_size_max) {
            return Err(HttpError::FieldTooLarge);
        }
        if self.trailers_size == TRAILERS_SIZE_MAX {
            return Err(HttpError::TrailersTooLarge);
        }
        self.trailers_size += 1;
        Ok(next)
    }

    /// A size line is complete.
    fn announce(&mut self, limits: &HttpLimits) -> Result<State, HttpError> {
        self.size_digits = 0;
        if self.size == 0 {
            return Ok(State::TrailerStart);
        }
        // A sum past 64 bits is past every limit there could be.
        let total = self.total.checked_add(self.size).ok_or(HttpError::BodyTooLarge)?;
        if limits.body_max.is_some_and(|max| total > max) {
            return Err(HttpError::BodyTooLarge);
        }
        self.total = total;
        Ok(State::Data)
    }
}

/// A byte of a field value or quoted string: HTAB, SP, visible ASCII and `obs-text`.
const fn is_text_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..=0xff)
}
