//! The load of the node on responses (`--load-header`), for balancers in front of it.
//!
//! Each connection hears each figure once: the first response after the master has told a new one
//! carries it. Of a thousand responses in a second on one connection four do, and yet every balancer
//! hears all there is to hear on each of its connections. The value is made once a figure; what a
//! response without it costs is a load from a cache line that seldom changes.
//!
//! Not here: what a figure says (`fleet`), who tells it (`master::fleet`).

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::board::NodeWords;
use crate::config::{FleetOptions, LoadForm};
use crate::fleet::orca::{self, FIELD_NAMES, LoadMetrics};

/// What a worker knows of the field.
pub(crate) struct LoadField {
    /// None: the node says nothing of itself.
    form: Option<LoadForm>,
    strips: bool,
    /// The value, and the figure that it was made of.
    made: Option<(u32, HeaderValue)>,
}

impl LoadField {
    /// One, where responses are to be looked at at all.
    pub(crate) fn new(options: &FleetOptions) -> Option<Self> {
        let (form, strips) = (options.load_header, options.strips_load_header);
        (form.is_some() || strips).then_some(LoadField { form, strips, made: None })
    }

    /// Puts the field onto a response, unless the connection has had this figure, by its stamp, or
    /// the application's own report stays.
    pub(crate) fn put(&mut self, headers: &mut HeaderMap, told: NodeWords, had: &mut u32) {
        if self.strips {
            for name in FIELD_NAMES {
                headers.remove(name);
            }
        }
        let Some(form) = self.form else { return };
        if told.stamp == *had || told.stamp == 0 {
            return;
        }
        // Readers take one report of a response, or none if there are two.
        if FIELD_NAMES.iter().any(|name| headers.contains_key(*name)) {
            return;
        }
        *had = told.stamp;
        let value = match &self.made {
            Some((stamp, value)) if *stamp == told.stamp => value.clone(),
            Some(_) | None => {
                let metrics = LoadMetrics::from_words(told.first, told.second);
                let text = orca::field_value(form, metrics);
                let Ok(value) = HeaderValue::try_from(text) else { return };
                self.made = Some((told.stamp, value.clone()));
                value
            }
        };
        headers.insert(HeaderName::from_static(orca::field_name(form)), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "endpoint-load-metrics";

    fn field(form: Option<LoadForm>, strips: bool) -> Option<LoadField> {
        let options =
            FleetOptions { load_header: form, strips_load_header: strips, agent_check: None };
        LoadField::new(&options)
    }

    fn told(stamp: u32) -> NodeWords {
        let metrics = LoadMetrics { application_utilization: 0.5, rps_fractional: 10.0, eps: 0.0 };
        let (first, second) = metrics.to_words();
        NodeWords { stamp, first, second }
    }

    fn own() -> HeaderMap {
        HeaderMap::from_iter([(
            HeaderName::from_static(NAME),
            HeaderValue::from_static("TEXT eps=1"),
        )])
    }

    #[test]
    fn each_connection_hears_each_figure_once() {
        let mut field = field(Some(LoadForm::Text), false).unwrap();
        let (mut one, mut other) = (0, 0);
        let mut hears = |had: &mut u32, stamp| {
            let mut headers = HeaderMap::new();
            field.put(&mut headers, told(stamp), had);
            headers.contains_key(NAME)
        };
        assert!(!hears(&mut one, 0), "nothing has been told yet");
        assert!(hears(&mut one, 1));
        assert!(!hears(&mut one, 1));
        assert!(hears(&mut other, 1));
        assert!(hears(&mut one, 2));
    }

    #[test]
    fn an_own_report_stays_or_goes_as_configured() {
        for (form, strips, expected) in [
            (Some(LoadForm::Text), false, Some("TEXT eps=1")),
            (
                Some(LoadForm::Text),
                true,
                Some("TEXT rps_fractional=10.0000,eps=0.0000,application_utilization=0.5000"),
            ),
            (None, true, None),
        ] {
            let (mut headers, mut had) = (own(), 0);
            field(form, strips).unwrap().put(&mut headers, told(3), &mut had);
            let value = headers.get(NAME).map(|value| value.to_str().unwrap());
            assert_eq!(value, expected);
        }
        assert!(field(None, false).is_none(), "nothing to do costs nothing");
    }
}
