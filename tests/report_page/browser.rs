//! A headless Chromium, spoken to by the DevTools protocol over two pipes: JSON, a zero byte after
//! each message (`--remote-debugging-pipe`). So no port is open, and no client is needed.
//!
//! Not here: what pages should look like (`../report_page.rs`, `../dashboard.rs`).

#![allow(dead_code, reason = "each test binary uses its part of this")]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// For each answer. A browser on a loaded machine is slow to begin.
const DEADLINE: Duration = Duration::from_secs(60);

/// The names that Debian, Ubuntu, Fedora, Google and Playwright give it.
const NAMES: [&str; 6] = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome-headless-shell",
];

/// Set by the gate where a browser must be there: then no test may pass without one.
const REQUIRED: &str = "MAITRED_TEST_BROWSER_REQUIRED";

/// A running browser with one page. It ends with its guard.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    /// What the page has said or asked for since it was opened.
    pub(crate) events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// None, with the reason on standard error, where there is no browser.
    pub(crate) fn start() -> Option<Browser> {
        let Some(program) = find() else {
            let is_required = env::var_os(REQUIRED).is_some();
            assert!(!is_required, "{REQUIRED} is set, and there is none of {NAMES:?}");
            eprintln!(
                "skipped: no Chromium here (none of {NAMES:?} in PATH); see scripts/test page"
            );
            return None;
        };
        let profile = TempDir::new().expect("a folder for the browser");
        // The protocol's pipes are descriptors 3 and 4, which only a shell can give a child here.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(program)
            .args(["--headless", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run"])
            // In a container, or as root, its sandbox cannot be had; the page is our own.
            .args(["--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .arg(profile_argument(profile.path()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        let input = child.stdin.take().expect("a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            while output.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
                bytes.pop();
                let message = serde_json::from_slice(&bytes).expect("the browser speaks JSON");
                bytes.clear();
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser {
            child,
            input,
            messages,
            session: None,
            last_id: 0,
            events: Vec::new(),
            _profile: profile,
        };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", target);
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        // Without a window nothing has the focus, and nothing would look as if it had.
        self.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
    }

    /// Opens a file, and returns when it has been loaded.
    pub(crate) fn open(&mut self, path: &Path) {
        self.open_address(&format!("file://{}", path.display()));
    }

    /// The same with any address.
    pub(crate) fn open_address(&mut self, url: &str) {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{answer}");
        let deadline = Instant::now() + DEADLINE;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.receive(deadline);
            self.events.push(message);
        }
    }

    /// The value of an expression in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// What the promise comes to that an expression is.
    pub(crate) fn evaluate_promise(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{answer}");
        answer["result"]["value"].clone()
    }

    /// Runs in every page from the next one on, before its own scripts.
    pub(crate) fn run_first(&mut self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// Presses a key and lets go of it: `Tab`, `ArrowRight`, `p`.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = if key.len() == 1 { key } else { "" };
        let mut parameters = json!({
            "type": if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "key": key, "text": text,
            "windowsVirtualKeyCode": code,
        });
        self.call("Input.dispatchKeyEvent", parameters.clone());
        parameters["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", parameters);
    }

    /// Draws the whole page into a PNG file, for eyes.
    pub(crate) fn draw(&mut self, path: &Path) {
        let size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]";
        let size = self.evaluate(size);
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let drawn = self
            .call("Page.captureScreenshot", json!({ "captureBeyondViewport": true, "clip": clip }));
        let text = drawn["data"].as_str().expect("a picture");
        fs::write(path, from_base64(text)).expect("written");
    }

    /// As [`Browser::evaluate`], of an expression that counts something.
    pub(crate) fn count(&mut self, selector: &str) -> usize {
        let selector = json!(selector);
        let counted = self.evaluate(&format!("document.querySelectorAll({selector}).length"));
        counted.as_u64().expect("a number") as usize
    }

    /// The colour scheme that the reader prefers: `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// The window's size.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// Whether scripts of the page run, from the next page on.
    pub(crate) fn allow_scripts(&mut self, allowed: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !allowed }));
    }

    /// Calls a method of the protocol; what comes meanwhile is kept among the events.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).expect("the browser listens");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let message = self.receive(deadline);
            if message["id"] == json!(self.last_id) {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn receive(&mut self, deadline: Instant) -> Value {
        let left = deadline.saturating_duration_since(Instant::now());
        self.messages.recv_timeout(left).expect("the browser answers in time")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The shell has become the browser, whose own children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// RFC 4648, of what a browser writes.
fn from_base64(text: &str) -> Vec<u8> {
    let value = |byte| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(value).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit));
        let bits = bits << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}

fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let of_name =
        |name: &&str| folders.iter().map(|folder| folder.join(name)).find(|one| one.is_file());
    NAMES.iter().find_map(of_name)
}

fn profile_argument(folder: &Path) -> OsString {
    let mut argument = OsString::from("--user-data-dir=");
    argument.push(folder);
    argument
}
