//! Cuts whole answers out of what has been read so far, and takes nothing for whole that is not.
//!
//! Not here: whose answer it is (`request`).

use crate::common::client::{Answer, parse_head};

/// Takes the first answer out of the buffer if all of it is there.
///
/// # Errors
/// What is there cannot be the beginning of an answer with a length.
pub(crate) fn take(buffer: &mut Vec<u8>) -> Result<Option<Answer>, String> {
    let Some(head_end) = place_of(buffer, b"\r\n\r\n").map(|place| place + 4) else {
        return Ok(None);
    };
    let mut answer = parse_head(&buffer[..head_end]).map_err(|failure| format!("{failure:?}"))?;
    let framing = (answer.header("transfer-encoding"), answer.header("content-length"));
    let end = match framing {
        (None, Some(text)) => {
            let length: usize = text.parse().map_err(|_| format!("length {text:?}"))?;
            let end = head_end + length;
            answer.body = buffer.get(head_end..end).unwrap_or_default().to_vec();
            (buffer.len() >= end).then_some(end)
        }
        (Some("chunked"), None) => take_chunks(buffer, head_end, &mut answer.body)?,
        // An end by the end of the connection would be believed however early it came.
        _ => return Err(format!("no framing to rely on: {framing:?}")),
    };
    Ok(end.map(|end| {
        buffer.drain(..end);
        answer
    }))
}

/// Where the last chunk ends, if it is there.
fn take_chunks(
    buffer: &[u8],
    head_end: usize,
    body: &mut Vec<u8>,
) -> Result<Option<usize>, String> {
    let mut at = head_end;
    loop {
        let Some(line_end) = place_of(&buffer[at..], b"\r\n").map(|place| at + place) else {
            return Ok(None);
        };
        let line = String::from_utf8_lossy(&buffer[at..line_end]);
        let size = usize::from_str_radix(&line, 16).map_err(|_| format!("chunk size {line:?}"))?;
        let (begin, end) = (line_end + 2, line_end + 2 + size);
        let Some(chunk) = buffer.get(begin..end + 2) else {
            return Ok(None);
        };
        let Some(data) = chunk.strip_suffix(b"\r\n") else {
            return Err(format!("a chunk of {size} bytes has another length"));
        };
        body.extend(data);
        at = end + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

fn place_of(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
