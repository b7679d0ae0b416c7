//! One event as one line, in text or JSON: pure, into a string.
//!
//! A line is built from left to right: [`Line::begin`], [`Line::identity`], any number of
//! [`Line::span`], [`Line::end`]. Values are cut at [`LOG_VALUE_SIZE_MAX`] while they are
//! formatted, so that a line has a bound whatever is in it.
//!
//! A field called `traceback` is for people who look for a mistake: in text it follows its line as
//! it is, indented, which no line of the log ever is.
//!
//! Not here: where it goes (`logging`, `lossy`), what is harmful in a text (`escape`).

use std::fmt::{self, Write};
use std::time::SystemTime;

use tracing::Level;
use tracing::field::{Field, Visit};

use crate::config::{LOG_TRACEBACK_SIZE_MAX, LOG_VALUE_SIZE_MAX};
use crate::observe::calendar::{Rfc3339, Utc};
use crate::observe::escape::{self, Bounded};
use crate::observe::logging::{Format, Process};

/// What lines of one log have in common.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Text or JSON.
    pub format: Format,
    /// Whether time and level have colours.
    pub color: bool,
    /// Whether text begins with the time.
    pub timed: bool,
}

/// A line that is being built.
pub struct Line {
    form: Form,
    text: String,
    /// What comes behind the identity: ` name=value` of the event, or `,"fields":{…}`.
    event_fields: String,
    traceback: String,
    spans: String,
    process: Option<Process>,
}

/// The fields of an event or a span, rendered: ` name=value` or `"name":value`, and the message
/// apart.
pub struct Fields {
    format: Format,
    message: String,
    text: String,
    /// Of text alone: a line end and an indented line, for each.
    traceback: String,
}

impl Line {
    /// An empty line.
    pub fn new(form: Form) -> Self {
        Line {
            form,
            text: String::with_capacity(256),
            event_fields: String::new(),
            traceback: String::new(),
            spans: String::new(),
            process: None,
        }
    }

    /// Time, level, origin and what the event says.
    pub fn begin(&mut self, time: SystemTime, level: Level, target: &str, fields: &Fields) {
        let time = Rfc3339(Utc::from(time));
        // Writing to a String cannot fail, here and below.
        match self.form.format {
            Format::Text => {
                let (dim, level_color, reset) = match (self.form.color, level) {
                    (false, _) => ("", "", ""),
                    (true, Level::ERROR) => ("\x1b[2m", "\x1b[1;31m", "\x1b[0m"),
                    (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
                    (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
                    (true, _) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
                };
                if self.form.timed {
                    let _ = write!(self.text, "{dim}{time}{reset} ");
                }
                let _ = write!(self.text, "{level_color}{level:<5}{reset} ");
                self.text.push_str(&fields.message);
                self.event_fields.push_str(&fields.text);
                self.traceback.push_str(&fields.traceback);
                // Our own rooms are told by their messages; other crates' are not.
                if !target.starts_with(env!("CARGO_CRATE_NAME")) {
                    self.event_fields.push_str(" target=");
                    escape::value(target, &mut self.event_fields);
                }
            }
            Format::Json => {
                let _ =
                    write!(self.text, "{{\"time\":\"{time}\",\"level\":\"{level}\",\"target\":");
                escape::json(target, &mut self.text);
                self.text.push_str(",\"message\":");
                match fields.message.is_empty() {
                    true => self.text.push_str("\"\""),
                    false => self.text.push_str(&fields.message),
                }
                if !fields.text.is_empty() {
                    let _ = write!(self.event_fields, ",\"fields\":{{{}}}", fields.text);
                }
            }
        }
    }

    /// Which process says it.
    pub fn identity(&mut self, process: Process) {
        self.process = Some(process);
    }

    /// The next span around it, from the outermost.
    pub fn span(&mut self, name: &str, fields: &Fields) {
        match self.form.format {
            Format::Text => {
                self.spans.push(' ');
                escape::value(name, &mut self.spans);
                let _ = write!(self.spans, "{{{}}}", fields.text.trim_start());
            }
            Format::Json => {
                self.spans.push_str(if self.spans.is_empty() { ",\"spans\":[" } else { "," });
                self.spans.push_str("{\"name\":");
                escape::json(name, &mut self.spans);
                let _ = write!(self.spans, ",\"fields\":{{{}}}}}", fields.text);
            }
        }
    }

    /// The whole line, with its newline.
    pub fn end(self) -> String {
        let Line { form, mut text, event_fields, traceback, spans, process } = self;
        match form.format {
            Format::Text => {
                text.push_str(&event_fields);
                text.push_str(&spans);
                let _ = match process {
                    Some(Process::Master { pid }) => write!(text, " master={pid}"),
                    Some(Process::Helper { pid }) => write!(text, " helper={pid}"),
                    Some(Process::Worker { incarnation, pid }) => write!(
                        text,
                        " worker={} gen={} pid={pid}",
                        incarnation.slot, incarnation.generation
                    ),
                    None => Ok(()),
                };
                text.push_str(&traceback);
                text.push('\n');
            }
            Format::Json => {
                let _ = match process {
                    Some(Process::Master { pid }) => write!(text, ",\"master\":{pid}"),
                    Some(Process::Helper { pid }) => write!(text, ",\"helper\":{pid}"),
                    Some(Process::Worker { incarnation, pid }) => write!(
                        text,
                        ",\"worker\":{},\"gen\":{},\"pid\":{pid}",
                        incarnation.slot, incarnation.generation
                    ),
                    None => Ok(()),
                };
                text.push_str(&event_fields);
                if !spans.is_empty() {
                    text.push_str(&spans);
                    text.push(']');
                }
                text.push_str("}\n");
            }
        }
        text
    }
}

impl Fields {
    /// None so far.
    pub fn new(format: Format) -> Self {
        Fields { format, message: String::new(), text: String::new(), traceback: String::new() }
    }

    fn name(&mut self, field: &Field) {
        // A raw identifier (`r#type`) is written as it is meant.
        let name = field.name().trim_start_matches("r#");
        match self.format {
            Format::Text => {
                self.text.push(' ');
                escape::message(name, &mut self.text);
                self.text.push('=');
            }
            Format::Json => {
                if !self.text.is_empty() {
                    self.text.push(',');
                }
                escape::json(name, &mut self.text);
                self.text.push(':');
            }
        }
    }

    /// A number or a switch: the same in both formats.
    fn bare(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.name(field);
        let _ = self.text.write_fmt(value);
    }

    fn traceback(&mut self, field: &Field, value: &str) {
        let mut start = value.len().saturating_sub(LOG_TRACEBACK_SIZE_MAX);
        let ellipsis = if start > 0 { "…" } else { "" };
        while !value.is_char_boundary(start) {
            start += 1;
        }
        let value = format!("{ellipsis}{}", &value[start..]);
        match self.format {
            Format::Text => {
                for line in value.lines() {
                    self.traceback.push_str("\n    ");
                    escape::message(line, &mut self.traceback);
                }
            }
            Format::Json => {
                self.name(field);
                escape::json(&value, &mut self.text);
            }
        }
    }

    fn any_text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let value = Bounded::format(LOG_VALUE_SIZE_MAX, value);
        if field.name() == "message" {
            match self.format {
                Format::Text => escape::message(&value, &mut self.message),
                Format::Json => escape::json(&value, &mut self.message),
            }
            return;
        }
        self.name(field);
        match self.format {
            Format::Text => escape::value(&value, &mut self.text),
            Format::Json => escape::json(&value, &mut self.text),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.bare(field, format_args!("{value}")),
            // JSON has no word for these (RFC 8259 section 6).
            false => self.any_text(field, format_args!("{value}")),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "traceback" {
            return self.traceback(field, value);
        }
        self.any_text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.any_text(field, format_args!("{}", crate::exit::Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.any_text(field, format_args!("{value:?}"));
    }
}
