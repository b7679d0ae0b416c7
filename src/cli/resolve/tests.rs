//! Each flag: what it takes, what it refuses and in which words, its variable, its default.
//!
//! Not here: the flags of Python applications (`python`), those of logs (`logs`).

mod admin;
mod guard;
mod logs;
mod python;
mod scale;

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use clap::FromArgMatches;

use super::*;
use crate::cli::raw::{self, Raw, RawCommand};
use crate::config::{Bind, LoadForm};

fn raw_serve(arguments: &[&str]) -> RawServe {
    let arguments = [&["maitred", "serve"], arguments].concat();
    let matches = raw::command("maitred").try_get_matches_from(arguments).unwrap();
    match Raw::from_arg_matches(&matches).unwrap().command {
        RawCommand::Serve(raw)
        | RawCommand::Worker(raw)
        | RawCommand::Admin(raw)
        | RawCommand::Check(raw) => *raw,
        _ => unreachable!("`serve` was typed"),
    }
}

fn resolved(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Resolved, Faults> {
    resolved_with(arguments, variables, None)
}

fn resolved_with(
    arguments: &[&str],
    variables: &[(&str, &str)],
    config: Option<&str>,
) -> Result<Resolved, Faults> {
    let variables = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let surroundings = Surroundings {
        variables: &variables,
        lookup: &|host| match host {
            "localhost" => Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
            _ => Err(io::Error::other("no such name")),
        },
        config: config.map(|text| ConfigText { path: "m.toml".into(), text: text.to_owned() }),
        accounts: guard::accounts(),
        cores: 4,
        systemd_sockets: Vec::new(),
    };
    resolve(&raw_serve(arguments), &surroundings)
}

fn settings(arguments: &[&str]) -> Settings {
    resolved(arguments, &[]).unwrap().settings
}

fn refusal(arguments: &[&str]) -> String {
    resolved(arguments, &[]).unwrap_err().to_string()
}

/// Reads back one setting as text, so that all flags fit into one table.
type Read = fn(&Settings) -> String;

/// Flag, its default, texts that it takes with what they mean, texts that it refuses, part of the
/// refusal.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    &'static str,
    Read,
);

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_secs_f64() * 1000.0)
}

const WEEK: &str = "168h";
const PAST_WEEK: &str = "604801";
const DEADLINE: &str = "must be a duration from 1ms to 168h";
const PAUSE: &str = "must be a duration from 0 to 168h";

const CASES: &[Case] = &[
    (
        "--workers",
        "4",
        &[("1", "1"), ("1024", "1024")],
        &["0", "1025", "two", "-1"],
        "must be a whole number from 1 to 1024",
        |s| s.workers.to_string(),
    ),
    (
        "--threads",
        "1",
        &[("0", "0"), ("1024", "1024")],
        &["1025", "x"],
        "must be a whole number from 0 to 1024",
        |s| s.threads.to_string(),
    ),
    (
        "--accept",
        "master",
        &[
            ("master", "master"),
            ("shared", "shared"),
            ("exclusive", "exclusive"),
            ("reuseport", "reuseport"),
            ("reuseport-cbpf", "reuseport-cbpf"),
        ],
        &["kernel", "Shared", "epoll"],
        "must be one of master, shared, exclusive, reuseport, reuseport-cbpf, blocking",
        |s| s.accept.arm.to_string(),
    ),
    (
        "--balance",
        "LeastLoaded",
        &[
            ("round-robin", "RoundRobin"),
            ("least-loaded", "LeastLoaded"),
            ("two-choices", "TwoChoices"),
            ("random", "Random"),
            ("weighted", "Weighted"),
            ("least-latency", "LeastLatency"),
            ("ip-hash", "IpHash"),
        ],
        &["Random", "fair"],
        "must be one of round-robin, least-loaded",
        |s| format!("{:?}", s.balance),
    ),
    (
        "--rebalance",
        "Auto",
        &[("never", "Never"), ("auto", "Auto"), ("always", "Always")],
        &["sometimes", "Auto"],
        "must be one of never, auto, always",
        |s| format!("{:?}", s.rebalance),
    ),
    (
        "--credit",
        "None",
        &[("1", "Some(1)"), ("65535", "Some(65535)")],
        &["0", "65536"],
        "must be a whole number from 1 to 65535",
        |s| format!("{:?}", s.credit),
    ),
    (
        "--queue-timeout",
        "None",
        &[("0", "None"), ("1ms", "Some(1ms)"), ("1.5", "Some(1.5s)"), (WEEK, "Some(604800s)")],
        &["999us", PAST_WEEK, "never", "-1"],
        "must be a duration from 1ms to 168h, as in 1.5, 500ms, 2s, 1m; 0 switches it off",
        |s| format!("{:?}", s.queue_timeout),
    ),
    (
        "--max-queue",
        "None",
        &[("0", "None"), ("1", "Some(1)"), ("65535", "Some(65535)")],
        &["65536", "-1", "many", "1.5"],
        "must be a whole number from 0 to 65535; 0 switches it off",
        |s| format!("{:?}", s.max_queue),
    ),
    (
        "--stall-after",
        "1ms",
        &[("100us", "0.1ms"), ("2ms", "2ms"), ("1m", "60000ms")],
        &["0", "99us", "61", "soon"],
        "must be a duration from 100us to 60s",
        |s| milliseconds(s.stall_after),
    ),
    (
        "--report-age",
        "None",
        &[("1ms", "Some(1ms)"), ("0.1", "Some(100ms)"), ("10s", "Some(10s)"), ("0", "None")],
        &["0.5ms", "11", "old"],
        "must be a duration from 1ms to 10s, as in 1.5, 500ms, 2s, 1m; 0 switches it off",
        |s| format!("{:?}", s.report_age),
    ),
    (
        "--seed",
        "None",
        &[("0", "Some(0)"), ("0xff", "Some(255)")],
        &["-1", "seed"],
        "must be a whole number from 0 to 18446744073709551615",
        |s| format!("{:?}", s.seed),
    ),
    (
        "--reload-parallel",
        "1",
        &[("1", "1"), ("1024", "1024")],
        &["0", "1025", "all"],
        "must be a whole number from 1 to 1024",
        |s| s.lifecycle.reload_parallel.to_string(),
    ),
    (
        "--max-requests",
        "None",
        &[("0", "None"), ("1", "Some(1)"), ("4294967295", "Some(4294967295)")],
        &["-1", "4294967296", "many"],
        "must be a whole number from 0 to 4294967295; 0 switches it off",
        |s| format!("{:?}", s.recycle.requests_max),
    ),
    (
        "--max-lifetime",
        "None",
        &[("0", "None"), ("1ms", "Some(1ms)"), (WEEK, "Some(604800s)")],
        &["999us", PAST_WEEK, "long"],
        "must be a duration from 1ms to 168h, as in 1.5, 500ms, 2s, 1m; 0 switches it off",
        |s| format!("{:?}", s.recycle.lifetime_max),
    ),
    (
        "--max-rss",
        "None",
        &[("0", "None"), ("1M", "Some(1048576)"), ("1T", "Some(1099511627776)")],
        &["1023K", "2T", "500MB"],
        "must be a size from 1M to 1024G, as in 8190, 64K, 10M, 1GiB; 0 switches it off",
        |s| format!("{:?}", s.recycle.rss_max),
    ),
    (
        "--pid-file",
        "None",
        &[("/run/a b.pid", "Some(\"/run/a b.pid\")"), ("x.pid", "Some(\"x.pid\")")],
        &["/", ".."],
        "must be the path of a file",
        |s| format!("{:?}", s.pid_file),
    ),
    (
        "--backlog",
        "2048",
        &[("1", "1"), ("65535", "65535")],
        &["0", "65536"],
        "must be a whole number from 1 to 65535",
        |s| s.listen.backlog.to_string(),
    ),
    (
        "--defer-accept",
        "1",
        &[("0", "0"), ("1", "1")],
        &["2", "1s"],
        "must be a whole number from 0 to 1",
        |s| s.listen.defer_accept_s.to_string(),
    ),
    (
        "--unix-mode",
        "660",
        &[("0", "0"), ("0777", "777")],
        &["1000", "9", "rw"],
        "must be permission bits in octal",
        |s| format!("{:o}", s.listen.unix_mode),
    ),
    (
        "--timeout",
        "None",
        &[("0", "None"), ("1ms", "Some(1ms)"), ("30", "Some(30s)")],
        &["never", PAST_WEEK],
        "0 switches it off",
        |s| format!("{:?}", s.lifecycle.timeout),
    ),
    (
        "--boot-timeout",
        "60000ms",
        &[("1ms", "1ms"), (WEEK, "604800000ms")],
        &["0", "999us", PAST_WEEK],
        DEADLINE,
        |s| milliseconds(s.lifecycle.boot_timeout),
    ),
    (
        "--graceful-timeout",
        "30000ms",
        &[("0", "0ms"), (WEEK, "604800000ms")],
        &[PAST_WEEK, "x"],
        PAUSE,
        |s| milliseconds(s.lifecycle.graceful_timeout),
    ),
    (
        "--drain-delay",
        "1000ms",
        &[("0", "0ms"), ("1.5", "1500ms")],
        &[PAST_WEEK, "-1"],
        PAUSE,
        |s| milliseconds(s.lifecycle.drain_delay),
    ),
    ("--handoff-timeout", "10000ms", &[("1ms", "1ms")], &["0", PAST_WEEK], DEADLINE, |s| {
        milliseconds(s.lifecycle.handoff_timeout)
    }),
    ("--header-timeout", "10000ms", &[("1ms", "1ms")], &["0", PAST_WEEK], DEADLINE, |s| {
        milliseconds(s.http.header_timeout)
    }),
    ("--body-timeout", "30000ms", &[("1ms", "1ms")], &["0", PAST_WEEK], DEADLINE, |s| {
        milliseconds(s.http.body_timeout)
    }),
    ("--keep-alive", "75000ms", &[("1ms", "1ms")], &["0", PAST_WEEK], DEADLINE, |s| {
        milliseconds(s.http.keep_alive)
    }),
    ("--write-timeout", "30000ms", &[("1ms", "1ms")], &["0", PAST_WEEK], DEADLINE, |s| {
        milliseconds(s.http.write_timeout)
    }),
    (
        "--limit-request-line",
        "4094",
        &[("0", "65536"), ("64", "64"), ("64K", "65536")],
        &["63", "65537", "1M"],
        "must be from 64 to 65536; 0 is the most",
        |s| s.http.request_line_max.to_string(),
    ),
    (
        "--limit-request-fields",
        "100",
        &[("0", "1024"), ("1", "1"), ("1024", "1024")],
        &["1025", "x"],
        "must be from 1 to 1024; 0 is the most",
        |s| s.http.fields_max.to_string(),
    ),
    (
        "--limit-request-field-size",
        "8190",
        &[("0", "65536"), ("64", "64")],
        &["63", "65537"],
        "must be from 64 to 65536; 0 is the most",
        |s| s.http.field_size_max.to_string(),
    ),
    (
        "--limit-request-body",
        "None",
        &[("0", "None"), ("10M", "Some(10485760)")],
        &["10MB", "-1"],
        "must be a size, as in",
        |s| format!("{:?}", s.http.body_max),
    ),
    (
        "--buffer-request",
        "1048576",
        &[("0", "0"), ("1GiB", "1073741824")],
        &["2G"],
        "must be a size from 0 to 1G",
        |s| s.http.buffer_request.to_string(),
    ),
    (
        "--buffer-response",
        "1048576",
        &[("0", "0"), ("1GiB", "1073741824")],
        &["2G"],
        "must be a size from 0 to 1G",
        |s| s.http.buffer_response.to_string(),
    ),
    (
        "--worker-header",
        "false",
        &[("true", "true"), ("no", "false")],
        &["perhaps"],
        "must be true or false",
        |s| s.worker_header.to_string(),
    ),
    (
        "--agent-check",
        "None",
        &[
            ("off", "None"),
            ("9100", "Some(Tcp(127.0.0.1:9100))"),
            ("127.0.0.2:0", "Some(Tcp(127.0.0.2:0))"),
            ("unix:/run/agent", "Some(Unix(\"/run/agent\"))"),
        ],
        &["fd://3", "x"],
        "must be ",
        |s| format!("{:?}", s.fleet.agent_check),
    ),
    (
        "--load-header",
        "None",
        &[("orca", "Some(Bin)"), ("off", "None")],
        &["yes"],
        "must be one of orca, off",
        |s| format!("{:?}", s.fleet.load_header),
    ),
    (
        "--load-header-app",
        "false",
        &[("keep", "false"), ("strip", "true")],
        &["drop"],
        "must be one of keep, strip",
        |s| s.fleet.strips_load_header.to_string(),
    ),
];

/// Tested below: they do not fit into the table.
const APART: &[&str] = &[
    "--bind",
    "--host",
    "--port",
    "--uds",
    "--fd",
    "--browse",
    "--config",
    "--print-config",
    "--accept-eager",
    "--accept-batch",
    "--cbpf",
    "--scale-up-after",
    "--scale-down-after",
    "--weights",
    "--max-requests-jitter",
    "--max-lifetime-jitter",
    "--status-file",
    "--load-header-format",
    "--access-log",
    "--access-log-format",
    "--slow-log",
    "--log-to",
    "--admin",
    "--log-format",
    "--log-level",
    "--help",
];

#[test]
fn every_flag_has_a_case() {
    for flag in raw::flags() {
        let flag = flag.name.as_str();
        let is_tested = APART.contains(&flag)
            || CASES.iter().any(|case| case.0 == flag)
            || guard::FLAGS.contains(&flag)
            || python::FLAGS.iter().any(|case| case.0 == flag);
        assert!(is_tested, "{flag}");
    }
}

#[test]
fn every_flag_takes_what_it_should_and_names_its_bound() {
    for (flag, default, taken, refused, words, read) in CASES {
        assert_eq!(read(&settings(&[])), *default, "default of {flag}");
        let variable = crate::cli::faults::variable_of(flag);
        for (text, meaning) in *taken {
            let by_flag = settings(&[&format!("{flag}={text}")]);
            assert_eq!(read(&by_flag), *meaning, "{flag} {text}");
            let by_variable = resolved(&[], &[(&variable, text)]).unwrap().settings;
            assert_eq!(read(&by_variable), *meaning, "{variable}={text}");
        }
        for text in *refused {
            let message = refusal(&[&format!("{flag}={text}")]);
            assert!(message.starts_with(&format!("{flag} {text:?}: ")), "{message}");
            assert!(message.contains(words), "{message}");
            let message = resolved(&[], &[(&variable, text)]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{variable}={text:?}: ")), "{message}");
        }
    }
}

#[test]
fn a_form_of_the_load_report_needs_a_report() {
    for (form, meaning) in
        [("bin", LoadForm::Bin), ("json", LoadForm::Json), ("text", LoadForm::Text)]
    {
        let typed = format!("--load-header-format={form}");
        let both = settings(&["--load-header=orca", &typed]);
        assert_eq!(both.fleet.load_header, Some(meaning));
        assert!(refusal(&[&typed]).contains("needs --load-header orca"));
        let variables = [("MAITRED_LOAD_HEADER_FORMAT", form)];
        let alone = resolved(&[], &variables).unwrap().settings;
        assert_eq!(alone.fleet.load_header, None, "a variable may be set for many servers");
        let header = resolved(&["--load-header", "orca"], &variables).unwrap().settings;
        assert_eq!(header.fleet.load_header, Some(meaning));
    }
    assert!(
        refusal(&["--load-header=orca", "--load-header-format=xml"]).contains("bin, json, text")
    );
}

#[test]
fn another_program_writes_its_own_responses() {
    assert!(refusal(&["--load-header=orca", "--", "true"]).contains("are its own"));
    let by_variable = resolved(&["--", "true"], &[("MAITRED_LOAD_HEADER", "orca")]).unwrap();
    assert_eq!(by_variable.settings.fleet.load_header, None);
}

#[test]
fn the_status_file_is_a_path_of_any_bytes() {
    let path = |arguments: &[&str], variables: &[(&str, &str)]| {
        resolved(arguments, variables).unwrap().settings.status_file
    };
    assert_eq!(path(&[], &[]), None);
    assert_eq!(path(&["--status-file", "/run/a"], &[]), Some("/run/a".into()));
    let variable = [("MAITRED_STATUS_FILE", "/run/b")];
    assert_eq!(path(&[], &variable), Some("/run/b".into()));
    assert_eq!(path(&["--status-file", "/run/a"], &variable), Some("/run/a".into()));
    assert_eq!(path(&[], &[("MAITRED_STATUS_FILE", "")]), None, "not set");
    for refused in ["", &"x".repeat(4096)] {
        let message = refusal(&[&format!("--status-file={refused}")]);
        assert!(message.ends_with("must be a path of 1 to 4095 bytes"), "{message}");
    }
}

#[test]
fn a_flag_beats_its_variable_even_a_broken_one() {
    let both = resolved(&["-w", "2"], &[("MAITRED_WORKERS", "3"), ("WEB_CONCURRENCY", "x")]);
    assert_eq!(both.unwrap().settings.workers, 2);
    let broken = resolved(&["-w", "2"], &[("MAITRED_WORKERS", "many")]);
    assert_eq!(broken.unwrap().settings.workers, 2);
    // Of a flag that stands twice the last one counts: scripts append theirs.
    assert_eq!(settings(&["-w", "2", "--workers", "3"]).workers, 3);
}

#[test]
fn web_concurrency_counts_below_our_own_and_above_the_cores() {
    let workers = |variables: &[(&str, &str)]| {
        resolved(&[], variables).map(|resolved| resolved.settings.workers)
    };
    assert_eq!(workers(&[]), Ok(4));
    assert_eq!(workers(&[("WEB_CONCURRENCY", "3")]), Ok(3));
    assert_eq!(workers(&[("WEB_CONCURRENCY", "")]), Ok(4));
    assert_eq!(workers(&[("WEB_CONCURRENCY", "3"), ("MAITRED_WORKERS", "2")]), Ok(2));
    let fault = workers(&[("WEB_CONCURRENCY", "0")]).unwrap_err().to_string();
    assert_eq!(fault, "WEB_CONCURRENCY=\"0\": must be a whole number from 1 to 1024");
}

#[test]
fn workers_follow_the_cores_up_to_a_bound() {
    for (cores, workers) in [(0, 1), (1, 1), (8, 8), (9, 8), (100_000, 8)] {
        let surroundings = Surroundings {
            config: None,
            variables: &|_| None,
            lookup: &|_| Ok(Vec::new()),
            accounts: guard::accounts(),
            cores,
            systemd_sockets: Vec::new(),
        };
        let resolved = resolve(&RawServe::default(), &surroundings).unwrap();
        assert_eq!(resolved.settings.workers, workers, "{cores}");
    }
}

#[test]
fn the_library_and_the_command_line_have_the_same_defaults() {
    let ours = Settings { workers: 4, ..Settings::default() };
    assert_eq!(format!("{:?}", settings(&[])), format!("{ours:?}"));
}

#[test]
fn the_loop_is_judged_by_default_and_threads_are_not() {
    let timeout = |arguments: &[&str]| settings(arguments).lifecycle.timeout;
    assert_eq!(timeout(&[]), None);
    assert_eq!(timeout(&["--threads", "0"]), Some(TIMEOUT_ON_LOOP));
    assert_eq!(timeout(&["--threads", "0", "--timeout", "0"]), None);
    assert_eq!(timeout(&["-t", "5"]), Some(Duration::from_secs(5)));
}

#[test]
fn an_application_is_embedded_echo_a_directory_or_a_command() {
    assert_eq!(settings(&[]).app, App::Embedded);
    assert_eq!(settings(&["echo"]).app, App::Echo);
    assert_eq!(
        settings(&["static:/srv/a b", "--browse"]).app,
        App::Static { root: "/srv/a b".into(), browse: true }
    );
    assert_eq!(
        settings(&["-w", "2", "--", "worker.py", "--fast", "-b"]).app,
        App::Command(vec!["worker.py".into(), "--fast".into(), "-b".into()])
    );
    for (name, part) in [
        ("static:", "must name a directory"),
        ("pkg/module.py", "must be echo, static:DIR or pkg.module:app"),
    ] {
        let message = refusal(&[name]);
        assert!(message.starts_with(&format!("application {name:?}: ")), "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn an_application_and_a_command_exclude_each_other() {
    let both = ["maitred", "serve", "echo", "--", "worker.py"];
    let error = raw::command("maitred").try_get_matches_from(both).unwrap_err();
    assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
}

#[test]
fn browse_needs_a_directory_but_its_variable_does_not() {
    assert_eq!(refusal(&["--browse"]), "--browse: needs static:DIR");
    assert_eq!(settings(&["--browse=false"]).app, App::Embedded);
    let set = [("MAITRED_BROWSE", "1")];
    assert_eq!(resolved(&["echo"], &set).unwrap().settings.app, App::Echo);
    let App::Static { browse, .. } = resolved(&["static:d"], &set).unwrap().settings.app else {
        panic!("static:d is a directory");
    };
    assert!(browse);
}

#[test]
fn an_arm_of_the_kernels_has_its_own_flags() {
    let accept = |arguments: &[&str]| settings(arguments).accept;
    assert_eq!(accept(&[]), config::Accept::default());
    assert_eq!(accept(&["--accept", "shared"]).batch, 1);
    assert_eq!(accept(&["--accept", "reuseport"]).batch, 16);
    assert_eq!(accept(&["--accept", "exclusive", "--accept-batch", "64"]).batch, 64);
    assert!(accept(&["--accept", "shared", "--accept-eager"]).eager);
    assert!(!accept(&["--accept", "shared"]).eager);
    let cpu = accept(&["--accept", "reuseport-cbpf", "--cbpf", "cpu"]);
    assert_eq!(cpu.selector, config::Selector::Cpu);
    let blocking = accept(&["--accept", "blocking", "--threads", "0"]);
    assert_eq!((blocking.arm, blocking.batch), (config::Arm::Blocking, 1));
    // Nobody is lent anything, whatever variables are set for other servers.
    let set = [("MAITRED_REBALANCE", "always"), ("MAITRED_CREDIT", "3"), ("MAITRED_CBPF", "cpu")];
    let set = resolved(&["--accept", "shared"], &set).unwrap().settings;
    assert_eq!((set.rebalance, set.credit), (Rebalance::Never, None));
    for (arguments, message) in [
        (&["--accept", "shared", "--accept-batch", "65"][..], "whole number from 1 to 64"),
        (&["--accept", "reuseport-cbpf", "--cbpf", "hash"], "must be one of random, cpu"),
        (&["--accept-batch", "4"], "--accept-batch: needs --accept shared, exclusive, reuseport"),
        (&["--accept-eager"], "--accept-eager: needs --accept shared or exclusive, and handler"),
        (&["--accept", "shared", "--threads", "0", "--accept-eager"], "--accept-eager: needs"),
        (&["--accept", "reuseport", "--accept-eager"], "--accept-eager: needs"),
        (&["--accept", "reuseport", "--cbpf", "cpu"], "--cbpf: needs --accept reuseport-cbpf"),
        (&["--accept", "blocking"], "--accept \"blocking\": needs --threads 0"),
        (
            &["--accept", "blocking", "--threads", "0", "-b", "1", "-b", "2"],
            "--accept \"blocking\": needs one address",
        ),
        (
            &["--accept", "reuseport", "-b", "unix:/run/a"],
            "--accept \"reuseport\": needs TCP addresses of its own",
        ),
        (
            &["--accept", "reuseport-cbpf", "-b", "fd://3"],
            "--accept \"reuseport-cbpf\": needs TCP addresses of its own",
        ),
        (
            &["--accept", "shared", "--", "worker.py"],
            "--accept \"shared\": needs workers of this program",
        ),
    ] {
        let refused = refusal(arguments);
        assert!(refused.contains(message), "{arguments:?}: {refused}");
    }
}

#[test]
fn what_the_master_decides_means_nothing_where_the_kernel_does() {
    for (flag, value) in [
        ("--balance", "random"),
        ("--rebalance", "auto"),
        ("--credit", "2"),
        ("--queue-timeout", "1s"),
        ("--max-queue", "5"),
        ("--stall-after", "2ms"),
        ("--report-age", "2ms"),
    ] {
        let expected = format!("{flag}: needs --accept master: with exclusive the kernel decides");
        assert_eq!(refusal(&["--accept", "exclusive", flag, value]), expected);
        assert!(resolved(&["--accept", "master", flag, value], &[]).is_ok());
        let by_variable = [("MAITRED_ACCEPT", "exclusive")];
        assert_eq!(resolved(&[flag, value], &by_variable).unwrap_err().to_string(), expected);
    }
    let weights = ["--accept", "shared", "--balance", "weighted", "--weights", "2,1"];
    assert!(refusal(&weights).contains("--weights: needs --accept master"));
}

#[test]
fn weights_belong_to_weighted_workers() {
    let weighted = |weights: &str| {
        resolved(&["--balance", "weighted", "--weights", weights], &[])
            .map(|resolved| resolved.settings.weights)
            .map_err(|faults| faults.to_string())
    };
    assert_eq!(weighted("3,1, 1"), Ok(vec![3, 1, 1]));
    assert_eq!(weighted("1000"), Ok(vec![1000]));
    for (text, part) in [
        ("0", "must be a whole number from 1 to 1000"),
        ("1,,1", "must be a whole number from 1 to 1000"),
        ("1001", "must be a whole number from 1 to 1000"),
        ("1,1,1,1,1", "at most one weight a worker, of which there are 4"),
    ] {
        assert!(weighted(text).unwrap_err().contains(part), "{text}");
    }
    assert_eq!(refusal(&["--weights", "3,1"]), "--weights: needs --balance weighted");
    let set = [("MAITRED_WEIGHTS", "3,1")];
    assert_eq!(resolved(&[], &set).unwrap().settings.weights, [3, 1]);
}

#[test]
fn a_jitter_belongs_to_its_limit() {
    let recycle = |arguments: &[&str]| settings(arguments).recycle;
    let requests = recycle(&["--max-requests", "100", "--max-requests-jitter", "20"]);
    assert_eq!((requests.requests_max, requests.requests_jitter), (Some(100), 20));
    let lifetime = recycle(&["--max-lifetime", "1h", "--max-lifetime-jitter", "1m"]);
    assert_eq!(lifetime.lifetime_max, Some(Duration::from_secs(3600)));
    assert_eq!(lifetime.lifetime_jitter, Duration::from_secs(60));
    // Uvicorn's spelling.
    assert_eq!(recycle(&["--limit-max-requests", "7"]).requests_max, Some(7));
    assert!(!recycle(&[]).is_set());
    for (flag, limit, bound) in [
        ("--max-requests-jitter", "--max-requests", "a whole number from 0 to 4294967295"),
        ("--max-lifetime-jitter", "--max-lifetime", "a duration from 0 to 168h"),
    ] {
        assert_eq!(refusal(&[flag, "5"]), format!("{flag}: needs {limit}"));
        let refused = refusal(&[limit, "5", &format!("{flag}=-1")]);
        assert!(refused.starts_with(&format!("{flag} \"-1\": must be {bound}")), "{refused}");
        let set = [(crate::cli::faults::variable_of(flag), "5")];
        let set: Vec<_> = set.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert!(resolved(&[], &set).is_ok(), "{flag} may be set for many servers");
    }
}

#[test]
fn addresses_come_from_many_spellings() {
    let binds = settings(&["-b", "localhost:0", "--bind", "unix:/run/a", "--host", "::1"]).binds;
    assert_eq!(
        binds,
        [
            Bind::Tcp("127.0.0.1:0".parse().unwrap()),
            Bind::Unix("/run/a".into()),
            Bind::Tcp("[::1]:8000".parse().unwrap()),
        ]
    );
    assert_eq!(settings(&["--timeout-keep-alive", "5"]).http.keep_alive, Duration::from_secs(5));
    let graceful = settings(&["--timeout-graceful-shutdown", "5"]).lifecycle.graceful_timeout;
    assert_eq!(graceful, Duration::from_secs(5));
}

#[test]
fn a_flag_beats_a_variable_and_a_variable_the_file() {
    let config = "workers = 3\nkeep-alive = \"20s\"\nbacklog = 77\napp = \"echo\"\n\
                  bind = [\"127.0.0.1:1\", \"unix:a\"]\n";
    let with = |arguments: &[&str], variables: &[(&str, &str)]| {
        resolved_with(arguments, variables, Some(config)).unwrap().settings
    };
    let file = with(&[], &[("WEB_CONCURRENCY", "5"), ("PORT", "9")]);
    assert_eq!((file.workers, file.listen.backlog, &file.app), (3, 77, &App::Echo));
    assert_eq!(file.binds.len(), 2);
    let variable = with(&[], &[("MAITRED_WORKERS", "6"), ("MAITRED_BIND", ":80")]);
    assert_eq!((variable.workers, variable.binds.len()), (6, 1));
    assert_eq!(with(&["-w", "7"], &[("MAITRED_WORKERS", "6")]).workers, 7);
}

#[test]
fn a_fault_of_the_file_is_told_with_its_line_and_those_of_flags() {
    let faults = resolved_with(&["--backlog", "0"], &[], Some("\nwrkers = 1\nkeep-alive = 0\n"));
    let faults = faults.unwrap_err().to_string();
    let lines: Vec<&str> = faults.lines().collect();
    assert_eq!(lines.len(), 3, "{faults}");
    assert_eq!(lines[0], "m.toml:2: wrkers: there is no such key; workers is one");
    assert!(lines[1].starts_with("--backlog \"0\""), "{faults}");
    assert!(lines[2].starts_with("m.toml:3: keep-alive \"0\": must be a duration"), "{faults}");
}

#[test]
fn all_faults_are_told_at_once() {
    let message =
        refusal(&["pkg/app", "-b", "x", "-w", "0", "--balance", "fair", "--keep-alive", "0"]);
    let names: Vec<&str> = message.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["application", "--bind", "--workers", "--balance", "--keep-alive"]);
}
