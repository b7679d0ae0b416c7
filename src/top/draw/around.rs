//! What stands around the table: the title and the headline above, events and keys below.
//!
//! Not here: the selected worker (`detail`).

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use crate::observe::view::{Numbers, View};
use crate::top::columns::{open, quantile_text};
use crate::top::draw::style::Style;
use crate::top::history::Timed;
use crate::top::model::Model;
use crate::top::words::{NONE, count, known, lasting, latency, plural, printable, rate, spoken};

/// Two lines: what this is, and the picture in one sentence.
pub(super) fn draw_title(
    model: &Model,
    (is_grave, headline): &(bool, String),
    style: Style,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let mut title = vec![Span::styled("maitred ", style.bold())];
    if let Some(view) = &model.view {
        title.push(Span::raw(printable(&view.version)));
        let phase = if view.serving { style.good() } else { style.between() };
        title.extend([Span::raw("  "), Span::styled(printable(&view.phase), phase)]);
        let workers = plural(view.workers.len() as u64, "worker");
        title.push(Span::raw(format!("  {workers}, master {}", view.pid)));
    }
    title.push(Span::styled(format!("  {}", printable(&model.address)), style.quiet()));
    if model.is_paused {
        let lasts = lasting(model.now.since(model.seen_at));
        title.push(Span::styled(format!("  paused, {lasts} old"), style.grave()));
    }
    let look = if *is_grave { style.grave() } else { style.bold() };
    let mut said = vec![Span::styled(headline.as_str(), look)];
    if let Some(failure) = &model.failure {
        said.push(Span::raw(format!(" {}", printable(failure))));
    }
    frame.render_widget(Paragraph::new(vec![Line::from(title), Line::from(said)]), area);
}

/// Four lines: the way of a connection, the pace, the account, the rules.
pub(super) fn draw_numbers(model: &Model, style: Style, area: Rect, frame: &mut Frame<'_>) {
    let Some(view) = &model.view else { return };
    let lines = [way(view), pace(model, view), account(view), rules(view)];
    let lines = lines.map(|pairs| {
        Line::from_iter(pairs.into_iter().enumerate().flat_map(|(at, (name, text))| {
            let gap = if at > 0 { "  " } else { "" };
            [Span::styled(format!("{gap}{name} "), style.quiet()), Span::raw(text)]
        }))
    });
    frame.render_widget(Paragraph::new(lines.to_vec()), area);
}

type Pairs = Vec<(&'static str, String)>;

fn way(view: &View) -> Pairs {
    let here = |name| known(view.account.here.get(name), count);
    let queue = view.kernel_queue.as_ref();
    let at_workers = view.workers.iter().map(open).fold(0, u64::saturating_add);
    let active = view.workers.iter().map(|one| one.active).fold(0, u64::saturating_add);
    vec![
        (
            "kernel",
            known(queue, |queue| format!("{} of {}", count(queue.length), count(queue.limit))),
        ),
        ("queued", here("queued")),
        ("at workers", count(at_workers)),
        ("in flight", count(active)),
        ("parked", here("parked")),
    ]
}

fn pace(model: &Model, view: &View) -> Pairs {
    let of = |timed, share| known(model.latency_of_all(timed, share), quantile_text);
    vec![
        ("req/s", known(model.rates.back().copied().flatten(), rate)),
        ("p50", of(Timed::Service, 0.5)),
        ("p99", of(Timed::Service, 0.99)),
        ("queue p99", of(Timed::QueueWait, 0.99)),
        ("evenness", known(view.jain, |jain| format!("{jain:.2}"))),
    ]
}

fn account(view: &View) -> Pairs {
    let account = &view.account;
    let all = |numbers: &Numbers| {
        count(numbers.0.iter().fold(0, |sum, (_, number)| u64::saturating_add(sum, *number)))
    };
    let mut pairs = vec![
        ("accepted", count(account.accepted)),
        ("= here", all(&account.here)),
        ("+ finished", count(account.finished)),
        ("+ idle", all(&account.ended_idle)),
        ("+ shed", all(&account.shed)),
        ("+ cut off", all(&account.aborted)),
    ];
    if account.missing != 0 {
        pairs.push(("MISSING", account.missing.to_string()));
    }
    pairs
}

fn rules(view: &View) -> Pairs {
    let (scaling, reload) = (&view.scaling, &view.reload);
    let wanted = if scaling.workers_min == scaling.workers_max {
        scaling.workers_wanted.to_string()
    } else {
        format!("{} of {}..{}", scaling.workers_wanted, scaling.workers_min, scaling.workers_max)
    };
    let reload = match reload.state.as_str() {
        "" | "none" => "none".to_owned(),
        state => format!("{} {}/{}", printable(state), reload.replaced, reload.of),
    };
    let or_none = |text: &str| if text.is_empty() { NONE.to_owned() } else { printable(text) };
    vec![
        ("balance", or_none(&view.policy.balance)),
        ("rebalance", or_none(&view.policy.rebalance)),
        ("wanted", wanted),
        ("reload", reload),
        ("stuck after", latency(view.policy.stall_after)),
        ("accept", or_none(&view.accept)),
    ]
}

/// Newest first, as many as there is room for.
pub(super) fn draw_events(model: &Model, style: Style, area: Rect, frame: &mut Frame<'_>) {
    let title = if model.events.is_empty() {
        " nothing has happened yet "
    } else {
        " events, newest first "
    };
    let block = Block::new().borders(Borders::TOP).title(title).border_style(style.quiet());
    let lines = model.events.iter().rev().take(usize::from(area.height)).map(|event| {
        // Of an RFC 3339 moment, the time of day; in UTC, as the server's logs are.
        let at: String = event.at.chars().skip(11).take(8).collect();
        let who = match (event.slot, event.generation) {
            (Some(slot), Some(generation)) => format!(" worker={slot} gen={generation}"),
            (Some(slot), None) => format!(" worker={slot}"),
            (None, _) => String::new(),
        };
        Line::from(vec![
            Span::styled(printable(&at), style.quiet()),
            Span::styled(format!(" {:<9} ", spoken(&event.kind)), style.bold()),
            Span::raw(printable(&event.text)),
            Span::styled(who, style.quiet()),
        ])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

/// The last line.
pub(super) fn draw_keys(model: &Model, style: Style, area: Rect, frame: &mut Frame<'_>) {
    let pause = if model.is_paused { "go on" } else { "pause" };
    let filter = if model.only_attention { "all" } else { "filter" };
    let keys = [
        ("?", "help"),
        ("q", "quit"),
        ("space", pause),
        ("s", "sort"),
        ("r", "reverse"),
        ("↑↓", "select"),
        ("f", filter),
        ("e", "events"),
    ];
    let spans = keys.into_iter().flat_map(|(key, does)| {
        [Span::styled(key, style.marked()), Span::styled(format!(" {does}  "), style.quiet())]
    });
    frame.render_widget(Paragraph::new(Line::from_iter(spans)), area);
}
