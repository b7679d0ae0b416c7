//! The claim machine.
