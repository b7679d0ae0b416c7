//! The dashboard in a headless Chromium: what it shows is what `/status` says, at every width and
//! in both colour schemes; it asks for nothing else, and takes no text for markup. Skipped, saying
//! so, where there is no Chromium; `scripts/test page` installs one. Pictures stay in
//! target/tmp/dashboard.
//!
//! Not here: who serves it (`tests/admin.rs`), the same in a terminal (`tests/top.rs`).

#[path = "report_page/browser.rs"]
mod browser;
mod common;
#[path = "dashboard/site.rs"]
mod site;
#[path = "views/mod.rs"]
mod views;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use browser::Browser;
use common::client::Client;
use common::{Server, Stopped};
use site::{Says, Site};
use views::{HOSTILE, Scene};

const DEADLINE: Duration = Duration::from_secs(60);

/// The page's clock and timers, twenty times as fast: two minutes of history in six seconds.
const HASTE: &str = "(() => {
    const [setReal, nowReal] = [window.setTimeout.bind(window), performance.now.bind(performance)];
    window.setTimeout = (what, after) => setReal(what, after / 20);
    performance.now = () => nowReal() * 20;
})()";

/// axe-core by Deque, which `scripts/test page` has from npm.
const AXE: &str = "MAITRED_TEST_AXE";

fn opened(browser: &mut Browser, site: &Site) {
    browser.open_address(&site.url());
    eventually(browser, "document.querySelector('#tables > li, #list tr') !== null");
}

/// Until an expression in the page is true.
fn eventually(browser: &mut Browser, expression: &str) {
    let deadline = Instant::now() + DEADLINE;
    while browser.evaluate(expression) != json!(true) {
        assert!(Instant::now() < deadline, "never: {expression}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn text(browser: &mut Browser, selector: &str) -> String {
    let shown =
        browser.evaluate(&format!("document.querySelector({selector:?})?.textContent ?? null"));
    shown.as_str().unwrap_or_else(|| panic!("no {selector}")).to_owned()
}

fn picture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    fs::create_dir_all(&folder).expect("a folder");
    folder.join(name)
}

/// What the browser itself complained about: exceptions, blocked requests, broken policy.
fn complaints(browser: &Browser) -> Vec<Value> {
    let is_complaint = |event: &&Value| {
        let (method, entry) = (&event["method"], &event["params"]["entry"]);
        method == "Runtime.exceptionThrown"
            || (method == "Log.entryAdded" && entry["level"] == "error")
    };
    browser.events.iter().filter(is_complaint).cloned().collect()
}

#[test]
fn the_page_shows_what_the_status_says() {
    let Some(mut browser) = Browser::start() else { return };
    let view = Scene::motley(12).at(30);
    let site = Site::start(Says::Stands(Box::new(view.clone())));
    opened(&mut browser, &site);
    for worker in &view.workers {
        let card = format!("#tables [data-key='{}/{}']", worker.slot, worker.generation);
        let mut of = |name: &str| text(&mut browser, &format!("{card} [data-name={name}] dd"));
        assert_eq!(of("active"), worker.active.to_string());
        assert_eq!(of("waiting"), worker.waiting.to_string());
        assert_eq!(of("open"), worker.on_loan.to_string());
        assert_eq!(of("pid"), worker.pid.to_string());
        assert_eq!(of("restarts"), worker.restarts.to_string());
        assert_eq!(of("stalls"), worker.stalls.to_string());
        assert_eq!(of("errors"), worker.errors.to_string());
        let state = text(&mut browser, &format!("{card} .state"));
        let wanted = match worker.slot {
            2 => "stuck",
            3 => "stopped",
            5 => "drained",
            _ => worker.stage.as_str(),
        };
        assert!(state.ends_with(wanted), "worker {}: {state}", worker.slot);
        let seats = |kind: &str| format!("{card} .chair.{kind}");
        assert_eq!(browser.count(&seats("taken")) as u64, worker.active);
        assert_eq!(browser.count(&seats("waits")) as u32, worker.waiting);
    }
    assert_eq!(browser.count("#tables > li"), view.workers.len());
    let mut of = |name: &str| {
        let shown = text(&mut browser, &format!("#account [data-name={name:?}] td"));
        shown.replace('\u{202f}', "").parse::<u64>().expect("a number")
    };
    let account = &view.account;
    assert_eq!(of("accepted"), account.accepted);
    for (name, number) in &account.here.0 {
        assert_eq!(of(&format!("here/{name}")), *number);
    }
    assert_eq!(
        of("finished") + of("here") + of("ended_idle") + of("shed") + of("aborted"),
        account.accepted
    );
    assert_eq!(text(&mut browser, "#rules [data-name=balance] dd"), view.policy.balance);
    assert_eq!(text(&mut browser, "#rules [data-name=reload] dd"), "running, 2 of 12 replaced");
    assert_eq!(text(&mut browser, "#way [data-name=jain] dd"), "0.99");
    assert_eq!(browser.count("#events li"), view.happened.len());
    assert_eq!(complaints(&browser), Vec::<Value>::new());
}

#[test]
fn a_stuck_worker_is_the_first_thing_that_is_said() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_first(HASTE);
    let site = Site::start(Says::Goes(Scene::stalled(64, 37)));
    opened(&mut browser, &site);
    eventually(
        &mut browser,
        "document.querySelector('#headline').textContent === 'Worker 37 is stuck.'",
    );
    eventually(
        &mut browser,
        "/no progress for \\d/.test(document.querySelector('#troubles').textContent)",
    );
    assert!(text(&mut browser, "#troubles code").contains("maitred ctl drain 37"));
    let title = browser.evaluate("document.title");
    assert!(title.as_str().is_some_and(|title| title.starts_with("(1!)")), "{title}");
    // Said to those who do not see it, once.
    eventually(
        &mut browser,
        "document.querySelector('#live').textContent.includes('Worker 37 is stuck.')",
    );
    browser.evaluate("document.querySelector('#troubles button').click()");
    assert!(text(&mut browser, "#chosen .name").contains("Worker 37"));
    let focused = browser.evaluate("document.activeElement.dataset.key");
    assert_eq!(focused, json!("37/38"));
}

#[test]
fn rates_and_latencies_are_differences() {
    let Some(mut browser) = Browser::start() else { return };
    let site = Site::start(Says::Goes(Scene::calm(2)));
    opened(&mut browser, &site);
    let found = browser.evaluate_promise(
        r#"(async () => {
            const { Model, added, quantile, jain } = await import("/model.js");
            const model = new Model();
            const bounds = [0.001, 0.01, 0.1];
            const view = (second, finished, counts) => ({
                pid: 1, started_at: "x", phase: "serving", histogram_bounds: bounds, events: {},
                workers: [{ slot: 0, generation: 1, stage: "serving", threads: 2,
                    requests_finished: finished, busy_seconds: second * 0.5,
                    cpu_seconds: second * 0.25 }],
                slots: [{ slot: 0, responses: { "2xx": finished }, service: { counts, sum: 0 } }],
                happened: [{ sequence: second * 3 + 1 }, { sequence: second * 3 + 2 }],
            });
            model.handlePicture(view(0, 100, [1, 1, 1, 1]), 0);
            const first = [...model.workers.values()][0];
            const unknown = [first.rate, first.busy, model.latency("service", 0.5)];
            for (let second = 1; second <= 10; second += 1) {
                const counts = [1, 1 + 10 * second, 1, 1];
                model.handlePicture(view(second, 100 + 50 * second, counts), second * 1000);
            }
            const worker = [...model.workers.values()][0];
            const known = [worker.rate, worker.busy, worker.cpu, model.server.rate("answered")];
            const missed = model.eventsMissed;
            model.handlePicture({ ...view(11, 0, [0, 0, 0, 0]), pid: 2 }, 11000);
            return {
                unknown, known, missed, points: worker.points.length,
                median: quantile([0, 10, 0, 0], bounds, 0.5).seconds,
                more: quantile([0, 0, 0, 1], bounds, 0.5),
                none: quantile([0, 0, 0, 0], bounds, 0.5),
                again: added([1, 2], [0, 3]), even: jain([3, 3, 3]), one: jain([9, 0, 0]),
                another: [...model.workers.values()][0].rate,
            };
        })()"#,
    );
    assert_eq!(found["unknown"], json!([null, null, null]), "unknown is never zero");
    assert_eq!(found["known"], json!([50, 0.25, 0.25, 50]));
    // Sequences 1 and 2, 4 and 5, …: one in three was never seen.
    assert_eq!(found["missed"], 10);
    assert_eq!(found["points"], 11);
    assert_eq!(found["median"], json!(0.0055));
    assert_eq!(found["more"], json!({ "seconds": 0.1, "more": true }));
    assert_eq!(found["none"], Value::Null);
    assert_eq!(found["again"], json!([1, 2]), "a counter that has begun again");
    assert_eq!(
        (&found["even"], found["one"].as_f64().map(|one| one < 0.34)),
        (&json!(1), Some(true))
    );
    assert_eq!(found["another"], Value::Null, "a rate between two servers");
}

/// A worker all of whose threads are taken for 20 ms each is found stuck in every picture.
#[test]
fn who_is_stuck_on_other_requests_each_time_is_no_trouble() {
    let Some(mut browser) = Browser::start() else { return };
    let site = Site::start(Says::Goes(Scene::calm(2)));
    opened(&mut browser, &site);
    let found = browser.evaluate_promise(
        r#"(async () => {
            const { Model } = await import("/model.js");
            const model = new Model();
            const view = finished => ({
                pid: 1, started_at: "x", phase: "serving", histogram_bounds: [], events: {},
                workers: [{ slot: 0, generation: 1, stage: "serving", stuck: true, active: 1,
                    requests_started: finished + 1, requests_finished: finished }],
                slots: [], happened: [],
            });
            return [100, 150, 200, 200].map((finished, second) => {
                model.handlePicture(view(finished), second * 1000);
                return [...model.workers.values()][0].staysStuck;
            });
        })()"#,
    );
    assert_eq!(found, json!([true, false, false, true]));
}

#[test]
fn hostile_texts_stay_texts_and_nothing_is_asked_elsewhere() {
    let Some(mut browser) = Browser::start() else { return };
    let mut view = Scene { is_hostile: true, ..Scene::calm(4) }.at(5);
    view.version = HOSTILE.to_owned();
    view.phase = HOSTILE.to_owned();
    view.policy.balance = HOSTILE.to_owned();
    view.workers[1].stage = HOSTILE.to_owned();
    view.account.shed.0.push((HOSTILE.to_owned(), 3));
    view.events.0.push((HOSTILE.to_owned(), 3));
    let site = Site::start(Says::Stands(Box::new(view)));
    opened(&mut browser, &site);
    eventually(&mut browser, "document.querySelector('#events').textContent.includes('onerror')");
    assert_eq!(browser.count("img, body script"), 0, "a text has become an element");
    assert!(!browser.evaluate("document.title").to_string().contains("owned"));
    assert_eq!(complaints(&browser), Vec::<Value>::new());
    let origin = site.url();
    let asked =
        browser.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
    for event in asked {
        let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
        assert!(url.starts_with(&origin) || url.starts_with("data:image/svg+xml"), "{url}");
    }
    // The policy holds: what is not the page's own does not run.
    browser.evaluate(
        "(() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = 1';
            document.body.append(script);
        })()",
    );
    assert_eq!(browser.evaluate("window.ran ?? null"), Value::Null);
}

#[test]
fn a_silent_server_is_told_and_asked_less_often() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_first(HASTE);
    let site = Site::start(Says::Goes(Scene::calm(4)));
    opened(&mut browser, &site);
    site.say(Says::Nothing);
    eventually(
        &mut browser,
        "document.querySelector('#headline').textContent.startsWith('Connection lost since ')",
    );
    assert_eq!(browser.count("#tables > li"), 4, "the last picture stays");
    eventually(&mut browser, "document.querySelector('#live').textContent.includes('lost')");
    site.say(Says::Goes(Scene::calm(4)));
    eventually(&mut browser, "document.querySelector('#headline').textContent === 'All is well.'");
    // Paused, it asks no more.
    browser.press("p");
    eventually(
        &mut browser,
        "document.querySelector('#freshness').textContent.startsWith('Paused.')",
    );
    let asked = |site: &Site| site.asked().iter().filter(|path| *path == "/status").count();
    let before = asked(&site);
    // Ten of its seconds by its own clock.
    browser.evaluate_promise("new Promise(done => setTimeout(done, 10000))");
    assert!(asked(&site) <= before + 1, "one may have been under way");
}

#[test]
fn everything_is_reached_by_keys() {
    let Some(mut browser) = Browser::start() else { return };
    let site = Site::start(Says::Stands(Box::new(Scene::motley(64).at(30))));
    browser.resize(1440, 900);
    opened(&mut browser, &site);
    let mut reached = Vec::new();
    for _ in 0..40 {
        browser.press("Tab");
        let focused = browser.evaluate(
            "(() => { const one = document.activeElement; const style = getComputedStyle(one);
              const visible = style.outlineStyle !== 'none' || one.matches('fieldset input');
              const name = one.id || one.name || one.dataset.key || one.textContent.slice(0, 20);
              return one === document.body ? null : [name, visible]; })()",
        );
        // Behind the last one the browser's own controls would come.
        if focused.is_null() {
            break;
        }
        assert_eq!(focused[1], json!(true), "no visible focus: {focused}");
        reached.push(focused[0].as_str().unwrap_or_default().to_owned());
    }
    for wanted in ["pause", "ask", "show", "sort", "form", "kind", "find", "events", "Show"] {
        assert!(reached.iter().any(|one| one == wanted), "{wanted} is not among {reached:?}");
    }
    // Sixty-four tiles are one stop, and arrows go between them.
    let tiles = reached.iter().filter(|one| one.contains('/')).count();
    assert!((1..=2).contains(&tiles), "{reached:?}");
    browser.evaluate("document.querySelector('#tables button[tabindex=\"0\"]').focus()");
    let at = |browser: &mut Browser| {
        browser
            .evaluate(
                "[...document.querySelectorAll('#tables button')].indexOf(document.activeElement)",
            )
            .as_i64()
    };
    let first = at(&mut browser).expect("a tile");
    browser.press("ArrowRight");
    assert_eq!(at(&mut browser), Some(first + 1));
    browser.press("ArrowDown");
    assert!(at(&mut browser) > Some(first + 2), "a row further down");
    browser.press("t");
    eventually(&mut browser, "!document.querySelector('#list').hidden");
    assert_eq!(browser.count("#list tbody tr"), 65);
    browser.evaluate("document.querySelector('#list [data-sort=waiting]').click()");
    assert_eq!(
        browser.evaluate("document.querySelector('#list [aria-sort]').textContent"),
        "Waiting"
    );
    assert_eq!(text(&mut browser, "#list tbody th"), "2", "who has most waiting stands first");
    browser.evaluate("document.activeElement.blur()");
    browser.press("?");
    eventually(&mut browser, "document.querySelector('#help').open");
}

#[test]
fn nothing_jumps_when_something_happens() {
    let Some(mut browser) = Browser::start() else { return };
    browser.run_first(HASTE);
    browser.resize(1440, 900);
    let site = Site::start(Says::Goes(Scene::calm(4)));
    opened(&mut browser, &site);
    let place = "Math.round(document.querySelector('#tables').getBoundingClientRect().top)";
    eventually(&mut browser, "document.querySelectorAll('#course path.rate').length === 1");
    let before = browser.evaluate(place);
    site.say(Says::Goes(Scene::stalled(4, 2)));
    eventually(
        &mut browser,
        "document.querySelector('#headline').textContent === 'Worker 2 is stuck.'",
    );
    assert_eq!(browser.evaluate(place), before, "the plan has moved");
}

#[test]
fn it_fits_and_is_legible_at_every_width_in_both_schemes() {
    let Some(mut browser) = Browser::start() else { return };
    let axe = std::env::var_os(AXE).map(|path| fs::read_to_string(path).expect("axe-core"));
    if axe.is_none() {
        eprintln!("skipped: {AXE} names no axe-core; see scripts/test page");
    }
    browser.run_first(HASTE);
    let scenes = [
        ("stalled-4", Scene::stalled(4, 2)),
        ("motley-64", Scene::motley(64)),
        ("full-12", Scene { is_full: true, ..Scene::motley(12) }),
    ];
    // Each scheme is checked once at one end: contrast does not depend on the width, nor names of
    // elements on the scheme, and axe-core takes its time.
    let windows = [
        ("light", 1440, 900, true),
        ("dark", 1440, 900, false),
        ("light", 768, 1024, false),
        ("dark", 768, 1024, false),
        ("light", 320, 640, false),
        ("dark", 320, 640, true),
    ];
    for (name, scene) in scenes {
        let site = Site::start(Says::Goes(scene));
        for (scheme, width, height, is_checked) in windows {
            browser.prefer(scheme);
            browser.resize(width, height);
            opened(&mut browser, &site);
            let drawn =
                "document.querySelector('#course .p99').getAttribute('d')?.split('L').length";
            eventually(&mut browser, &format!("{drawn} > 15"));
            for form in ["plan", "table"] {
                let choose =
                    format!("document.querySelector('#tools input[value={form}]').click()");
                browser.evaluate(&choose);
                let across = browser.evaluate("document.documentElement.scrollWidth");
                assert_eq!(across, width, "{name} {scheme} {form}: wider than its window");
                browser.draw(&picture(&format!("{name}-{width}-{scheme}-{form}.png")));
                let Some(axe) = axe.as_ref().filter(|_| is_checked) else { continue };
                browser.evaluate(&format!("{axe}; true"));
                let violations = browser.evaluate_promise(
                    "axe.run().then(found => found.violations.map(one => [one.id, one.help,
                     one.nodes.slice(0, 3).map(node => node.html + ' ' + node.failureSummary)]))",
                );
                assert_eq!(violations, json!([]), "{name} {width} {scheme} {form}");
            }
        }
    }
}

#[test]
fn a_thousand_workers_are_drawn_in_time() {
    let Some(mut browser) = Browser::start() else { return };
    let site = Site::start(Says::Goes(Scene::stalled(1024, 700)));
    browser.resize(1440, 900);
    opened(&mut browser, &site);
    eventually(
        &mut browser,
        "document.querySelector('#headline').textContent === 'Worker 700 is stuck.'",
    );
    assert_eq!(browser.count("#tables > li"), 1024);
    assert_eq!(complaints(&browser), Vec::<Value>::new());
}

#[test]
fn a_real_server_shows_what_it_says_and_who_is_stopped() {
    let Some(mut browser) = Browser::start() else { return };
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let admin = free.expect("a port");
    let arguments =
        ["serve", "-w", "3", "--stall-after", "1s", "--balance", "round-robin", "--admin"];
    let server = Server::start(&[&arguments[..], &[&admin.to_string()]].concat());
    common::eventually(common::DEADLINE, "the admin address is served", || {
        Client::try_connect(admin, Duration::from_secs(1)).is_ok()
    });
    for _ in 0..12 {
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
    }
    server.wait_for_rest();
    browser.open_address(&format!("http://{admin}/"));
    eventually(&mut browser, "document.querySelectorAll('#tables > li').length === 3");
    eventually(
        &mut browser,
        "document.querySelector('#headline').textContent === 'The house is empty.'",
    );
    let status: Value =
        serde_json::from_str(&Client::connect(admin).get("/status").text()).expect("JSON");
    let whole = |text: String| text.replace('\u{202f}', "");
    let accepted = whole(text(&mut browser, "#account [data-name=accepted] td"));
    assert_eq!(accepted, status["account"]["accepted"].to_string());
    assert_eq!(accepted, "12");
    for worker in status["workers"].as_array().expect("a list") {
        let card = format!("#tables [data-key='{}/{}']", worker["slot"], worker["generation"]);
        let pid = text(&mut browser, &format!("{card} [data-name=pid] dd"));
        assert_eq!(pid, worker["pid"].to_string());
    }
    let stopped = &status["workers"][1];
    let (slot, pid) = (&stopped["slot"], stopped["pid"].as_u64().expect("a number") as u32);
    let guard = Stopped::stop(pid);
    let is_said =
        format!("document.querySelector('#headline').textContent === 'Worker {slot} is stopped.'");
    eventually(&mut browser, &is_said);
    assert_eq!(text(&mut browser, "#troubles code"), format!("kill -CONT {pid}"));
    drop(guard);
    eventually(
        &mut browser,
        "document.querySelector('#headline').textContent === 'The house is empty.'",
    );
    let asked = |event: &&Value| event["method"] == "Network.requestWillBeSent";
    for event in browser.events.iter().filter(asked) {
        let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
        let origin = format!("http://{admin}/");
        assert!(url.starts_with(&origin) || url.starts_with("data:image/svg+xml"), "{url}");
    }
    assert_eq!(complaints(&browser), Vec::<Value>::new());
}
