//! What stands in packaging/ goes with the program: its flags are there, its times fit each other,
//! and its metrics are those of docs/metrics.md. Whether systemd and Kubernetes take the files is
//! `scripts/check-packaging`.

#![cfg(feature = "cli")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use maitred::cli::raw;
use maitred::cli::values;
use maitred::config::Settings;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The value of a key in a unit.
fn setting(unit: &str, key: &str) -> String {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let mut found = lines.filter(|(name, _)| *name == key).map(|(_, value)| value.to_owned());
    found.next_back().unwrap_or_else(|| panic!("{key} is missing"))
}

fn time(text: &str) -> Duration {
    values::duration(text, Duration::ZERO..=Duration::MAX).expect(text)
}

/// Whether the admin address, and with it docs/metrics.md, is part of this program.
fn has_admin() -> bool {
    Path::new(ROOT).join("docs/metrics.md").exists()
}

/// Panics unless our command line takes these words, the program's name left out.
fn assert_taken(words: &[&str]) {
    let words: Vec<&str> =
        words.iter().copied().filter(|word| has_admin() || !word.starts_with("--admin")).collect();
    let all = [&["maitred"], &words[..]].concat();
    if let Err(error) = raw::command("maitred").try_get_matches_from(&all) {
        panic!("{all:?}: {error}");
    }
}

#[test]
fn units_start_what_there_is_and_are_more_patient_than_the_server() {
    let lifecycle = Settings::default().lifecycle;
    let units = ["packaging/systemd/maitred.service", "packaging/systemd/maitred@.service"];
    for path in units {
        let unit = read(path);
        let command = setting(&unit, "ExecStart");
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("/usr/bin/maitred"), "{path}");
        assert_taken(&words.collect::<Vec<_>>());
        let stop = lifecycle.drain_delay + lifecycle.graceful_timeout;
        assert!(time(&setting(&unit, "TimeoutStopSec")) > stop, "{path}");
        assert!(time(&setting(&unit, "TimeoutStartSec")) > lifecycle.boot_timeout, "{path}");
        assert_eq!(setting(&unit, "RestartPreventExitStatus"), "2 4", "{path}");
        assert_eq!(setting(&unit, "KillMode"), "mixed", "{path}");
        // What a real systemd has shown: the one forbids openat2, which `static:DIR` opens with; and
        // after the other RestartPreventExitStatus does not count.
        for line in ["RestrictSUIDSGID=", "ExecStartPre="] {
            assert!(!unit.lines().any(|one| one.starts_with(line)), "{path}: {line}");
        }
    }
    // They differ in names alone.
    let instance = |line: &str| line.replace("-%i", "").replace("%i.toml", "maitred.toml");
    let [one, many] = units.map(read);
    let settings = |unit: &str| -> Vec<String> {
        unit.lines().filter(|line| line.contains('=')).map(instance).collect()
    };
    let one: Vec<String> = settings(&one);
    let many: Vec<String> =
        settings(&many).into_iter().map(|line| line.replace(" of %i", "")).collect();
    assert_eq!(one, many);
}

#[test]
fn the_configuration_of_the_package_holds() {
    let text = read("packaging/deb/maitred.toml");
    // The examples in it too.
    let examples: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') && rest.contains(" = ") => format!("{rest}\n"),
            Some(_) | None => String::new(),
        })
        .collect();
    let keys: BTreeSet<String> = raw::flags()
        .into_iter()
        .map(|flag| flag.name.trim_start_matches('-').to_owned())
        .chain(["app".to_owned()])
        .collect();
    for text in [text.clone(), examples] {
        let table: toml::Table = toml::from_str(&text).expect("it is TOML");
        assert!(!table.is_empty());
        for key in table.keys() {
            assert!(keys.contains(key), "{key}");
        }
    }
}

/// The files of the Debian package: source, and where it goes.
fn assets() -> Vec<(String, String)> {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).expect("it is TOML");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().expect("a list");
    let mut all = Vec::new();
    for asset in assets {
        let [pattern, to, _mode] = asset.as_array().expect("three words").as_slice() else {
            panic!("{asset:?} has not three words");
        };
        let (pattern, to) = (pattern.as_str().expect("a path"), to.as_str().expect("a path"));
        let place = |name: &str| match to.ends_with('/') {
            true => format!("{to}{name}"),
            false => to.to_owned(),
        };
        let (folder, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
        match name.split_once('*') {
            // What the script makes is not there.
            Some(_) if folder.starts_with("target/") => {}
            Some((begin, end)) => {
                let entries = fs::read_dir(Path::new(ROOT).join(folder)).expect(folder);
                let names = entries.map(|entry| entry.expect("an entry").file_name());
                let names = names.map(|name| name.into_string().expect("a name in UTF-8"));
                let matching = names.filter(|name| name.starts_with(begin) && name.ends_with(end));
                all.extend(matching.map(|name| (format!("{folder}/{name}"), place(&name))));
            }
            None => all.push((pattern.to_owned(), place(name))),
        }
    }
    all
}

#[test]
fn no_two_files_of_the_package_go_to_the_same_place() {
    let mut taken = BTreeMap::new();
    let assets = assets();
    assert!(assets.iter().any(|(source, _)| source == "docs/README.md"), "{assets:?}");
    for (source, place) in assets {
        let there = source.starts_with("target/") || Path::new(ROOT).join(&source).is_file();
        assert!(there, "{source} is no file");
        if let Some(other) = taken.insert(place.clone(), source.clone()) {
            panic!("{other} and {source} go to {place}");
        }
    }
}

#[test]
fn images_run_as_nobody_in_particular_and_hear_their_signals() {
    for path in ["packaging/docker/Dockerfile", "packaging/docker/Dockerfile.python"] {
        let file = read(path);
        let last = |name: &str| {
            let line = file.lines().rfind(|line| line.starts_with(name));
            line.unwrap_or_else(|| panic!("{path} lacks {name}")).to_owned()
        };
        assert_eq!(last("USER "), "USER 10001:10001", "{path}");
        assert_eq!(last("STOPSIGNAL "), "STOPSIGNAL SIGTERM", "{path}");
        assert!(last("ENTRYPOINT ").starts_with("ENTRYPOINT [\""), "{path}: in exec form");
        assert!(last("CMD ").starts_with("CMD [\"serve\""), "{path}: in exec form");
        assert!(file.contains("HEALTHCHECK "), "{path}");
        // Variables that it sets are variables of flags.
        let known: BTreeSet<String> = raw::flags().into_iter().map(|flag| flag.variable).collect();
        let set = file.split(|one: char| !one.is_ascii_uppercase() && one != '_');
        for variable in set.filter(|word| word.starts_with("MAITRED_")) {
            assert!(known.contains(variable), "{path}: {variable}");
        }
    }
}

#[test]
fn a_pod_has_the_time_that_its_server_takes_to_stop() {
    let manifest = read("packaging/kubernetes/maitred.yaml");
    let arguments = manifest.split("args:").nth(1).expect("it has arguments");
    let arguments = arguments.split("ports:").next().expect("a first part");
    let words: Vec<&str> =
        arguments.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
    assert!(words.len() > 5, "{words:?}");
    assert_taken(&words);
    let value = |flag: &str| {
        let found = words.iter().find_map(|word| word.strip_prefix(flag)?.strip_prefix('='));
        time(found.unwrap_or_else(|| panic!("{flag} is missing")))
    };
    let grace = manifest.split("terminationGracePeriodSeconds: ").nth(1).expect("it is there");
    let grace = time(grace.lines().next().expect("a line"));
    assert!(grace > value("--drain-delay") + value("--graceful-timeout"), "{grace:?}");
}

/// Every name of a metric of ours in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|one: char| !one.is_ascii_alphanumeric() && one != '_');
    words.filter(|word| word.starts_with("maitred_")).map(str::to_owned).collect()
}

#[test]
fn what_is_drawn_and_alerted_on_is_measured() {
    let files: Vec<PathBuf> = [
        "packaging/grafana/maitred.json",
        "packaging/prometheus/maitred.rules.yml",
        "packaging/kubernetes/prometheus-adapter.yaml",
    ]
    .map(|path| Path::new(ROOT).join(path))
    .into();
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("packaging/grafana/maitred.json"))
            .expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let mut places = BTreeSet::new();
    for panel in panels {
        let place = &panel["gridPos"];
        assert!(places.insert((place["x"].as_u64(), place["y"].as_u64())), "{}", panel["title"]);
        let drawn = panel["type"] != "row";
        assert_eq!(drawn, panel["targets"].is_array(), "{}", panel["title"]);
    }
    if !has_admin() {
        return;
    }
    let documented = metrics(&read("docs/metrics.md"));
    for path in files {
        let text = fs::read_to_string(&path).expect("it is there");
        for name in metrics(&text) {
            // A rule's own name, and the parts of a histogram.
            let family = name.trim_end_matches("_bucket");
            let is_known = documented.contains(family) || name == "maitred_busy_share";
            assert!(is_known, "{}: {name} is no metric", path.display());
        }
    }
}
