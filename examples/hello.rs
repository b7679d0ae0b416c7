//! A Rust application that is its own master and its own workers:
//! `cargo run --example hello -- serve -w 2`, then `curl http://127.0.0.1:8000/you`.

use std::process::ExitCode;

use maitred::app::{self, Handler, Request, Response, StatusCode};

struct Hello;

impl Handler for Hello {
    fn handle(&self, request: Request) -> Response {
        app::text(StatusCode::OK, format!("Hello, {}\n", request.path()))
    }
}

fn main() -> ExitCode {
    maitred::run(Hello)
}
