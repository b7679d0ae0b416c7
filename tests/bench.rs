//! `maitred bench` from outside: a small plan to its end, to Ctrl-C, to a kill; what it writes, and
//! what it leaves behind. Figures mean nothing here, and none is judged.
//!
//! Not here: what plans may say (`experiment::plan`), what figures are (`experiment::measure`).
#![cfg(feature = "experiments")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use maitred::experiment::report::schema::{BenchReport, Cell, Outcome, SCHEMA, Warning};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::common::{DEADLINE, binary, eventually, signal_process};

/// A bench under way, or ended. Its servers carry a mark in their arguments, by which they are found
/// whoever their parent is.
struct Bench {
    child: Child,
    folder: TempDir,
    mark: String,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    status: Option<ExitStatus>,
}

impl Bench {
    /// Starts `maitred bench plan.toml --out FOLDER/out FLAGS…`. In the plan `MARK` is a duration
    /// that no other server has, `PROGRAM` the binary, and `FOLDER` the plan's directory.
    fn start(plan: &str, flags: &[&str]) -> Bench {
        Bench::start_with(plan, &[], flags)
    }

    /// The same with more files in that directory, in which the same is put in place.
    fn start_with(plan: &str, files: &[(&str, &str)], flags: &[&str]) -> Bench {
        let folder = tempfile::tempdir().expect("a directory");
        // Between a minute and a day, as --keep-alive takes it.
        let mark = format!("{}ms", 60_000 + fastrand::u64(..80_000_000));
        let utf8 = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let put = |text: &str| {
            text.replace("MARK", &mark)
                .replace("PROGRAM", &utf8(binary()))
                .replace("FOLDER", &utf8(folder.path()))
        };
        let path = folder.path().join("plan.toml");
        for (name, text) in [("plan.toml", plan), ("trace.csv", TRACE)].iter().chain(files) {
            fs::write(folder.path().join(name), put(text)).expect("it is ours");
        }
        let mut command = std::process::Command::new(binary());
        command.arg("bench").arg(&path).arg("--out").arg(folder.path().join("out")).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let stdout = collect(child.stdout.take().expect("it was piped"));
        let stderr = collect(child.stderr.take().expect("it was piped"));
        Bench { child, folder, mark, stdout, stderr, status: None }
    }

    /// Runs it to its end.
    fn run(plan: &str, flags: &[&str]) -> Bench {
        let mut bench = Bench::start(plan, flags);
        bench.wait();
        bench
    }

    fn wait(&mut self) -> Option<i32> {
        eventually(DEADLINE, "the bench ends", || {
            self.status = self.child.try_wait().expect("our child can be waited for");
            self.status.is_some()
        });
        self.status.and_then(|status| status.code())
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        eventually(DEADLINE, text, || self.stderr().contains(text));
    }

    fn signal(&self, signal: Signal) {
        signal_process(self.child.id(), signal);
    }

    #[track_caller]
    fn assert_exit(&self, code: i32) {
        let found = self.status.and_then(|status| status.code());
        assert_eq!(found, Some(code), "{}", self.stderr());
    }

    /// Its servers and their workers, wherever they are.
    fn servers(&self) -> Vec<u32> {
        let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_marked = |pid: &u32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = command.split(|byte| *byte == 0);
            // The shells of a plan have the mark within a word.
            words.any(|word| String::from_utf8_lossy(word).contains(&self.mark))
        };
        pids.filter(is_marked).collect()
    }

    #[track_caller]
    fn assert_no_servers(&self) {
        // A process that is killed is one until its parent, or the machine's first, has seen it.
        eventually(DEADLINE, "no server is left", || self.servers().is_empty());
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn report(&self) -> BenchReport {
        let text = fs::read_to_string(self.out().join("report.json"));
        let text = text.unwrap_or_else(|error| panic!("{error}: {}", self.stderr()));
        serde_json::from_str(&text).expect("the report has its form")
    }

    fn stdout(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Ends with the last process that holds the pipe; nobody waits for it.
fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&text);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = pipe.read(&mut buffer)
            && length > 0
        {
            let piece = String::from_utf8_lossy(&buffer[..length]);
            written.lock().unwrap_or_else(PoisonError::into_inner).push_str(&piece);
        }
    });
    text
}

/// Stands beside each plan. Three of its requests are within a run, two of them after the warm-up.
const TRACE: &str = "time_s,connection,service_ms\n0.05,0,1\n0.2,1,2\n0.3,0,1\n5,0,1\n";

/// Rows of a CSV file, by column.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).expect("the file is there");
    let rows = reader.deserialize();
    rows.map(|row| row.expect("it is CSV")).collect()
}

const HEAD: &str = r#"
title = "small"
about = "A plan for a test."
repetitions = 2
duration_s = 0.4
warm_up_s = 0.1
workers = 2
serve = ["--keep-alive", "MARK"]
"#;

const ARMS: &str = r#"
[[arm]]
name = "least-loaded"
[[arm]]
name = "round-robin"
serve = ["--balance", "round-robin"]
"#;

const KEPT: &str = r#"
[[workload]]
name = "kept"
connections = 8
background = 3
arrivals = { process = "constant", rate = 100 }
[[workload.class]]
name = "short"
[[workload.class]]
name = "asleep"
service = { kind = "sleep", ms = 2 }
"#;

#[test]
fn a_plan_is_run_and_everything_is_written_down() {
    let other = r#"
[[arm]]
name = "other program"
command = ["PROGRAM", "serve", "-b", "127.0.0.1:{port}", "-w", "2", "--keep-alive", "MARK"]
url = "http://127.0.0.1:{port}"
workers = 2
[[workload]]
name = "closed"
loop = "closed"
connections = 2
per_connection = "new"
workers = 1
threads = 0
"#;
    let plan = [HEAD, ARMS, KEPT, other].concat();
    let bench = Bench::run(&plan, &["--raw", "--seed", "7"]);
    bench.assert_exit(0);
    bench.assert_no_servers();
    let report = bench.report();
    assert_eq!(report.schema, SCHEMA);
    assert!(report.is_complete);
    assert_eq!(report.environment.seed, 7);
    assert!(report.environment.command.ends_with(&["--raw".into(), "--seed".into(), "7".into()]));
    assert!(!report.environment.kernel.is_empty() && report.environment.cores > 0);

    // Three arms, two workloads, two repetitions, each run once, in an order that is reversed.
    assert_eq!(report.cells.len(), 6);
    let mut places = BTreeMap::new();
    for cell in &report.cells {
        assert_eq!(cell.trials.len(), 2, "{cell:?}");
        for trial in &cell.trials {
            assert!(trial.answered > 0, "{cell:?}");
            let foreign = cell.arm == "other program";
            assert!(foreign || !trial.workers.is_empty(), "{} does not say who answers", cell.arm);
            places.insert(trial.place, (cell.workload.clone(), cell.arm.clone()));
        }
    }
    assert_eq!(places.len(), 12);
    let order: Vec<_> = places.values().map(|(_, arm)| arm.as_str()).collect();
    let (first, second) = (&order[..3], order[3..6].iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(first, second, "the second repetition runs backwards");

    let trials = rows(&bench.out().join("trials.csv"));
    assert_eq!(trials.len(), 12);
    let figures = rows(&bench.out().join("figures.csv"));
    let p99 = figures.iter().filter(|row| row["measure"] == "p99" && row["workload"] == "kept");
    let p99: Vec<_> = p99.map(|row| (row["arm"].as_str(), row["class"].as_str())).collect();
    assert!(p99.contains(&("round-robin", "short")), "{p99:?}");
    assert!(p99.contains(&("round-robin", "asleep")), "{p99:?}");
    for trial in &trials {
        let place: u32 = trial["place"].parse().expect("a number");
        let requests = rows(&bench.out().join(format!("requests/{place:04}.csv")));
        let answered: usize = trial["answered"].parse().expect("a number");
        assert!(requests.len() >= answered, "{}: {trial:?}", requests.len());
    }
    let page = fs::read_to_string(bench.out().join("report.html")).expect("there is a page");
    assert!(page.contains("round-robin"));
    let table = bench.stdout();
    assert!(table.contains("kept, short (open loop)") && table.contains("least-loaded"), "{table}");
}

/// A trace stands beside its plan, wherever the bench is run.
#[test]
fn a_trace_is_replayed() {
    let replayed = r#"
[[workload]]
name = "replayed"
connections = 2
choice = "own"
service = { kind = "sleep", ms = 1 }
replay = "trace.csv"
"#;
    let bench = Bench::run(&[HEAD, ARMS, replayed].concat(), &[]);
    bench.assert_exit(0);
    let report = bench.report();
    let trials = report.cells.iter().flat_map(|cell| &cell.trials);
    let due: Vec<u64> = trials.map(|trial| trial.due).collect();
    assert_eq!(due, [2, 2, 2, 2]);
}

/// The same seed asks the same of every arm: as many requests become due.
#[test]
fn every_arm_is_asked_for_the_same() {
    let bench = Bench::run(&[HEAD, ARMS, KEPT].concat(), &[]);
    bench.assert_exit(0);
    let report = bench.report();
    let due = |arm: &str| -> Vec<u64> {
        let cell = report.cells.iter().find(|cell| cell.arm == arm).expect(arm);
        cell.trials.iter().map(|trial| trial.due).collect()
    };
    assert_eq!(due("least-loaded"), due("round-robin"));
    assert!(due("least-loaded").iter().all(|due| *due > 0));
}

const LONG: &str = r#"
title = "long"
repetitions = 2
duration_s = 0.4
warm_up_s = 0
workers = 1
serve = ["--keep-alive", "MARK"]
[[arm]]
name = "short"
workloads = ["first"]
[[arm]]
name = "long"
workloads = ["second"]
[[workload]]
name = "first"
connections = 1
arrivals = { rate = 50 }
[[workload]]
name = "second"
duration_s = 600
connections = 1
arrivals = { rate = 50 }
"#;

#[test]
fn ctrl_c_keeps_what_is_done_and_leaves_nobody() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut bench = Bench::start(LONG, &[]);
        bench.wait_for("second, long");
        eventually(DEADLINE, "its server is there", || !bench.servers().is_empty());
        bench.signal(signal);
        bench.wait();
        bench.assert_exit(0);
        bench.assert_no_servers();
        let report = bench.report();
        assert!(!report.is_complete);
        let cells: Vec<_> = report.cells.iter().map(|cell| cell.workload.as_str()).collect();
        assert_eq!(cells, ["first"]);
        assert!(bench.stdout().contains("stopped before its end"), "{}", bench.stdout());
    }
}

/// A server that takes its time to end gives the second signal something to interrupt.
#[test]
fn a_second_ctrl_c_ends_at_once() {
    let stubborn = LONG.replace(
        "name = \"long\"",
        "name = \"long\"\nurl = \"http://127.0.0.1:{port}\"\ncommand = [\"sh\", \"-c\", \"trap : TERM; \
         PROGRAM serve -b 127.0.0.1:{port} --keep-alive MARK; while :; do sleep 1; done\"]",
    );
    let mut bench = Bench::start(&stubborn, &[]);
    bench.wait_for("second, long");
    eventually(DEADLINE, "its server is there", || !bench.servers().is_empty());
    bench.signal(Signal::SIGINT);
    bench.wait_for("once more ends at once");
    bench.signal(Signal::SIGINT);
    bench.wait();
    bench.assert_exit(130);
    bench.assert_no_servers();
    assert!(!bench.out().join("report.json").exists());
}

#[test]
fn a_killed_bench_leaves_no_server() {
    let mut bench = Bench::start(LONG, &[]);
    bench.wait_for("second, long");
    eventually(DEADLINE, "its server is there", || !bench.servers().is_empty());
    bench.signal(Signal::SIGKILL);
    bench.wait();
    bench.assert_no_servers();
}

/// Whatever a server has left behind goes with it.
#[test]
fn children_that_a_server_leaves_behind_are_ended_too() {
    let arm = r#"
[[arm]]
name = "untidy"
command = ["sh", "-c", "sh -c 'sleep 600; : MARK' & exec PROGRAM serve -b 127.0.0.1:{port} -w 1"]
url = "http://127.0.0.1:{port}"
"#;
    let mut bench = Bench::start(&[HEAD, arm, KEPT].concat(), &[]);
    eventually(DEADLINE, "it is there", || !bench.servers().is_empty());
    bench.wait();
    bench.assert_exit(0);
    bench.assert_no_servers();
}

/// The first answer comes from the first worker; who opens connections then gives it all of them.
#[test]
fn another_programs_server_is_waited_for_until_it_has_come_to_rest() {
    let arm = r#"
[[arm]]
name = "starts slowly"
command = ["sh", "FOLDER/start", "{port}"]
url = "http://127.0.0.1:{port}"
"#;
    // Beside the worker that has answered, another one works for about a second, and counts the
    // requests that were made meanwhile: the one by which the bench finds that there is a server.
    let start = "rm -f FOLDER/log
    (
        until [ -s FOLDER/log ]; do sleep 0.01; done
        i=0; while [ $i -lt 1000000 ]; do i=$((i + 1)); done
        wc -l < FOLDER/log >> FOLDER/count
    ) &
    exec PROGRAM serve -b 127.0.0.1:$1 -w 1 --access-log=FOLDER/log --keep-alive MARK";
    let head = HEAD.replace("repetitions = 2", "repetitions = 1");
    let mut bench = Bench::start_with(&[&head, arm, KEPT].concat(), &[("start", start)], &[]);
    bench.wait();
    bench.assert_exit(0);
    let count = fs::read_to_string(bench.folder.path().join("count")).expect("it has counted");
    assert!(count.lines().all(|count| count == "1"), "{count}");
    let report = bench.report();
    let texts: Vec<_> = report.warnings.iter().map(|warning| warning.text.as_str()).collect();
    assert!(texts.iter().all(|text| !text.contains("come to rest")), "{texts:?}");
}

#[test]
fn an_arm_that_does_not_start_says_why_and_the_others_go_on() {
    let arms = r#"
[[arm]]
name = "refuses"
serve = ["--balance", "colour"]
[[arm]]
name = "missing"
command = ["a-program-that-nobody-has"]
url = "http://127.0.0.1:{port}"
[[arm]]
name = "works"
"#;
    let bench = Bench::run(&[HEAD, arms, KEPT].concat(), &[]);
    bench.assert_exit(0);
    let report = bench.report();
    assert_eq!(report.cells.len(), 1);
    assert_eq!(report.cells[0].arm, "works");
    let warning = |arm: &str| {
        let of_arm = |one: &&Warning| one.arm.as_deref() == Some(arm);
        report.warnings.iter().find(of_arm).expect(arm).text.clone()
    };
    assert!(warning("refuses").contains("--balance"), "{}", warning("refuses"));
    assert!(warning("missing").contains("is not installed"), "{}", warning("missing"));

    let without = arms.replace("[[arm]]\nname = \"works\"", "");
    let alone = Bench::run(&[HEAD, &without, KEPT].concat(), &[]);
    alone.assert_exit(1);
    assert!(alone.stderr().contains("nothing was measured"), "{}", alone.stderr());
    assert!(!alone.out().join("report.json").exists());
}

#[test]
fn a_worker_that_stalls_or_is_killed_is_survived() {
    let events = r#"
[[arm]]
name = "master"
[[workload]]
name = "stalled"
connections = 4
arrivals = { rate = 100 }
event = { kind = "stalled", at_share = 0.2, for_share = 0.4 }
[[workload]]
name = "slow"
connections = 4
arrivals = { rate = 100 }
event = { kind = "slow", at_share = 0.1, for_share = 0.8, times_slower = 4 }
[[workload]]
name = "killed"
connections = 4
arrivals = { rate = 100 }
event = { kind = "killed", at_share = 0.2, count = 2 }
"#;
    let bench = Bench::run(&[HEAD, events].concat(), &[]);
    bench.assert_exit(0);
    let report = bench.report();
    assert_eq!(report.cells.len(), 3);
    let answered = |cell: &Cell| cell.trials.iter().map(|trial| trial.answered).sum::<u64>();
    assert!(report.cells.iter().all(|cell| answered(cell) > 0));
    // How it was made slow stands beside the figures.
    let told = report.warnings.iter().filter(|one| one.text.contains("told of"));
    assert_eq!(told.count(), 2);
}

#[test]
fn a_broken_plan_names_its_place_and_nothing_is_run() {
    for (right, wrong, expected) in [
        (", rate = 100", "", "workload \"kept\", class \"short\": arrivals: either rate"),
        ("connections = 8", "conections = 8", "unknown field `conections`"),
    ] {
        let plan = [HEAD, ARMS, KEPT].concat().replace(right, wrong);
        let bench = Bench::run(&plan, &[]);
        bench.assert_exit(2);
        assert!(bench.stderr().contains(expected), "{}", bench.stderr());
        assert!(!bench.out().exists());
    }
}

#[test]
fn nobody_elses_files_are_overwritten() {
    let bench = Bench::run(&[HEAD, ARMS, KEPT].concat(), &[]);
    bench.assert_exit(0);
    let again = |out: &Path| {
        let path = bench.folder.path().join("plan.toml");
        let mut command = std::process::Command::new(binary());
        command.arg("bench").arg(path).arg("--out").arg(out).arg("--quick");
        command.stdin(Stdio::null()).output().expect("the program can be started")
    };
    // A former result is replaced.
    assert_eq!(again(&bench.out()).status.code(), Some(0));
    assert!(bench.report().environment.is_quick);
    let refused = again(bench.folder.path());
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains("nothing is overwritten"), "{stderr}");
}

#[test]
fn predictions_are_judged_and_strict_says_it_with_its_exit_code() {
    let claims = r#"
[[prediction]]
text = "throughput(least-loaded, kept) >= 0"
because = "it cannot be otherwise"
[[prediction]]
text = "throughput(least-loaded, kept) <= 0"
because = "somebody has to be wrong"
"#;
    let plan = [HEAD, ARMS, KEPT, claims].concat().replace("repetitions = 2", "repetitions = 5");
    let bench = Bench::run(&plan, &["--strict"]);
    bench.assert_exit(1);
    let outcomes: Vec<_> = bench.report().predictions.iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, [Outcome::Held, Outcome::Failed]);
    assert!(bench.stdout().contains("FAILED"), "{}", bench.stdout());
}

#[test]
fn two_results_are_compared() {
    let bench = Bench::run(&[HEAD, ARMS, KEPT].concat(), &[]);
    bench.assert_exit(0);
    let compare = |other: &Path| {
        let mut command = std::process::Command::new(binary());
        command.args(["bench", "--compare"]).arg(bench.out().join("report.json")).arg(other);
        let output = command.stdin(Stdio::null()).output().expect("the program can be started");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = compare(&bench.out().join("report.json"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("p99"), "{text}");
    let (code, text) = compare(&bench.out().join("figures.csv"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("figures.csv"), "{text}");
}

#[test]
fn every_preset_can_be_listed_and_shown() {
    let bench = |arguments: &[&str]| {
        let mut command = std::process::Command::new(binary());
        command.arg("bench").args(arguments).stdin(Stdio::null());
        let output = command.output().expect("the program can be started");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let list = bench(&["--list"]);
    for line in list.lines() {
        let name = line.split_whitespace().next().expect("a name stands in front");
        assert!(bench(&["--show", name]).contains(&format!("title = \"{name}\"")), "{name}");
    }
    assert!(list.lines().count() >= 10, "{list}");
}
