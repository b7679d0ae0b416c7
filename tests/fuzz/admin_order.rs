//! An operator's command, from any bytes.
//!
//! What is understood is written and read again as the same, and whatever it asks of the master is a
//! frame that the master reads; what is refused is refused in words.

use maitred::admin::frame::ToMaster;
use maitred::admin::order::Order;

pub(crate) fn run(input: &[u8]) {
    let order = match Order::read(input) {
        Ok(order) => order,
        Err(refusal) => return assert!(!refusal.is_empty()),
    };
    let json = serde_json::to_vec(&order).expect("it can be written");
    assert_eq!(Order::read(&json), Ok(order.clone()), "not itself again");
    match order.command() {
        Ok(command) => {
            let frame = ToMaster { number: 7, command };
            assert_eq!(ToMaster::decode(&frame.encode()), Ok(frame));
        }
        Err(refusal) => assert!(refusal.contains("must"), "{refusal}"),
    }
}
