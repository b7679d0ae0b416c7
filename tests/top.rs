//! `maitred top` without a terminal: frames of every size beside what they should be, keys, and any
//! view that JSON can say. With one: it draws, and leaves the terminal as it was.
//!
//! `SNAPSHOTS=overwrite cargo nextest run -E 'binary(top)'` writes the frames anew: look at them.

#[path = "views/mod.rs"]
mod views;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{InputModes, LocalModes, OutputModes, Winsize, tcgetattr, tcsetwinsize};
use snapbox::{Data, assert_data_eq};

use maitred::observe::view::{
    HappenedView, HistogramView, KernelQueueView, Numbers, SlotView, View, WorkerView,
};
use maitred::time::Nanos;
use maitred::top::{Key, Model, draw};

use views::{HOSTILE, Scene};

/// Generous: a loaded machine is no fault, and a green run never waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

const ADDRESS: &str = "unix:/run/maitred/admin";

fn at(second: u64) -> Nanos {
    Nanos(second * 1_000_000_000)
}

/// A model that has looked for so many seconds.
fn watched(scene: &Scene, seconds: u64) -> Model {
    let mut model = Model::new(ADDRESS, false);
    for second in 0..=seconds {
        model.handle_view(scene.at(second), at(second));
    }
    model
}

/// The frame as text, without the spaces at the ends of lines.
fn frame(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(model, frame)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let lines = buffer.content.chunks(usize::from(width)).map(|line| {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn assert_frame(name: &str, model: &Model, width: u16, height: u16) {
    let path = format!("{}/tests/top/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    assert_data_eq!(frame(model, width, height), Data::read_from(path.as_ref(), None));
}

/// A worker all of whose threads are taken for 20 ms each is found stuck in every picture.
#[test]
fn who_is_stuck_on_other_requests_each_time_is_no_trouble() {
    let mut model = Model::new(ADDRESS, false);
    for second in 0..=30 {
        let mut view = Scene::stalled(4, 2).at(second);
        for worker in &mut view.workers {
            worker.requests_started += 50 * second;
            worker.requests_finished += 50 * second;
        }
        model.handle_view(view, at(second));
    }
    let frame = frame(&model, 120, 40);
    assert!(!frame.contains("Worker 2 is stuck"), "{frame}");
}

#[test]
fn frames_are_what_they_were() {
    let stalled = watched(&Scene::stalled(4, 2), 30);
    assert_frame("stalled-80x24", &stalled, 80, 24);
    assert_frame("stalled-120x40", &stalled, 120, 40);
    assert_frame("stalled-40x12", &stalled, 40, 12);
    assert_frame("motley-120x40", &watched(&Scene::motley(12), 30), 120, 40);
    let full = Scene { is_full: true, ..Scene::calm(4) };
    assert_frame("full-80x24", &watched(&full, 10), 80, 24);
    assert_frame("first-80x24", &watched(&Scene::calm(4), 0), 80, 24);
    assert_frame("nothing-80x24", &Model::new(ADDRESS, false), 80, 24);
    let mut lost = stalled.clone();
    lost.handle_failure("connecting: connection refused".to_owned(), at(31));
    lost.handle_now(at(43));
    assert_frame("lost-80x24", &lost, 80, 24);
    let mut help = stalled.clone();
    help.handle_key(Key::Char('?'));
    assert_frame("help-80x24", &help, 80, 24);
}

/// The slots of the table, top to bottom.
fn order(model: &Model) -> Vec<u16> {
    let frame = frame(model, 120, 40);
    let lines = frame.lines().skip_while(|line| !line.contains("WORKER")).skip(1);
    lines.map_while(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn keys_sort_filter_and_select() {
    let mut model = watched(&Scene::motley(12), 30);
    // Slot 6 is being replaced: its old worker and its new one.
    assert_eq!(order(&model), [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11]);
    model.handle_key(Key::Char('r'));
    assert_eq!(order(&model)[..3], [11, 10, 9]);
    model.handle_key(Key::Char('r'));
    model.handle_key(Key::Char('a'));
    assert_eq!(order(&model)[..5], [3, 2, 5, 6, 6], "stopped, stuck, drained, leaving, starting");
    model.handle_key(Key::Char('f'));
    assert_eq!(order(&model), [3, 2, 5, 6, 6]);
    assert!(frame(&model, 120, 40).contains("worker 3 · stopped"));
    model.handle_key(Key::Down);
    assert!(frame(&model, 120, 40).contains("worker 2 · stuck"));
    model.handle_key(Key::End);
    assert!(frame(&model, 120, 40).contains("worker 6 · starting"));
    model.handle_key(Key::Home);
    assert!(frame(&model, 120, 40).contains("worker 3 · stopped"));
    model.handle_key(Key::Escape);
    assert_eq!(order(&model).len(), 13, "Escape takes the filter away first");
    assert!(!model.is_over());
    model.handle_key(Key::Escape);
    assert!(model.is_over());
}

#[test]
fn what_is_sorted_by_is_always_on_the_screen() {
    let mut model = watched(&Scene::calm(4), 5);
    for _ in 0..18 {
        model.handle_key(Key::Char('s'));
        assert_eq!(order(&model).len(), 4);
        frame(&model, 40, 12);
    }
    assert_eq!(order(&model), [0, 1, 2, 3], "once around");
}

#[test]
fn a_paused_picture_stands_still_and_says_how_old_it_is() {
    let mut model = watched(&Scene::calm(4), 5);
    model.handle_key(Key::Char(' '));
    let before = frame(&model, 120, 40);
    assert!(before.contains("paused, 0s old"), "{before}");
    for second in 6..10 {
        model.handle_view(Scene::calm(4).at(second), at(second));
    }
    let after = frame(&model, 120, 40);
    assert!(after.contains("paused, 4s old"), "{after}");
    assert_eq!(
        before.lines().skip(1).collect::<Vec<_>>(),
        after.lines().skip(1).collect::<Vec<_>>()
    );
    model.handle_key(Key::Char(' '));
    model.handle_view(Scene::calm(4).at(10), at(10));
    assert!(!frame(&model, 120, 40).contains("paused"));
}

#[test]
fn a_server_that_says_nothing_is_told_before_asking_has_failed() {
    let mut model = watched(&Scene::calm(4), 5);
    model.handle_now(at(8));
    assert!(frame(&model, 80, 24).contains("All is well."));
    model.handle_now(at(11));
    assert!(frame(&model, 80, 24).contains("No answer for 6s"));
}

#[test]
fn another_server_at_the_address_is_no_continuation() {
    let mut model = watched(&Scene::calm(4), 20);
    let mut other = Scene::calm(4).at(0);
    other.pid = 7;
    model.handle_view(other, at(21));
    let frame = frame(&model, 120, 40);
    assert!(frame.contains("req/s –"), "a rate between two servers: {frame}");
}

#[test]
fn texts_of_a_server_give_a_terminal_no_orders() {
    let scene = Scene { is_hostile: true, ..Scene::calm(2) };
    let mut model = watched(&scene, 3);
    model.handle_failure(HOSTILE.to_owned(), at(4));
    let frame = frame(&model, 200, 40);
    assert!(frame.contains("onerror"), "the text is not shown at all");
    assert!(!frame.contains(['\u{1b}', '\u{202e}']), "{frame:?}");
}

#[test]
fn colours_only_repeat_what_is_said() {
    let of = |has_colour| {
        let mut model = Model::new(ADDRESS, has_colour);
        let scene = Scene::motley(8);
        (0..10).for_each(|second| model.handle_view(scene.at(second), at(second)));
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).expect("a terminal");
        terminal.draw(|frame| draw(&model, frame)).expect("drawn");
        terminal.backend().buffer().clone()
    };
    let (without, with) = (of(false), of(true));
    let symbols = |buffer: &ratatui::buffer::Buffer| {
        buffer.content.iter().map(|cell| cell.symbol().to_owned()).collect::<String>()
    };
    assert_eq!(symbols(&without), symbols(&with));
    let reset = ratatui::style::Color::Reset;
    let is_plain = |cell: &ratatui::buffer::Cell| cell.fg == reset && cell.bg == reset;
    assert!(without.content.iter().all(is_plain), "NO_COLOR is not honoured");
    assert!(!with.content.iter().all(is_plain), "nothing has a colour");
}

fn any_numbers() -> impl Strategy<Value = Numbers> {
    let name = prop_oneof![Just("queued".to_owned()), Just("parked".to_owned()), ".{0,6}"];
    prop::collection::vec((name, any::<u64>()), 0..4).prop_map(Numbers)
}

fn any_histogram() -> impl Strategy<Value = HistogramView> {
    (prop::collection::vec(any::<u64>(), 0..6), any::<f64>())
        .prop_map(|(counts, sum)| HistogramView { counts, sum })
}

fn any_worker() -> impl Strategy<Value = WorkerView> {
    let stage = prop_oneof![Just("serving".to_owned()), Just("leaving".to_owned()), ".{0,9}"];
    let flags = any::<[bool; 3]>();
    let small = (0..4_u16, 0..3_u32, any::<[u32; 5]>());
    let large = (any::<[u64; 8]>(), any::<f64>(), any::<Option<f64>>(), any::<Option<f64>>());
    (stage, flags, small, large, any::<Option<u64>>()).prop_map(
        |(stage, [stuck, stopped, drained], (slot, generation, small), large, rss_bytes)| {
            let (large, busy_seconds, cpu_seconds, age) = large;
            WorkerView {
                slot,
                generation,
                stage,
                stuck,
                stopped,
                drained,
                pid: small[0],
                on_loan: small[1],
                waiting: small[2],
                queued: small[3],
                threads: small[4],
                threads_busy: small[0],
                active: large[0],
                requests_started: large[1],
                requests_finished: large[2],
                errors: large[3],
                own_accepted: large[4],
                own_open: large[5],
                restarts: large[6],
                stalls: large[7],
                busy_seconds,
                cpu_seconds,
                age,
                rss_bytes,
            }
        },
    )
}

fn any_slot() -> impl Strategy<Value = SlotView> {
    (0..5_usize, any_numbers(), any_histogram(), any_histogram()).prop_map(
        |(slot, responses, queue_wait, service)| SlotView {
            slot,
            responses,
            queue_wait,
            service,
            ..SlotView::default()
        },
    )
}

fn any_view() -> impl Strategy<Value = View> {
    let queue = prop::option::of(any::<[u64; 3]>());
    let lists = (
        prop::collection::vec(any_worker(), 0..6),
        prop::collection::vec(any_slot(), 0..6),
        prop::collection::vec(any::<f64>(), 0..6),
        prop::collection::vec((any::<u64>(), ".{0,30}", ".{0,9}", ".{0,40}"), 0..4),
    );
    let accounts = (any_numbers(), any_numbers(), any::<i64>());
    (
        "serving|stopping|.{0,8}",
        "none|running|failed|.{0,5}",
        queue,
        lists,
        accounts,
        any::<Option<f64>>(),
    )
        .prop_map(|(phase, reload, queue, lists, (here, shed, missing), jain)| {
            let (workers, slots, histogram_bounds, happened) = lists;
            let mut view =
                View { phase, workers, slots, histogram_bounds, jain, ..View::default() };
            view.reload.state = reload;
            view.kernel_queue = queue.map(|[length, limit, overflows]| KernelQueueView {
                length,
                limit,
                overflows,
            });
            (view.account.here, view.account.shed, view.account.missing) = (here, shed, missing);
            view.happened = happened
                .into_iter()
                .map(|(sequence, at, kind, text)| HappenedView {
                    sequence,
                    at,
                    kind,
                    text,
                    ..HappenedView::default()
                })
                .collect();
            view
        })
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        prop::sample::select(vec![
            Key::Up,
            Key::Down,
            Key::Left,
            Key::Right,
            Key::PageUp,
            Key::PageDown,
            Key::Home,
            Key::End,
            Key::Other,
        ]),
        prop::sample::select(" ?sSraefjkgG".chars().collect::<Vec<_>>()).prop_map(Key::Char),
    ]
}

proptest! {
    #[test]
    fn no_view_no_key_and_no_size_is_too_much(
        steps in prop::collection::vec((any_view(), any_key(), 0..5_000_000_000_u64), 1..6),
        (width, height) in (1..140_u16, 1..50_u16),
        has_colour in any::<bool>(),
    ) {
        let mut model = Model::new(ADDRESS, has_colour);
        let mut now = 0;
        for (view, key, later) in steps {
            now += later;
            model.handle_view(view, Nanos(now));
            model.handle_key(key);
            frame(&model, width, height);
        }
    }
}

/// A terminal of our own, with `maitred top` in it.
struct Screen {
    ours: File,
    theirs: File,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    before: (LocalModes, InputModes, OutputModes),
}

impl Screen {
    fn start(address: &str) -> Screen {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a terminal");
        let name = ptsname(&ours, Vec::new()).expect("its name").into_string().expect("UTF-8");
        let open = || File::options().read(true).write(true).open(&name).expect("a terminal");
        let theirs = open();
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).expect("a size");
        let before = modes(&theirs);
        let child = Command::new(env!("CARGO_BIN_EXE_maitred"))
            .args(["top", address])
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .expect("top starts");
        let ours = File::from(ours);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, written) = (ours.try_clone().expect("a copy"), Arc::clone(&shown));
        // Ends when the last of those who hold the terminal has gone.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                written.lock().unwrap_or_else(PoisonError::into_inner).extend(&buffer[..read]);
            }
        });
        Screen { ours, theirs, child, shown, before }
    }

    fn eventually_shows(&self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        let holds = || {
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&shown).contains(text)
        };
        while !holds() {
            assert!(Instant::now() < deadline, "{text:?} is never shown");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn ends(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "top does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn modes(&self) -> (LocalModes, InputModes, OutputModes) {
        modes(&self.theirs)
    }
}

fn modes(terminal: &File) -> (LocalModes, InputModes, OutputModes) {
    let modes = tcgetattr(terminal).expect("a terminal");
    (modes.local_modes, modes.input_modes, modes.output_modes)
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A way of telling it to end.
type Telling = fn(&mut Screen);

#[test]
fn a_terminal_is_what_it_was_before_whatever_the_ending() {
    let view = serde_json::to_string(&Scene::stalled(4, 2).at(30)).expect("JSON");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", view.len());
            let _ = stream.write_all((head + &view).as_bytes());
        }
    });
    let told: [(&str, Telling); 2] = [
        ("q", |screen| screen.ours.write_all(b"q").expect("a key")),
        ("SIGTERM", |screen| {
            let pid = Pid::from_raw(screen.child.id() as i32);
            kill(pid, Signal::SIGTERM).expect("a child of ours");
        }),
    ];
    for (name, tell) in told {
        let mut screen = Screen::start(&address);
        let before = screen.before;
        screen.eventually_shows("Worker 2 is stuck");
        assert!(!screen.modes().0.contains(LocalModes::ECHO), "{name}: keys would be echoed");
        tell(&mut screen);
        assert_eq!(screen.ends().code(), Some(0), "{name}");
        assert_eq!(screen.modes(), before, "{name}: the terminal is left as it was used");
        // The alternate screen is left, and the cursor is shown again (xterm, ctlseqs).
        screen.eventually_shows("\u{1b}[?1049l");
        screen.eventually_shows("\u{1b}[?25h");
    }
}

#[test]
fn what_is_no_address_or_no_terminal_is_said() {
    let top = |arguments: &[&str], variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maitred"));
        command.arg("top").args(arguments).env_remove("MAITRED_ADMIN").stdin(Stdio::null());
        command.envs(variable.map(|value| ("MAITRED_ADMIN", value)));
        let output = command.output().expect("top runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = top(&[], None);
    assert!(code == Some(2) && said.contains("MAITRED_ADMIN"), "{said}");
    let (code, said) = top(&["nonsense"], None);
    assert!(code == Some(2) && said.contains("unix:PATH or HOST:PORT"), "{said}");
    let (code, said) = top(&[], Some("127.0.0.1:1"));
    assert!(code == Some(2) && said.contains("terminal"), "{said}");
    // As `serve` may have it: several.
    let (code, said) = top(&[], Some("127.0.0.1:1, unix:/nowhere/admin"));
    assert!(code == Some(2) && said.contains("terminal"), "{said}");
}
