//! The page's files and a `/status` of our making, served as the admin address does it: what a page
//! would look like if a server were so.
//!
//! Not here: the views (`../views/mod.rs`), the page of a real server (`../dashboard.rs`).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use maitred::admin::dashboard;
use maitred::app::Body;
use maitred::observe::view::View;

use crate::views::Scene;

/// What `/status` says.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// A scene that goes on by a second with each answer.
    Goes(Scene),
    /// Always the same.
    Stands(Box<View>),
    /// Nothing: 503.
    Nothing,
}

struct State {
    says: Says,
    second: u64,
    asked: Vec<String>,
}

/// It serves until the test ends.
#[derive(Clone)]
pub(crate) struct Site {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Site {
    pub(crate) fn start(says: Says) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { says, second: 0, asked: Vec::new() }));
        let site = Site { address, state };
        let serving = site.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let site = serving.clone();
                thread::spawn(move || site.serve(stream));
            }
        });
        site
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// From the next answer on.
    pub(crate) fn say(&self, says: Says) {
        self.with(|state| state.says = says);
    }

    /// The paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.with(|state| state.asked.clone())
    }

    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One request to a connection; who leaves before the answer gets none.
    fn serve(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        let mut buffer = [0; 4096];
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(read) if read > 0 => head.extend_from_slice(&buffer[..read]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.with(|state| state.asked.push(path.clone()));
        let _ = stream.write_all(&self.answer(&path));
    }

    fn answer(&self, path: &str) -> Vec<u8> {
        if path == "/status" {
            let body = self.with(|state| {
                state.second += 1;
                match &state.says {
                    Says::Goes(scene) => serde_json::to_string(&scene.at(state.second)).ok(),
                    Says::Stands(view) => serde_json::to_string(view).ok(),
                    Says::Nothing => None,
                }
            });
            return match body {
                Some(body) => {
                    answer("200 OK", "content-type: application/json\r\n", body.as_bytes())
                }
                None => answer("503 Service Unavailable", "", b""),
            };
        }
        match dashboard::find(path) {
            Some(response) => {
                let mut fields = String::new();
                for (name, value) in response.headers() {
                    fields += &format!("{name}: {}\r\n", value.to_str().expect("ASCII"));
                }
                let Body::Full(body) = response.into_body() else { panic!("a file in one piece") };
                answer("200 OK", &fields, &body)
            }
            None => answer("404 Not Found", "", b""),
        }
    }
}

fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
