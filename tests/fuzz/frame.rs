//! Frames of either direction from any bytes.
//!
//! What is understood must survive being written and read again, and must be exact: a byte more or
//! less is no frame. (The first byte of the input chooses nothing: both directions are tried, and
//! no bytes may be a frame of both.)

use maitred::handoff::{FrameError, ToMaster, ToWorker};

pub(crate) fn run(input: &[u8]) {
    let down = ToWorker::decode(input);
    let up = ToMaster::decode(input);
    assert!(down.is_err() || up.is_err(), "a frame of both directions");
    if let Ok(frame) = &down {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(bytes.len(), input.len(), "another length");
        assert_eq!(ToWorker::decode(&bytes).as_ref(), Ok(frame), "not itself again");
    }
    if let Ok(frame) = &up {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(bytes.len(), input.len(), "another length");
        assert_eq!(ToMaster::decode(&bytes).as_ref(), Ok(frame), "not itself again");
    }
    if down.is_ok() || up.is_ok() {
        let longer = [input, &[0]].concat();
        let shorter = &input[..input.len() - 1];
        for other in [&longer[..], shorter] {
            let down = ToWorker::decode(other).err();
            let up = ToMaster::decode(other).err();
            for error in [down, up] {
                let error = error.expect("a byte more or less is no frame");
                // The peer is at fault, and the message says how.
                assert!(!error.to_string().is_empty());
                assert!(!matches!(error, FrameError::Version(_)), "the version was right");
            }
        }
    }
}
