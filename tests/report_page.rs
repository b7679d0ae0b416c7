//! The page of a bench: well-formed, whole without scripts, asks for nothing, and legible in both
//! colour schemes. The browser's part is skipped, saying so, where there is no Chromium;
//! `scripts/test page` installs one.
//!
//! Not here: scales, paths and rankings by themselves (`src/experiment/report/html/`).

#[path = "report_page/browser.rs"]
mod browser;
#[path = "report_page/fixture.rs"]
mod fixture;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node, ParsingOptions};

use maitred::experiment::report::html::page;
use maitred::experiment::report::schema::BenchReport;

use browser::Browser;
use fixture::{ARMS, GRID, HOSTILE, REPETITIONS, WORKERS, WORKLOADS, report};

const SEED: u64 = 7;

/// As many lines of latencies as there are classes, times the arms.
const CURVES: usize = 5 * ARMS.len();

/// Connections, requests and busy time.
const BARS: usize = WORKLOADS.len() * ARMS.len() * WORKERS as usize * 3;

/// `master auto` by five measures, `master never` by one.
const HEAT_MAPS: usize = 6;

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).expect("well-formed")
}

fn elements<'a>(document: &'a Document<'_>, name: &str) -> Vec<Node<'a, 'a>> {
    document.descendants().filter(|node| node.tag_name().name() == name).collect()
}

/// All text within.
fn text_of(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|one| one.text()).collect()
}

/// Where a page is looked at: it stays there, for eyes.
fn written(name: &str, report: &BenchReport) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report_page");
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    fs::write(&path, page(report)).expect("written");
    path
}

#[test]
fn a_page_is_well_formed_and_every_name_stays_a_name() {
    let page = page(&report(SEED));
    let document = parsed(&page);
    assert_eq!(elements(&document, "script").len(), 1, "a name has become a script");
    let text = text_of(document.root());
    let shown = HOSTILE.replace(['\u{202e}', '\u{1b}'], "\u{fffd}");
    assert!(text.contains(&shown), "the hostile name is not shown as it is");
    assert!(text.contains("<b>Not bold</b>") && text.contains("A neighbour ran <meanwhile>."));
    for wrong in ["NaN", "inf\"", "null", "undefined"] {
        assert!(!page.contains(wrong), "{wrong}");
    }
}

#[test]
fn a_page_is_accessible_as_far_as_markup_says() {
    let page = page(&report(SEED));
    let document = parsed(&page);
    let mut ids = BTreeSet::new();
    for id in document.descendants().filter_map(|node| node.attribute("id")) {
        assert!(ids.insert(id), "two elements are {id}");
    }
    for node in document.descendants().filter(|node| node.attribute("aria-labelledby").is_some()) {
        let wanted = node.attribute("aria-labelledby").unwrap_or_default();
        assert!(wanted.split(' ').all(|id| ids.contains(id)), "{wanted}");
    }
    for svg in elements(&document, "svg") {
        let is_named =
            ["aria-label", "aria-labelledby"].iter().any(|name| svg.has_attribute(*name));
        assert!(is_named || svg.attribute("aria-hidden") == Some("true"), "a plot without a name");
    }
    for table in elements(&document, "table") {
        let first = table.first_element_child().expect("something in a table");
        assert_eq!(first.tag_name().name(), "caption");
    }
    let levels: Vec<u32> = document
        .descendants()
        .filter_map(|node| node.tag_name().name().strip_prefix('h')?.parse().ok())
        .collect();
    assert_eq!(levels.first(), Some(&1));
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
    for pair in levels.windows(2) {
        assert!(pair[1] <= pair[0] + 1, "a heading of level {} after {}", pair[1], pair[0]);
    }
}

#[test]
fn every_warning_stands_on_the_page_and_beside_what_it_touches() {
    let report = report(SEED);
    let page = page(&report);
    let document = parsed(&page);
    let items: Vec<String> = elements(&document, "li").into_iter().map(text_of).collect();
    for warning in &report.warnings {
        assert!(items.iter().any(|item| item.contains(&warning.text)), "{}", warning.text);
    }
    let cells: Vec<String> = elements(&document, "td").into_iter().map(text_of).collect();
    assert_eq!(cells.iter().filter(|cell| cell.contains("⚠2")).count(), 1);
    let heads: Vec<String> = elements(&document, "th").into_iter().map(text_of).collect();
    let is_of = |head: &&String| head.contains("exclusive") && head.contains("⚠3");
    assert!(heads.iter().filter(is_of).count() > WORKLOADS.len());
    let spans: Vec<String> = elements(&document, "tspan").into_iter().map(text_of).collect();
    assert!(spans.iter().any(|span| span.contains("⚠6")), "no cell of the grid is marked");
}

#[test]
fn figures_of_a_closed_loop_are_called_so_and_win_no_sentence() {
    let mut report = report(SEED);
    report.workloads.retain(|workload| workload.name == "saturation");
    report.cells.retain(|cell| cell.workload == "saturation");
    let page = page(&report);
    let document = parsed(&page);
    let captions = ["caption", "figcaption"].map(|name| elements(&document, name)).concat();
    let around = ["Written before the run", "Where, when and with what"];
    let is_of_figures = |text: &String| !around.iter().any(|about| text.contains(about));
    for caption in captions.into_iter().map(text_of).filter(is_of_figures) {
        assert!(caption.contains("closed loop"), "{caption}");
    }
    let words: Vec<String> = elements(&document, "li").into_iter().map(text_of).collect();
    assert!(!words.iter().any(|sentence| sentence.starts_with("p99: ")), "{words:?}");
}

#[test]
fn reports_of_every_shape_have_a_page() {
    let whole = report(SEED);
    let mut without_cells = whole.clone();
    without_cells.cells.clear();
    let mut without_descriptions = whole.clone();
    without_descriptions.arms.clear();
    without_descriptions.workloads.clear();
    without_descriptions.measures.clear();
    let mut of_one_arm = whole.clone();
    of_one_arm.cells.retain(|cell| cell.arm == "exclusive");
    let mut odd = whole.clone();
    for (index, cell) in odd.cells.iter_mut().enumerate() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300, 1e-300][index % 6];
        cell.figures.values_mut().for_each(|figure| figure.value = odd);
        cell.curves.iter_mut().flat_map(|curve| &mut curve.points).for_each(|one| one.1 = odd);
        for trial in &mut cell.trials {
            trial.workers.iter_mut().for_each(|share| share.busy_s = odd);
            trial.timelines.iter_mut().for_each(|line| line.values.fill(odd));
            trial.timelines.iter_mut().for_each(|line| line.step_s = odd);
        }
    }
    for report in [BenchReport::default(), without_cells, without_descriptions, of_one_arm, odd] {
        let page = page(&report);
        parsed(&page);
        assert!(!page.contains("NaN") && !page.contains("inf"), "what is no number is drawn");
    }
}

#[test]
fn the_same_report_has_the_same_page() {
    assert_eq!(page(&report(SEED)), page(&report(SEED)));
}

/// Texts of plots that stand beyond their edge, or their cell's, or over each other.
const MISPLACED: &str = r#"(() => {
    const wrong = [];
    for (const svg of document.querySelectorAll("svg")) {
        const edge = svg.getBoundingClientRect();
        if (edge.width === 0) continue;
        const all = [...svg.querySelectorAll("text")].filter(one => one.checkVisibility());
        const boxes = all.map(one => [one.textContent, one.getBoundingClientRect()]);
        boxes.forEach(([text, box], index) => {
            const beyond = Math.max(edge.left - box.left, box.right - edge.right,
                edge.top - box.top, box.bottom - edge.bottom);
            const cell = all[index].closest("g.cell");
            const around = cell ? cell.querySelector("rect").getBoundingClientRect() : edge;
            if (box.left < around.left || box.right > around.right) {
                wrong.push(`${svg.id}: ${text} is wider than its place`);
            }
            if (beyond > 1.5) wrong.push(`${svg.id}: ${text} stands ${beyond} beyond the edge`);
            for (const [other, there] of boxes.slice(index + 1)) {
                const across = Math.min(box.right, there.right) - Math.max(box.left, there.left);
                const down = Math.min(box.bottom, there.bottom) - Math.max(box.top, there.top);
                if (across > 1 && down > 4) wrong.push(`${svg.id}: ${text} over ${other}`);
            }
        });
    }
    return wrong;
})()"#;

/// Texts whose contrast to what is behind them is below 4.5.
const FAINT: &str = r#"(() => {
    const colour = text => text.match(/[\d.]+/g).map(Number);
    const light = ([red, green, blue]) => [red, green, blue].map(value => value / 255)
        .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
    const contrast = (one, other) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const behind = element => {
        const cell = element.closest("g.cell");
        if (cell) return colour(getComputedStyle(cell.querySelector("rect")).fill);
        for (let one = element; one; one = one.parentElement) {
            const back = getComputedStyle(one).backgroundColor;
            if (back !== "rgba(0, 0, 0, 0)") return colour(back);
        }
        return [255, 255, 255];
    };
    const faint = new Set();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
        if (["SCRIPT", "STYLE", "title", "desc"].includes(element.tagName)) continue;
        const style = getComputedStyle(element);
        const fore = element.closest("svg") ? style.fill : style.color;
        const found = contrast(colour(fore), behind(element));
        if (found < 4.5) faint.add(`${element.tagName}.${element.getAttribute("class")} ${found}`);
    }
    return [...faint];
})()"#;

#[test]
fn a_browser_shows_all_of_it_and_asks_for_nothing() {
    let Some(mut browser) = Browser::start() else { return };
    let path = written("report.html", &report(SEED));
    browser.resize(1280, 900);
    browser.open(&path);
    assert_eq!(browser.evaluate("document.title"), "a fixture, not a measurement · maitred bench");
    let count_all = |browser: &mut Browser| {
        assert_eq!(browser.count("svg[id^=curves-] .line"), CURVES);
        // A mark at each of four percentiles.
        assert_eq!(browser.count("svg[id^=curves-] .mark"), CURVES * 4);
        assert_eq!(browser.count("table.bars rect.bar"), BARS);
        assert_eq!(browser.count("svg.map g.cell"), GRID.0.len() * GRID.1.len() * HEAT_MAPS);
        assert_eq!(
            browser.count("svg.lanes .area"),
            WORKLOADS.len() * ARMS.len() * WORKERS as usize
        );
        assert_eq!(browser.count("svg[id^=time-] .line"), WORKLOADS.len() * ARMS.len());
        assert_eq!(browser.count("table.predictions tbody tr"), 4);
    };
    count_all(&mut browser);
    assert_eq!(browser.evaluate(MISPLACED), serde_json::json!([]));
    // One line and its name hidden, everything else as it was.
    browser.evaluate("document.querySelector('ul.looks button').click()");
    assert_eq!(browser.evaluate("document.querySelectorAll('.of-0.off').length > 9"), true);
    assert_eq!(browser.evaluate("document.querySelectorAll('.of-1.off').length"), 0);
    let said = browser.events.iter().filter(|event| {
        let (method, entry) = (&event["method"], &event["params"]["entry"]);
        method == "Runtime.exceptionThrown"
            || (method == "Log.entryAdded" && entry["level"] == "error")
    });
    assert_eq!(said.cloned().collect::<Vec<_>>(), Vec::<serde_json::Value>::new());
    let asked: Vec<&str> = browser
        .events
        .iter()
        .filter(|event| event["method"] == "Network.requestWillBeSent")
        .filter_map(|event| event["params"]["request"]["url"].as_str())
        .collect();
    assert_eq!(asked, [format!("file://{}", path.display())]);

    browser.allow_scripts(false);
    browser.open(&path);
    count_all(&mut browser);
    assert_eq!(browser.count("ul.looks button"), 0);
    assert_eq!(browser.count("ul.looks li"), ARMS.len());
}

#[test]
fn a_browser_shows_the_winner_of_each_column() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&written("winners.html", &report(SEED)));
    let without_winner = browser.evaluate(
        r#"[...document.querySelectorAll("table.figures")].flatMap(table => {
            const heads = [...table.querySelectorAll("thead th")];
            return heads.flatMap((head, column) => {
                const cells = [...table.rows].slice(1).map(row => row.cells[column]);
                const best = cells.filter(cell => cell.classList.contains("best"));
                const signed = best.every(cell => cell.textContent.startsWith("◆best "));
                const wins = head.querySelector(".direction") !== null;
                return signed && (best.length > 0) === wins ? [] : [head.textContent];
            });
        })"#,
    );
    assert_eq!(without_winner, serde_json::json!([]));
    let out = browser.count("td.out");
    assert!(out > 0, "an arm that fails a ninth of its requests is in the contest");
    assert_eq!(REPETITIONS, 5, "five repetitions are what the intervals of the fixture are of");
}

#[test]
fn both_colour_schemes_are_legible_at_every_width() {
    let Some(mut browser) = Browser::start() else { return };
    let path = written("schemes.html", &report(SEED));
    let mut seen = BTreeSet::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for width in [1280, 400] {
            browser.resize(width, 900);
            browser.open(&path);
            browser
                .evaluate("document.querySelectorAll('details').forEach(one => one.open = true)");
            assert_eq!(browser.evaluate(FAINT), serde_json::json!([]), "{scheme}");
            assert_eq!(browser.evaluate(MISPLACED), serde_json::json!([]), "{width}");
            let across = browser.evaluate("document.documentElement.scrollWidth");
            assert_eq!(across, width, "{scheme}: the page is wider than its window");
        }
        let colours = browser.evaluate(
            r#"[getComputedStyle(document.body).backgroundColor,
                getComputedStyle(document.body).color,
                getComputedStyle(document.querySelector("path.line")).stroke,
                getComputedStyle(document.querySelector("g.cell rect")).fill]"#,
        );
        // The yardstick can tell.
        browser.evaluate("document.body.style.color = document.body.style.background = 'gray'");
        assert_ne!(browser.evaluate(FAINT), serde_json::json!([]), "nothing is ever faint");
        for colour in colours.as_array().expect("a list") {
            assert!(seen.insert(colour.to_string()), "{colour} is in both schemes");
        }
    }
}
