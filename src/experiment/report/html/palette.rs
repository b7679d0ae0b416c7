//! How an arm looks, everywhere on the page: a colour (by class, so that the scheme decides), a row
//! of dashes and a mark. Two arms that share a colour differ in the others.
//!
//! Not here: the colours themselves (`page.css`).

use maud::{Markup, html};

/// As many as `page.css` has: more are not told apart.
const COLOURS: usize = 8;

/// Lengths of dashes and gaps; the first is a whole line.
const DASHES: [&str; 6] = ["none", "7 3", "2 2.5", "9 3 2 3", "4 2", "12 4"];

/// Marks around the origin, about nine units wide.
const MARKS: [&str; 7] = [
    "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
    "M-3.6 -3.6H3.6V3.6H-3.6Z",
    "M0 -4.6L4.4 3.4H-4.4Z",
    "M0 -5L4.6 0L0 5L-4.6 0Z",
    "M0 4.6L4.4 -3.4H-4.4Z",
    "M-4.2 -1.5H-1.5V-4.2H1.5V-1.5H4.2V1.5H1.5V4.2H-1.5V1.5H-4.2Z",
    "M-4.6 -2L0 -5L4.6 -2L2.9 4H-2.9Z",
];

/// The look of the arm at this place of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look(pub(super) usize);

impl Look {
    /// Sets the colour of lines, fills and marks within.
    pub(super) fn class(self) -> String {
        format!("arm arm-{}", self.0 % COLOURS)
    }

    /// For `stroke-dasharray`.
    pub(super) fn dashes(self) -> &'static str {
        // The lengths of both rows have no common factor with each other or with the colours'
        // but two, so that it takes 168 arms until two look the same.
        DASHES[self.0 % DASHES.len()]
    }

    /// The `d` of its mark, around the origin.
    pub(super) fn mark(self) -> &'static str {
        MARKS[self.0 % MARKS.len()]
    }

    /// A piece of its line with its mark, beside its name.
    pub(super) fn swatch(self) -> Markup {
        html! {
            svg class={ "swatch " (self.class()) } viewBox="0 0 30 12" aria-hidden="true" {
                path class="line" d="M1 6H29" stroke-dasharray=(self.dashes()) {}
                path class="mark" d=(self.mark()) transform="translate(15 6)" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_of_the_first_hundred_arms_look_the_same() {
        let looks = (0..100).map(Look).map(|look| (look.class(), look.dashes(), look.mark()));
        assert_eq!(looks.collect::<BTreeSet<_>>().len(), 100);
    }
}
