//! The selected worker: what has no column, and its latency over the last two minutes.
//!
//! Not here: the table (`table`).

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::symbols::bar;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline, SparklineBar};

use crate::observe::view::WorkerView;
use crate::top::columns::{Column, open};
use crate::top::draw::style::Style;
use crate::top::model::{Model, state};
use crate::top::words::{count, latency, printable};

/// Between these the sparkline goes by powers of ten: the same for all, so that they compare.
const LATENCY_LOW: f64 = 0.0001;
const LATENCY_HIGH: f64 = 10.0;

/// Steps of the sparkline's scale: eight to a line, and it has three.
const STEPS: f64 = 24.0;

pub(super) fn draw(
    model: &Model,
    rows: &[&WorkerView],
    style: Style,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let Some(worker) = model.selected_row(rows).and_then(|at| rows.get(at)) else { return };
    let title = format!(
        " worker {} · {} · generation {} · process {} ",
        worker.slot,
        printable(state(worker)),
        worker.generation,
        worker.pid
    );
    let block = Block::new().borders(Borders::TOP).title(title).border_style(style.quiet());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [figures, curve] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2).areas(inside);
    draw_figures(model, worker, style, figures, frame);
    draw_curve(model, worker, style, curve, frame);
}

fn draw_figures(
    model: &Model,
    worker: &WorkerView,
    style: Style,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let of = |column: Column| column.text(model, worker);
    let threads = match worker.threads {
        0 => "loop".to_owned(),
        all => format!("{} of {all}", worker.threads_busy),
    };
    let lines: [&[(&str, String)]; 5] = [
        &[
            ("in flight", count(worker.active)),
            ("waiting", count(worker.waiting.into())),
            ("open", count(open(worker))),
        ],
        &[
            ("queued", count(worker.queued.into())),
            ("threads", threads),
            ("busy", of(Column::Busy)),
        ],
        &[("p50", of(Column::Median)), ("p99", of(Column::Tail)), ("queue", of(Column::QueueWait))],
        &[("memory", of(Column::Memory)), ("cpu", of(Column::Cpu)), ("age", of(Column::Age))],
        &[
            ("restarts", of(Column::Restarts)),
            ("stalls", of(Column::Stalls)),
            ("errors", of(Column::Errors)),
        ],
    ];
    let lines = lines.map(|pairs| {
        Line::from_iter(pairs.iter().flat_map(|(name, text)| {
            [Span::styled(format!("{name} "), style.quiet()), Span::raw(format!("{text}  "))]
        }))
    });
    frame.render_widget(Paragraph::new(lines.to_vec()), area);
}

fn draw_curve(model: &Model, worker: &WorkerView, style: Style, area: Rect, frame: &mut Frame<'_>) {
    let Some(seen) = model.worker(worker) else { return };
    let [head, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let said =
        format!("p99, {} to {} by powers of ten", latency(LATENCY_LOW), latency(LATENCY_HIGH));
    frame.render_widget(Paragraph::new(Span::styled(said, style.quiet())), head);
    let shown = seen.points.len().saturating_sub(usize::from(below.width));
    let bars = seen.points.iter().skip(shown).map(|point| SparklineBar::from(point.map(height)));
    let curve = Sparkline::default()
        .data(bars)
        .max(STEPS as u64)
        .bar_set(bar::NINE_LEVELS)
        .absent_value_symbol(" ")
        .style(style.curve());
    frame.render_widget(curve, below);
}

/// At least one step, so that an answer is seen.
fn height(seconds: f64) -> u64 {
    let share = (seconds / LATENCY_LOW).ln() / (LATENCY_HIGH / LATENCY_LOW).ln();
    (share.clamp(0.0, 1.0) * STEPS).round().max(1.0) as u64
}
