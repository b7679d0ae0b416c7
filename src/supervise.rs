//! The life of a slot.
