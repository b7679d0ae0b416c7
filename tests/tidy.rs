//! The tree's own rules: which room may use which, where `unsafe` may stand, how files begin.
//!
//! The arrows point one way (docs/architecture.md): vocabulary → pure cores → sys → shells.

use std::fs;
use std::path::{Path, PathBuf};

/// What each room may use of the crate, besides itself. A pure core names no shell and no `sys`.
const MAY_USE: [(&str, &[&str]); 16] = [
    ("ident", &[]),
    ("time", &[]),
    ("config", &["ident", "time"]),
    ("account", &["ident", "time", "config", "supervise"]),
    ("loan", &["ident", "time", "config"]),
    ("dispatch", &["ident", "time", "config"]),
    ("supervise", &["ident", "time", "config"]),
    ("board", &["ident", "time", "config", "loan"]),
    // `Words`: memory that is an array of atomics, whatever stands in it. What is counted by reason
    // is counted by the reasons of the room where it happens.
    ("meters", &["ident", "time", "config", "account", "board", "proxy_protocol"]),
    ("proxy_protocol", &["ident", "config"]),
    ("http", &["ident", "time", "config"]),
    ("fleet", &["ident", "time", "config"]),
    ("sys", &["ident", "time", "config", "board"]),
    // A client that shared the server's parser would share its mistakes. `config` for what listeners
    // have unless they are told otherwise, which a report says.
    ("experiment", &["time", "config", "sys"]),
    // What is shown is what `/status` says: whoever draws knows no more of a server.
    ("top", &["time", "config", "observe"]),
    // The decision itself, and the words of plans, measures and reports. No `sys`: the simulator
    // opens no socket and reads no clock.
    ("sim", &["ident", "time", "config", "dispatch", "supervise", "fleet", "experiment"]),
];

/// What a pure core does not touch: the world.
const WORLD: [&str; 6] =
    ["std::fs", "std::net::Tcp", "std::process", "SystemTime", "Instant::now", "std::thread"];

const PURE: [&str; 8] =
    ["account", "loan", "dispatch", "supervise", "proxy_protocol", "http", "top", "fleet"];

/// Pure parts of rooms that are not: what is computed from observations can be computed again.
const PURE_FOLDERS: [&str; 1] = ["src/experiment/measure"];

/// Lines of a file that is still one room. Longer ones are looked at by people, twice this is not
/// one room any more.
const LINES_MAX: usize = 800;

/// A hundred, and a little for the last word of a comment.
const COLUMNS_MAX: usize = 102;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("a folder of the tree").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                out.push((path, text));
            }
        }
    }
    let mut out = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut out);
    assert!(!out.is_empty(), "{folder} is empty");
    out
}

/// The room of a file under src: its folder, or its own name.
fn room(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let first = inside.expect("a file under src").components().next().expect("a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The part of a file that is not its tests.
fn without_tests(text: &str) -> &str {
    text.split("\nmod tests {").next().unwrap_or(text)
}

#[test]
fn rooms_use_only_what_their_arrows_allow() {
    for (path, text) in sources("src") {
        let room = room(&path);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else { continue };
        for line in without_tests(&text).lines().filter(|line| !line.trim().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used: String =
                    used.chars().take_while(|one| one.is_alphanumeric() || *one == '_').collect();
                let fits = used == room || used.is_empty() || allowed.contains(&used.as_str());
                assert!(fits, "{}: {room} may not use {used}: {line}", path.display());
            }
        }
    }
}

#[test]
fn pure_cores_do_not_touch_the_world() {
    let rooms = sources("src");
    let rooms = rooms.into_iter().filter(|(path, _)| PURE.contains(&room(path).as_str()));
    for (path, text) in rooms.chain(PURE_FOLDERS.into_iter().flat_map(sources)) {
        for forbidden in WORLD.into_iter().chain(["crate::sys"]) {
            let code = without_tests(&text);
            assert!(!code.contains(forbidden), "{}: {forbidden}", path.display());
        }
    }
}

#[test]
fn unsafe_stands_in_sys_alone() {
    for (path, text) in sources("src") {
        let blocks = text.lines().filter(|line| {
            let code = line.split("//").next().unwrap_or("");
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        if room(&path) != "sys" {
            assert_eq!(blocks.count(), 0, "{}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_one_room() {
    for (path, text) in ["src", "tests", "benches", "examples"].into_iter().flat_map(sources) {
        let name = path.display();
        assert!(text.starts_with("//! "), "{name} does not say what it is");
        assert!(text.lines().count() <= LINES_MAX, "{name} is more than one room");
        for (number, line) in text.lines().enumerate() {
            let fits = line.chars().count() <= COLUMNS_MAX || line.contains("http");
            assert!(fits || line.contains('|'), "{name}:{} is too wide", number + 1);
        }
    }
}

#[test]
fn the_vocabulary_is_kept() {
    // One word per thing (src/lib.rs). These would be second ones.
    for (path, text) in sources("src") {
        for synonym in ["steal", "borrow back", "preempt", "child process pool"] {
            assert!(!text.to_lowercase().contains(synonym), "{}: {synonym}", path.display());
        }
    }
}

#[test]
fn words_are_defined_once() {
    fn rows(text: &str, margin: &str) -> Vec<String> {
        let cells = |line: &str| {
            let row = line.strip_prefix(margin)?.strip_prefix("| ")?;
            let (word, rest) = row.split_once(" | ")?;
            let meaning = rest.trim_end_matches('|').split(" | ").next()?.trim();
            (!word.starts_with("--")).then(|| format!("{word}: {meaning}"))
        };
        text.lines().filter_map(cells).collect()
    }
    let read = |path: &str| fs::read_to_string(path).expect("a file of the tree");
    let (code, page) = (rows(&read("src/lib.rs"), "//! "), rows(&read("docs/words.md"), ""));
    assert!(code.len() > 20, "{code:?}");
    assert_eq!(code, page);
}
