//! How things look, with colours and without: whatever colour says, weight or reversal says too.
//!
//! Not here: what is grave (`trouble`).

use ratatui::style::{Color, Modifier, Style as Look};

/// With colours, or without (`NO_COLOR`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) has_colour: bool,
}

impl Style {
    fn coloured(self, look: Look, colour: Color) -> Look {
        if self.has_colour { look.fg(colour) } else { look }
    }

    pub(super) fn plain(self) -> Look {
        Look::new()
    }

    pub(super) fn bold(self) -> Look {
        Look::new().add_modifier(Modifier::BOLD)
    }

    /// Names of figures, and what is only there for order.
    pub(super) fn quiet(self) -> Look {
        Look::new().add_modifier(Modifier::DIM)
    }

    /// Somebody should look now.
    pub(super) fn grave(self) -> Look {
        self.coloured(Look::new().add_modifier(Modifier::BOLD | Modifier::REVERSED), Color::Red)
    }

    pub(super) fn good(self) -> Look {
        self.coloured(Look::new().add_modifier(Modifier::BOLD), Color::Green)
    }

    /// Neither serving nor in trouble.
    pub(super) fn between(self) -> Look {
        self.coloured(Look::new().add_modifier(Modifier::ITALIC), Color::Yellow)
    }

    /// The column that is sorted by, and keys.
    pub(super) fn marked(self) -> Look {
        Look::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// The selected row.
    pub(super) fn selected(self) -> Look {
        Look::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn curve(self) -> Look {
        self.coloured(Look::new(), Color::Cyan)
    }
}
