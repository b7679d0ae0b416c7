//! The log: events of `tracing` as lines of text or JSON, with one identity everywhere; on stderr,
//! unless it is told to go elsewhere.
//!
//! ```text
//! 2026-11-23T08:52:10.123Z INFO  listening on http://127.0.0.1:8000 master=40
//! 2026-11-23T08:52:10.140Z WARN  request refused reason="bare LF" worker=3 gen=7 pid=41
//! {"time":"…","level":"WARN","target":"maitred::worker","message":"request refused","worker":3,
//!  "gen":7,"pid":41,"fields":{"reason":"bare LF"}}
//! ```
//! (the object on one line).
//!
//! A line of the master ends with `master=PID`, so that a line *about* a worker can carry `worker`,
//! `gen` and `pid` of that one. All text is escaped: an event is a line, whatever a client sent.
//! Colours only where it goes to a terminal and NO_COLOR is not set (no-color.org). Daemons have the
//! time of a line already: for them it is left out of the text.
//!
//! It is a layer of its own instead of the one in `tracing_subscriber::fmt`, because that one
//! writes to stderr in the calling thread, and reports errors of stderr on stderr.
//!
//! Not here: the form of a line (`log_line`), waiting for a slow reader (`lossy`), where lines end
//! (`sink`), the access log (`access`).

use std::fmt;
use std::io::{self, IsTerminal};
use std::panic;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LOG_BUFFER_SIZE_MAX, LOG_FLUSH_MAX, LogDestination, Owner};
use crate::ident::Incarnation;
use crate::observe::log_line::{Fields, Form, Line};
use crate::observe::lossy::{Habits, LossyWriter};
use crate::observe::sink::{self, Severity};

/// How a process logs.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where the lines go.
    pub to: LogDestination,
    /// Text or JSON.
    pub format: Format,
    /// What is worth a line.
    pub filter: Filter,
}

impl Default for Options {
    fn default() -> Self {
        let (format, filter) = (Format::default(), Filter::default());
        Options { to: LogDestination::Stderr, format, filter }
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, message, `name=value`.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// What is worth a line: a level, or levels by target.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Targets);

/// Which process a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// The master, by its pid.
    Master {
        /// Its process id.
        pid: u32,
    },
    /// The helper that operators talk to, by its pid.
    Helper {
        /// Its process id.
        pid: u32,
    },
    /// A worker.
    Worker {
        /// Its slot and generation.
        incarnation: Incarnation,
        /// Its process id.
        pid: u32,
    },
}

/// Keeps the log going; its end waits, for a bounded time, until the last lines are written.
#[must_use = "lines of the last moments are lost without it"]
#[derive(Debug)]
pub struct Log {
    writer: LossyWriter,
    /// None where an embedding program has a subscriber of its own.
    filter: Option<FilterHandle>,
}

/// By what the filter of a log is changed while it is in use, from any thread.
#[derive(Clone, Debug)]
pub struct FilterHandle(reload::Handle<Targets, Registry>);

impl Filter {
    /// `warn`, or directives: `warn,maitred::master=debug`. The message names the levels.
    pub fn parse(text: &str) -> Result<Filter, String> {
        const REFUSAL: &str =
            "must be off, error, warn, info, debug or trace, or a list as in warn,maitred=debug";
        // What Uvicorn and Gunicorn call them; `critical` is the highest level that there is.
        let text = match text {
            "warning" => "warn",
            "critical" => "error",
            other => other,
        };
        // A single word that is no level would pass as the name of a target, with all its events:
        // `--log-level verbose` would mean nothing that anybody has in mind.
        let understood = text.split(',').all(|directive| {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
            LevelFilter::from_str(level.trim()).is_ok() && !level.trim().is_empty()
        });
        if !understood {
            return Err(REFUSAL.to_owned());
        }
        Targets::from_str(text).map(Filter).map_err(|_| REFUSAL.to_owned())
    }
}

impl FilterHandle {
    /// From now on other events are worth a line.
    ///
    /// # Errors
    /// Why it stays as it is.
    pub fn set(&self, filter: Filter) -> Result<(), String> {
        self.0.reload(filter.0).map_err(|error| error.to_string())
    }
}

impl Default for Filter {
    fn default() -> Self {
        Filter(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl Log {
    /// Lines dropped because the reader of stderr was too slow.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// What changes its filter; none where an embedding program has a subscriber of its own.
    pub fn filter(&self) -> Option<FilterHandle> {
        self.filter.clone()
    }

    /// Waits for the lines so far, for a bounded time; says whether they are written.
    pub fn flush(&self) -> bool {
        self.writer.flush(LOG_FLUSH_MAX)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts the log of this process, panics included. An embedding program that has
/// installed a subscriber of its own keeps it.
///
/// Call it once, after everything that must come before the first thread.
pub fn start(options: Options, owner: Owner, process: Process) -> io::Result<Log> {
    let is_terminal = match &options.to {
        LogDestination::Stderr => io::stderr().is_terminal(),
        LogDestination::Stdout => io::stdout().is_terminal(),
        LogDestination::File(_)
        | LogDestination::Syslog { .. }
        | LogDestination::Journald { .. } => false,
    };
    let color = is_terminal
        && !is_set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
    let timed =
        !matches!(options.to, LogDestination::Syslog { .. } | LogDestination::Journald { .. });
    let sink = sink::open(&options.to, owner)?;
    let writer = LossyWriter::start_with(habits(options.format), sink)?;
    let form = Form { format: options.format, color, timed };
    let layer = LineLayer { form, process, writer: writer.clone() };
    let (filter, handle) = reload::Layer::new(options.filter.0);
    let installed = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    if installed.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    let filter = installed.is_ok().then_some(FilterHandle(handle));
    Ok(Log { writer, filter })
}

fn habits(format: Format) -> Habits {
    Habits {
        name: "log",
        size_max: LOG_BUFFER_SIZE_MAX,
        // A line of the log is written at once: it may be the last one.
        rest: Duration::ZERO,
        notice: Box::new(move |dropped, _| {
            let line = match format {
                Format::Text => format!("... {dropped} lines dropped\n"),
                Format::Json => {
                    format!("{{\"message\":\"lines dropped\",\"dropped\":{dropped}}}\n")
                }
            };
            Some(line.into_bytes())
        }),
        notice_pause: Duration::ZERO,
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// A panic is an event like others: escaped, with identity, and without waiting for stderr.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let literal = payload.downcast_ref::<&str>().copied();
    let payload =
        literal.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(not a text)");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(thread, location, "panicked: {payload}");
}

/// Makes lines of events and leaves them to the writer.
struct LineLayer {
    form: Form,
    process: Process,
    writer: LossyWriter,
}

/// A span's fields, rendered once.
struct SpanFields(Fields);

impl<S> Layer<S> for LineLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::new(self.form.format);
        attributes.record(&mut fields);
        span.extensions_mut().insert(SpanFields(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(SpanFields(fields)) = span.extensions_mut().get_mut() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new(self.form.format);
        event.record(&mut fields);
        let mut line = Line::new(self.form);
        let metadata = event.metadata();
        line.begin(SystemTime::now(), *metadata.level(), metadata.target(), &fields);
        line.identity(self.process);
        if let Some(scope) = context.event_scope(event) {
            for span in scope.from_root() {
                if let Some(SpanFields(fields)) = span.extensions().get() {
                    line.span(span.name(), fields);
                }
            }
        }
        self.writer.write_line(line.end().as_bytes(), severity(*metadata.level()));
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        _ => Severity::Debug,
    }
}

impl fmt::Debug for LineLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineLayer").field("form", &self.form).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tracing::subscriber::with_default;

    use super::*;
    use crate::ident::{Generation, Slot};

    const WORKER: Process = Process::Worker {
        incarnation: Incarnation { slot: Slot(3), generation: Generation(7) },
        pid: 41,
    };

    /// All that the events of `body` write.
    fn logged_whole(format: Format, process: Process, filter: &str, body: impl FnOnce()) -> String {
        let (mut reader, sink) = io::pipe().unwrap();
        let writer = LossyWriter::start("test", sink, 1 << 20).unwrap();
        let form = Form { format, color: false, timed: true };
        let layer = LineLayer { form, process, writer };
        let filter = Filter::parse(filter).unwrap();
        with_default(tracing_subscriber::registry().with(layer.with_filter(filter.0)), body);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    /// What the events of `body` look like, without their times.
    fn logged(format: Format, process: Process, filter: &str, body: impl FnOnce()) -> Vec<String> {
        let text = logged_whole(format, process, filter, body);
        let time = match format {
            Format::Text => 0..25,
            Format::Json => 0..35,
        };
        text.lines().map(|line| line[time.end..].to_owned()).collect()
    }

    #[test]
    fn a_line_of_text_has_level_message_fields_and_identity() {
        let lines = logged(Format::Text, WORKER, "info", || {
            tracing::info!(count = 3, ratio = 0.5, on = true, name = "a b", "it is {}", "so");
            tracing::warn!(error = %"bare LF", path = ?std::path::Path::new("/a"), "refused");
            tracing::debug!("not asked for");
        });
        assert_eq!(
            lines,
            [
                "INFO  it is so count=3 ratio=0.5 on=true name=\"a b\" worker=3 gen=7 pid=41",
                "WARN  refused error=\"bare LF\" path=\"\\\"/a\\\"\" worker=3 gen=7 pid=41",
            ]
        );
    }

    #[test]
    fn the_masters_line_can_speak_of_a_worker() {
        let lines = logged(Format::Text, Process::Master { pid: 40 }, "info", || {
            tracing::info!(worker = 3, gen = 7, pid = 41, "ready");
        });
        assert_eq!(lines, ["INFO  ready worker=3 gen=7 pid=41 master=40"]);
    }

    #[test]
    fn json_has_the_same_in_an_object() {
        let lines = logged(Format::Json, WORKER, "info", || {
            tracing::error!(count = -3, big = u64::MAX, nan = f64::NAN, on = false, "a \"b\"");
            tracing::info!(target: "elsewhere", "");
        });
        assert_eq!(
            lines,
            [
                "\"level\":\"ERROR\",\"target\":\"maitred::observe::logging::tests\",\
                 \"message\":\"a \\\"b\\\"\",\"worker\":3,\"gen\":7,\"pid\":41,\"fields\":\
                 {\"count\":-3,\"big\":18446744073709551615,\"nan\":\"NaN\",\"on\":false}}",
                "\"level\":\"INFO\",\"target\":\"elsewhere\",\"message\":\"\",\"worker\":3,\"gen\":7,\
                 \"pid\":41}",
            ]
        );
    }

    #[test]
    fn spans_lend_their_fields() {
        let body = || {
            let span = tracing::info_span!("connection", peer = "a", late = tracing::field::Empty);
            let _entered = span.enter();
            span.record("late", 5);
            tracing::info!(status = 200, "done");
        };
        assert_eq!(
            logged(Format::Text, Process::Master { pid: 1 }, "info", body),
            ["INFO  done status=200 connection{peer=a late=5} master=1"]
        );
        assert!(logged(Format::Json, Process::Master { pid: 1 }, "info", body)[0].ends_with(
            "\"master\":1,\"fields\":{\"status\":200},\"spans\":[{\"name\":\"connection\",\
             \"fields\":{\"peer\":\"a\",\"late\":5}}]}"
        ));
    }

    #[test]
    fn no_request_can_forge_a_line_or_move_a_cursor() {
        let hostile = "/\u{1b}[2J\r\n2026 ERROR fake worker=9 \u{9b}31m\u{202e}\"";
        for format in [Format::Text, Format::Json] {
            let lines = logged(format, WORKER, "info", || {
                tracing::info!(target = hostile, display = %hostile, debug = ?hostile, "{hostile}");
                let span = tracing::info_span!("s", hostile);
                span.in_scope(|| tracing::info!("inside"));
            });
            assert_eq!(lines.len(), 2, "{lines:?}");
            for line in &lines {
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(!line.contains('\u{202e}'), "{line:?}");
            }
        }
        // In text the message is bare, but each field stands in quotes that cannot be closed.
        let lines = logged(Format::Text, WORKER, "info", || {
            tracing::info!(display = %"a\" worker=9 \"", "x");
        });
        assert_eq!(lines, ["INFO  x display=\"a\\\" worker=9 \\\"\" worker=3 gen=7 pid=41"]);
    }

    #[test]
    fn a_long_value_is_cut() {
        let long = "a".repeat(100_000);
        for format in [Format::Text, Format::Json] {
            let lines = logged(format, WORKER, "info", || {
                tracing::info!(text = long, display = %long, debug = ?long, "{long}");
            });
            assert!(lines[0].len() < 17_000, "{}", lines[0].len());
            assert!(lines[0].contains("a…"), "{format:?}");
        }
    }

    #[test]
    fn a_traceback_keeps_its_lines_behind_the_line() {
        let traceback = "Traceback:\n  File \"a.py\"\nValueError: \u{1b}[2Jno\n";
        let body = || tracing::error!(traceback, path = "/", "it failed");
        let text = logged_whole(Format::Text, WORKER, "info", body);
        let (_, line) = text.split_once(" ERROR ").unwrap();
        assert_eq!(
            line,
            "it failed path=/ worker=3 gen=7 pid=41\n    Traceback:\n      File \"a.py\"\n    \
             ValueError: \\u{1b}[2Jno\n",
        );
        let json = logged(Format::Json, WORKER, "info", body);
        assert!(json[0].contains("\"traceback\":\"Traceback:\\n  File \\\"a.py"), "{json:?}");
        assert_eq!(json.len(), 1);
    }

    #[test]
    fn of_a_long_traceback_the_end_is_kept() {
        let traceback = format!("{}\nValueError: no", "frame\u{e9}\n".repeat(10_000));
        let text = logged_whole(Format::Text, WORKER, "info", || tracing::error!(traceback, "so"));
        assert!(text.ends_with("\n    ValueError: no\n"), "{text}");
        assert!(text.len() < 60_000 && text.contains('…'), "{}", text.len());
    }

    #[test]
    fn filters_are_levels_or_lists() {
        for text in [
            "off",
            "error",
            "WARN",
            "warning",
            "critical",
            "warn,maitred::master=debug",
            "maitred=trace, info",
        ] {
            assert!(Filter::parse(text).is_ok(), "{text}");
        }
        for text in ["", "verbose", "info,verbose", "maitred=loud", "maitred=", "info,,warn", ","] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
        let lines = logged(Format::Text, WORKER, "warn,chosen=debug", || {
            tracing::info!("not this");
            tracing::debug!(target: "chosen", "this");
        });
        assert_eq!(lines, ["DEBUG this target=chosen worker=3 gen=7 pid=41"]);
    }
}
