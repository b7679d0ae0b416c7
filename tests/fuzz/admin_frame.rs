//! A frame between the master and its helper, from any bytes.
//!
//! What is understood must survive being written and read again, and must be exact: a byte more or
//! less is no frame, and no bytes are one of both directions.

use maitred::admin::frame::{FRAME_SIZE_MAX, ToHelper, ToMaster};

pub(crate) fn run(input: &[u8]) {
    let (up, down) = (ToMaster::decode(input), ToHelper::decode(input));
    assert!(up.is_err() || down.is_err(), "a frame of both directions");
    let again = match (&up, &down) {
        (Ok(frame), _) => frame.encode(),
        (_, Ok(frame)) => frame.encode(),
        (Err(one), Err(other)) => {
            assert!(!one.to_string().is_empty() && !other.to_string().is_empty());
            return;
        }
    };
    assert_eq!(again, input, "not itself again");
    assert!(again.len() <= FRAME_SIZE_MAX);
    for other in [&[input, &[0]].concat(), &input[..input.len() - 1]] {
        assert!(ToMaster::decode(other).is_err() && ToHelper::decode(other).is_err());
    }
}
