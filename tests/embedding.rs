//! A Rust application is a program of its own: the example, built by cargo beside the tests, has
//! the whole command line, and is its own master and workers.

#![cfg(feature = "cli")]

mod common;

use common::client::Client;
use common::{Server, binary};

#[test]
fn the_example_is_a_server() {
    let directory = binary().parent().expect("a binary stands in a directory");
    let example = directory.join("examples").join("hello");
    assert!(example.exists(), "not built: cargo build --examples");
    let server = Server::start_program(&example, &["serve", "-w", "2"]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/you?x").text(), "Hello, /you\n");
}
