//! What keys do and what columns mean, over everything else.
//!
//! Not here: the line of keys at the bottom (`around`).

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use crate::top::draw::style::Style;

const LINES: [(&str, &str); 20] = [
    ("q, Esc", "quit (Esc first closes what was opened)"),
    ("space", "pause: the picture stands still"),
    ("↑ ↓, j k", "select a worker; PgUp, PgDn, Home, End"),
    ("s S, ← →", "sort by the next or the former column"),
    ("r", "the other way round"),
    ("a", "sort by attention: stopped, stuck, drained, …"),
    ("f", "only workers that do not just serve"),
    ("e", "more room for events"),
    ("", ""),
    ("FLIGHT", "requests begun and not finished"),
    ("WAIT", "connections lent to it that it has not claimed"),
    ("OPEN", "connections at it, idle ones included"),
    ("BUSY", "share of its handlers' time"),
    ("P50, P99", "half, 99 of 100 answers took less"),
    ("QUEUE", "p99 from accept to the first claim"),
    ("CPU", "of one core"),
    ("GEN", "which process of this server it is"),
    ("RESTARTS", "processes at its place after the first"),
    ("STALLS", "how often it was found stuck"),
    ("", "rates and latencies: of the last 4 seconds"),
];

pub(super) fn draw(style: Style, area: Rect, frame: &mut Frame<'_>) {
    let wide = 62.min(area.width);
    let high = (LINES.len() as u16 + 2).min(area.height);
    let place = Rect {
        x: area.x + (area.width - wide) / 2,
        y: area.y + (area.height - high) / 2,
        width: wide,
        height: high,
    };
    let lines = LINES.map(|(key, does)| {
        Line::from(vec![Span::styled(format!(" {key:<10}"), style.bold()), Span::raw(does)])
    });
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(" any key closes this ");
    frame.render_widget(Paragraph::new(lines.to_vec()).block(block), place);
}
