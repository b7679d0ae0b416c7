//! A frame of any size: what there is no room for is left out, least wanted first.
//!
//! ```text
//! title, headline                      always
//! way, pace, account, rules            from 20 lines on
//! table of workers                     always
//! the selected worker, events          from 20 lines on
//! keys                                 always
//! ```
//!
//! Not here: what is drawn (`model`, `columns`, `trouble`).

mod around;
mod detail;
mod help;
mod style;
mod table;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};

use crate::top::model::Model;
use crate::top::trouble::headline;
use style::Style;

/// Lines from which on there is room for more than the table.
const ROOMY_LINES: u16 = 20;

/// Lines of the selected worker, with its frame.
const DETAIL_LINES: u16 = 6;

/// Draws everything that the model knows.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let style = Style { has_colour: model.has_colour };
    let is_roomy = area.height >= ROOMY_LINES;
    let rows = model.rows();
    let around = if is_roomy { 4 } else { 0 };
    // The table is as high as its workers, if that leaves something for the rest.
    let wanted = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(1);
    let left = area.height.saturating_sub(2 + around + 1);
    let beneath = if is_roomy { DETAIL_LINES + 4 } else { 0 };
    let table = if is_roomy && !model.shows_events {
        wanted.clamp(5, left.saturating_sub(beneath).max(5))
    } else if is_roomy {
        5
    } else {
        left
    };
    let heights = [2, around, table, if is_roomy { DETAIL_LINES } else { 0 }];
    let constraints = heights.map(Constraint::Length);
    let mut constraints = constraints.to_vec();
    constraints.extend([Constraint::Fill(1), Constraint::Length(1)]);
    let areas = Layout::vertical(constraints).split(area);

    around::draw_title(model, &headline(model), style, areas[0], frame);
    if is_roomy {
        around::draw_numbers(model, style, areas[1], frame);
    }
    table::draw(model, &rows, style, areas[2], frame);
    if is_roomy {
        detail::draw(model, &rows, style, areas[3], frame);
        around::draw_events(model, style, areas[4], frame);
    }
    around::draw_keys(model, style, areas[5], frame);
    if model.shows_help {
        help::draw(style, area, frame);
    }
}
