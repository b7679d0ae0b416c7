//! The table of workers: as many columns as fit, as many rows as fit around the selected one.
//!
//! Not here: what the columns say (`columns`).

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};

use crate::observe::view::WorkerView;
use crate::top::columns::Column;
use crate::top::draw::style::Style;
use crate::top::model::{Model, state};

pub(super) fn draw(
    model: &Model,
    rows: &[&WorkerView],
    style: Style,
    area: Rect,
    frame: &mut Frame<'_>,
) {
    let columns = Column::fitting(area.width, model.sort);
    let head = Row::new(columns.iter().map(|column| {
        let is_sorted = *column == model.sort;
        let look = if is_sorted { style.marked() } else { style.quiet() };
        aligned(*column, Span::styled(column.title(), look))
    }));
    let body = rows.iter().map(|worker| {
        Row::new(columns.iter().map(|column| {
            let look = match (column, state(worker)) {
                (Column::State, "stuck" | "stopped") => style.grave(),
                (Column::State, "serving") => style.plain(),
                (Column::State, _) => style.between(),
                _ => style.plain(),
            };
            aligned(*column, Span::styled(column.text(model, worker), look))
        }))
    });
    let widths = columns.iter().map(|column| Constraint::Length(column.width()));
    let table = Table::new(body, widths).header(head).row_highlight_style(style.selected());
    let mut state = TableState::new().with_selected(model.selected_row(rows));
    frame.render_stateful_widget(table, area, &mut state);
    if rows.is_empty() && area.height > 1 {
        let none = if model.only_attention { "Every worker serves." } else { "No workers." };
        let below = Rect { y: area.y + 1, height: 1, ..area };
        frame.render_widget(Paragraph::new(Span::styled(none, style.quiet())), below);
    }
}

fn aligned(column: Column, span: Span<'_>) -> Cell<'_> {
    let alignment = match column {
        Column::State => Alignment::Left,
        _ => Alignment::Right,
    };
    Cell::new(Line::from(span).alignment(alignment))
}
