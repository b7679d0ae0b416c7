//! What was said before the run, and what came of it.
//!
//! Not here: deciding it (the bench).

use maud::{Markup, html};

use crate::experiment::report::html::view::View;
use crate::experiment::report::schema::Outcome;

/// All predictions as a table; nothing without any.
pub(super) fn predictions(view: &View<'_>) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Predictions" {
            table.predictions {
                caption { "Written before the run. Open: the interval straddles the bound." }
                thead {
                    tr {
                        th scope="col" { "outcome" }
                        th scope="col" { "prediction" }
                        th scope="col" { "found" }
                        th scope="col" { "because" }
                    }
                }
                tbody {
                    @for prediction in &view.report.predictions {
                        @let (class, sign, word) = outcome(prediction.outcome);
                        tr {
                            td {
                                span.badge.(class) {
                                    span aria-hidden="true" { (sign) } " " (word)
                                }
                            }
                            th scope="row" { code { (prediction.text) } }
                            td { (prediction.found) }
                            td { (prediction.because) }
                        }
                    }
                }
            }
        }
    }
}

/// A class, a sign and a word for it.
pub(super) fn outcome(outcome: Outcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        Outcome::Held => ("held", "✓", "Held"),
        Outcome::Failed => ("fell", "✗", "Failed"),
        Outcome::Open => ("open", "?", "Open"),
        Outcome::NotMeasured => ("none", "–", "Not measured"),
    }
}
