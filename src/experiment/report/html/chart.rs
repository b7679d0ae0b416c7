//! A plot of lines over two axes, an arm a line, as embedded SVG.
//!
//! Not here: what the lines show (`curves`, `timelines`).

use maud::{Markup, html};

use crate::experiment::report::format::shortened;
use crate::experiment::report::html::palette::Look;
use crate::experiment::report::html::path::{At, line};
use crate::experiment::report::html::scale::Scale;

const WIDTH: f64 = 660.0;
const HEIGHT: f64 = 340.0;

/// Where the first axis begins and ends.
pub(super) const ACROSS: (f64, f64) = (70.0, 524.0);

/// Where the second begins, below, and ends.
pub(super) const UPWARDS: (f64, f64) = (290.0, 14.0);

/// Names at the ends of lines have as much room as this.
const NAME_CHARACTERS_MAX: usize = 15;

/// Between two names, from line to line.
const NAME_HEIGHT: f64 = 14.0;

/// More names than fit one above the other are left to the legend.
const NAMES_MAX: usize = 18;

/// A plot.
pub(super) struct Chart<'a> {
    /// Unique in the page: what is within takes its own ids from it.
    pub(super) id: String,
    pub(super) title: String,
    /// What a reader who does not see it should know.
    pub(super) description: String,
    pub(super) x: Axis<'a>,
    pub(super) y: Axis<'a>,
    pub(super) lines: Vec<Line<'a>>,
}

/// An axis and its ticks.
pub(super) struct Axis<'a> {
    pub(super) scale: Scale,
    pub(super) name: &'a str,
    /// Values, and how they are written.
    pub(super) ticks: Vec<(f64, String)>,
}

/// A line of a plot.
pub(super) struct Line<'a> {
    pub(super) look: Look,
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
    /// Points that stand out, and what they say.
    pub(super) marks: Vec<((f64, f64), String)>,
}

impl Chart<'_> {
    pub(super) fn svg(&self) -> Markup {
        let (title, description) = (format!("{}-title", self.id), format!("{}-text", self.id));
        html! {
            div.plot tabindex="0" role="group" aria-label=(self.title) {
                svg.chart id=(self.id) viewBox={ "0 0 " (At(WIDTH)) " " (At(HEIGHT)) } role="img"
                    aria-labelledby={ (title) " " (description) } {
                    title id=(title) { (self.title) }
                    desc id=(description) { (self.description) }
                    (self.axes())
                    @for line in &self.lines { (self.line(line)) }
                    (self.names())
                }
            }
        }
    }

    fn axes(&self) -> Markup {
        html! {
            g.axis {
                @for (value, label) in &self.y.ticks {
                    @let y = At(self.y.scale.place(*value));
                    path.rule d={ "M" (At(ACROSS.0)) " " (y) "H" (At(ACROSS.1)) } {}
                    text x=(At(ACROSS.0 - 7.0)) y=(y) dy="0.34em" text-anchor="end" { (label) }
                }
                @for (value, label) in &self.x.ticks {
                    @let x = At(self.x.scale.place(*value));
                    path.rule d={ "M" (x) " " (At(UPWARDS.0)) "V" (At(UPWARDS.1)) } {}
                    text x=(x) y=(At(UPWARDS.0 + 17.0)) text-anchor="middle" { (label) }
                }
                path.foot d={ "M" (At(ACROSS.0)) " " (At(UPWARDS.0)) "H" (At(ACROSS.1)) } {}
                text.name x=(At(ACROSS.0.midpoint(ACROSS.1))) y=(At(UPWARDS.0 + 38.0))
                    text-anchor="middle" { (self.x.name) }
                text.name transform={ "translate(13 " (At(UPWARDS.0.midpoint(UPWARDS.1)))
                    ") rotate(-90)" } text-anchor="middle" { (self.y.name) }
            }
        }
    }

    fn places<'b>(&'b self, line: &'b Line<'_>) -> impl Iterator<Item = (f64, f64)> + 'b {
        line.points.iter().map(|&point| self.place(point))
    }

    /// A point that is no number keeps that: the line is interrupted there.
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let at = |scale: &Scale, value: f64| {
            if value.is_nan() { f64::NAN } else { scale.place(value) }
        };
        (at(&self.x.scale, x), at(&self.y.scale, y))
    }

    fn line(&self, line_of_arm: &Line<'_>) -> Markup {
        let look = line_of_arm.look;
        let path = line(self.places(line_of_arm));
        html! {
            @if !path.is_empty() {
                g class={ (look.class()) " of-" (look.0) } {
                    path.line d=(path) stroke-dasharray=(look.dashes()) {
                        title { (line_of_arm.name) }
                    }
                    @for (point, says) in &line_of_arm.marks {
                        @let place = self.place(*point);
                        path.mark d=(look.mark())
                            transform={ "translate(" (At(place.0)) " " (At(place.1)) ")" } {
                            title { (line_of_arm.name) ": " (says) }
                        }
                    }
                }
            }
        }
    }

    /// Each line's name at its end, moved up or down as far as others need.
    fn names(&self) -> Markup {
        let mut ends: Vec<(f64, &Line<'_>)> = Vec::new();
        for line in &self.lines {
            let end = self.places(line).filter(|place| place.0.is_finite() && place.1.is_finite());
            ends.extend(end.last().map(|place| (place.1, line)));
        }
        if ends.len() > NAMES_MAX {
            return html! {};
        }
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        let wanted: Vec<f64> = ends.iter().map(|(y, _)| *y).collect();
        let heights = apart(&wanted, NAME_HEIGHT, (UPWARDS.1, UPWARDS.0));
        html! {
            @for ((end, line), y) in ends.iter().zip(heights) {
                g class={ (line.look.class()) " of-" (line.look.0) } {
                    path.leader d={ "M" (At(ACROSS.1 + 2.0)) " " (At(*end)) "L"
                        (At(ACROSS.1 + 10.0)) " " (At(y)) } {}
                    text.label x=(At(ACROSS.1 + 13.0)) y=(At(y)) dy="0.34em" {
                        (shortened(line.name, NAME_CHARACTERS_MAX))
                    }
                }
            }
        }
    }
}

/// Places as near as can be to those wanted (ascending), no two nearer than `gap`, and as many as
/// fit between the borders.
fn apart(wanted: &[f64], gap: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut places = Vec::with_capacity(wanted.len());
    let mut least = low;
    for &place in wanted {
        let place = place.max(least);
        places.push(place);
        least = place + gap;
    }
    let mut most = high;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_make_room_for_each_other() {
        assert_eq!(apart(&[10.0, 50.0], 14.0, (0.0, 100.0)), [10.0, 50.0]);
        assert_eq!(apart(&[10.0, 11.0, 12.0], 14.0, (0.0, 100.0)), [10.0, 24.0, 38.0]);
        assert_eq!(apart(&[98.0, 99.0], 14.0, (0.0, 100.0)), [86.0, 100.0]);
        assert!(apart(&[], 14.0, (0.0, 100.0)).is_empty());
    }

    fn chart(points: Vec<(f64, f64)>) -> String {
        let axis = |range| Axis {
            scale: Scale::linear([1.0].into_iter(), range),
            name: "axis",
            ticks: vec![(0.0, "0".to_owned())],
        };
        let chart = Chart {
            id: "c".to_owned(),
            title: "t".to_owned(),
            description: "d".to_owned(),
            x: axis(ACROSS),
            y: axis(UPWARDS),
            lines: vec![Line { look: Look(0), name: "arm", points, marks: Vec::new() }],
        };
        chart.svg().into_string()
    }

    #[test]
    fn nothing_one_point_and_what_is_no_number() {
        assert!(!chart(Vec::new()).contains("class=\"line\""));
        assert!(!chart(vec![(f64::NAN, 1.0)]).contains("class=\"line\""));
        assert!(chart(vec![(0.5, 0.5)]).contains("class=\"line\""));
        let all = chart(vec![(0.0, f64::INFINITY), (f64::NEG_INFINITY, 0.5), (0.1, f64::NAN)]);
        assert!(!all.contains("NaN") && !all.contains("inf"), "{all}");
    }
}
