//! From what was typed to what is meant: [`RawServe`] and the environment into [`Settings`].
//!
//! Pure: variables, host names and the number of cores come with [`Surroundings`], so that tests
//! hold them in their hand. Every fault is collected; who has three typing errors hears of three.
//!
//! Not here: the parsers (`values`, `addresses`), which address wins (`binds`), what ends a worker's
//! life (`lives`), who accepts (`arms`), how many workers (`scale`), who workers are (`guard`), what
//! balancers are told (`fleet`), where logs go (`logs`), Python (`python`).

mod admin;
mod arms;
mod fleet;
mod guard;
mod lives;
mod logs;
mod python;
mod scale;

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::addresses::Lookup;
use crate::cli::binds;
use crate::cli::config_file::ConfigFile;
use crate::cli::faults::{Faults, Given, Reader, Variables, variable_of};
use crate::cli::raw::{self, RawServe};
use crate::cli::values::{self, Refusal};
use crate::config::{
    self, App, Balance, ConfigText, HttpLimits, Lifecycle, ListenOptions, Rebalance, Settings,
};
use crate::observe::logging;
use crate::sys::listener::SystemdSocket;

pub use guard::{Accounts, GroupLookup, UserLookup};

/// `--timeout` where handlers run on the loop: a turn that long starves every connection of the
/// worker. Gunicorn's and Uvicorn's workers have the same 30 s.
pub const TIMEOUT_ON_LOOP: Duration = Duration::from_secs(30);

/// What the command line cannot know by itself.
pub struct Surroundings<'a> {
    /// Reads one variable of the environment.
    pub variables: Variables<'a>,
    /// Asks for the addresses of a host name.
    pub lookup: Lookup<'a>,
    /// The configuration file, if there is one.
    pub config: Option<ConfigText>,
    /// Asks for users and groups.
    pub accounts: Accounts<'a>,
    /// Cores that this process may use, cgroup limits included.
    pub cores: usize,
    /// Listening sockets that systemd passed (sd_listen_fds(3)).
    pub systemd_sockets: Vec<SystemdSocket>,
}

/// What was meant.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What master and workers need to know.
    pub settings: Settings,
    /// How this process logs.
    pub log: logging::Options,
}

/// Resolves flags and variables, or tells everything that is wrong with them.
pub fn resolve(raw: &RawServe, surroundings: &Surroundings<'_>) -> Result<Resolved, Faults> {
    let (file, faults) = match &surroundings.config {
        Some(config) => {
            let flags: Vec<String> = raw::flags().into_iter().map(|flag| flag.name).collect();
            ConfigFile::parse(config, &flags)
        }
        None => Default::default(),
    };
    let mut reader = Reader::with_file(surroundings.variables, file, faults);
    let default = Settings::default();
    let threads_bounds = 0..=u64::from(config::THREADS_MAX);
    let threads_given =
        reader.value("--threads", raw.threads.as_deref(), |text| number_u16(text, threads_bounds));
    let threads = threads_given.as_ref().map_or(default.threads, |given| given.value);
    let app = app(raw, threads_given.as_ref(), &mut reader);
    let binds = binds::binds(raw, surroundings, &mut reader);
    let listen = listen(raw, default.listen, &mut reader);
    let workers = scale::workers(raw, surroundings.cores, &mut reader);
    let balance = balance(raw, default.balance, &mut reader);
    let weights = weights(raw, balance, workers.most(), &mut reader);
    let rebalance =
        reader.value_or("--rebalance", raw.rebalance.as_deref(), default.rebalance, rebalance);
    let credit = reader.value("--credit", raw.credit.as_deref(), |text| {
        number_u16(text, 1..=u64::from(config::CREDIT_MAX))
    });
    let (queue_timeout, max_queue) = queue(raw, &default, &mut reader);
    let accept = arms::accept(raw, &app, &binds, threads, &mut reader);
    scale::refuse_with(accept.arm, workers.scaling, &mut reader);
    let stall_after =
        reader.value_or("--stall-after", raw.stall_after.as_deref(), default.stall_after, |text| {
            values::duration(text, config::STALL_AFTER_MIN..=config::STALL_AFTER_MAX)
        });
    let report_age =
        reader.value_or("--report-age", raw.report_age.as_deref(), default.report_age, |text| {
            values::duration_or_off(text, config::REPORT_AGE_MIN..=config::REPORT_AGE_MAX)
        });
    let seed = reader.value("--seed", raw.seed.as_deref(), values::seed);
    let lifecycle = lifecycle(raw, default.lifecycle, threads, &app, &mut reader);
    let recycle = lives::recycle(raw, &mut reader);
    let pid_file = lives::pid_file(raw, &mut reader);
    let http = http(raw, default.http, &mut reader);
    let worker_header =
        reader.value_or("--worker-header", raw.worker_header.as_deref(), false, values::switch);
    let fleet = fleet::options(raw, &app, surroundings, &mut reader);
    let status_file = status_file(raw.status_file.as_ref(), &mut reader);
    let admin = admin::admin(raw, &binds, surroundings, &mut reader);
    let place = python::place(&raw.python, &mut reader);
    // Who develops wants to see what is asked for.
    let access_log = logs::access_log(&raw.logs, place.reload.is_some(), &mut reader);
    let slow_log = logs::slow_log(&raw.logs, &mut reader);
    python::refuse_typed(&raw.python, &app, &mut reader);
    let guard = guard::guard(raw, &app, surroundings.accounts, &mut reader);
    let log = logs::log(&raw.logs, &mut reader);
    logs::refuse_sandboxed(guard.sandbox, access_log.as_ref(), &log, &mut reader);
    let mut settings = Settings {
        app,
        binds,
        listen,
        accept,
        workers: workers.count,
        scaling: workers.scaling,
        threads,
        balance,
        weights,
        rebalance,
        credit: credit.map(|given| given.value),
        queue_timeout,
        max_queue,
        stall_after,
        report_age,
        lifecycle,
        recycle,
        pid_file,
        http,
        worker_header,
        fleet,
        access_log,
        slow_log,
        status_file,
        admin,
        config: surroundings.config.clone(),
        chdir: place.chdir,
        env_file: place.env_file,
        reload: place.reload,
        seed: seed.map(|given| given.value),
        ..default.clone()
    };
    guard.put_into(&mut settings);
    if settings.accept.arm.is_kernels() {
        // Variables may say otherwise; nobody is lent anything.
        settings = Settings {
            balance: default.balance,
            weights: Vec::new(),
            rebalance: Rebalance::Never,
            credit: None,
            queue_timeout: None,
            max_queue: None,
            ..settings
        };
    }
    reader.finish(Resolved { settings, log })
}

fn app(raw: &RawServe, threads: Option<&Given<u16>>, reader: &mut Reader<'_>) -> App {
    let browse = reader.value("--browse", raw.browse.as_deref(), values::switch);
    let app = named_app(raw, threads, reader);
    match app {
        App::Static { root, .. } => {
            App::Static { root, browse: browse.is_some_and(|given| given.value) }
        }
        App::Embedded | App::Echo | App::Python(_) | App::Command(_) => {
            // A variable may be set for many servers; a flag was typed for this one.
            if browse.is_some_and(|given| given.typed && given.value) {
                reader.refuse("--browse", None, "needs static:DIR");
            }
            app
        }
    }
}

fn named_app(raw: &RawServe, threads: Option<&Given<u16>>, reader: &mut Reader<'_>) -> App {
    if !raw.command.is_empty() {
        return App::Command(raw.command.clone());
    }
    let Some(name) = raw.app.clone().or_else(|| reader.variable("MAITRED_APP").map(|it| it.value))
    else {
        let command = reader.variable_or_list("MAITRED_COMMAND");
        let command: Vec<OsString> = command.into_iter().map(|word| word.value).collect();
        return if command.is_empty() { App::Embedded } else { App::Command(command) };
    };
    let name = &name;
    if name == "echo" {
        return App::Echo;
    }
    let refusal: Refusal = match name.as_bytes().strip_prefix(b"static:") {
        Some(b"") => "must name a directory: static:DIR".to_owned(),
        Some(root) => {
            let root = OsString::from_vec(root.to_vec()).into();
            return App::Static { root, browse: false };
        }
        None => match name.to_str().filter(|name| python::is_target(name)) {
            Some(target) => {
                let app = python::application(raw, target.to_owned(), threads, reader);
                return App::Python(Box::new(app));
            }
            None => "must be echo, static:DIR or pkg.module:app (Python); leave it out for the \
                     built-in application"
                .to_owned(),
        },
    };
    reader.refuse("application", Some(name.clone()), refusal);
    App::Embedded
}

fn listen(raw: &RawServe, default: ListenOptions, reader: &mut Reader<'_>) -> ListenOptions {
    ListenOptions {
        backlog: reader.value_or("--backlog", raw.backlog.as_deref(), default.backlog, |text| {
            number_u32(text, 1..=u64::from(config::BACKLOG_MAX))
        }),
        defer_accept_s: reader.value_or(
            "--defer-accept",
            raw.defer_accept.as_deref(),
            default.defer_accept_s,
            |text| number_u32(text, 0..=u64::from(config::DEFER_ACCEPT_MAX_S)),
        ),
        unix_mode: reader.value_or(
            "--unix-mode",
            raw.unix_mode.as_deref(),
            default.unix_mode,
            values::unix_mode,
        ),
        unix_owner: default.unix_owner,
    }
}

fn balance(raw: &RawServe, default: Balance, reader: &mut Reader<'_>) -> Balance {
    let policies = Balance::ALL.map(|policy| (policy.name(), policy));
    reader.value_or("--balance", raw.balance.as_deref(), default, |text| {
        values::one_of(text, &policies)
    })
}

fn weights(raw: &RawServe, balance: Balance, workers: u16, reader: &mut Reader<'_>) -> Vec<u32> {
    let bounds = 1..=u64::from(config::WEIGHT_MAX);
    let given = reader.value("--weights", raw.weights.as_deref(), |text| {
        text.split(',').map(|part| number_u32(part.trim(), bounds.clone())).collect()
    });
    let Some(given) = given else { return Vec::new() };
    let weights: Vec<u32> = given.value;
    if given.typed && balance != Balance::Weighted {
        reader.refuse("--weights", None, "needs --balance weighted");
    } else if weights.len() > usize::from(workers) {
        let refusal = format!("must be at most one weight a worker, of which there are {workers}");
        reader.refuse(&given.name, None, refusal);
    }
    weights
}

/// The limits to waiting.
fn queue(
    raw: &RawServe,
    default: &Settings,
    reader: &mut Reader<'_>,
) -> (Option<Duration>, Option<u32>) {
    let timeout = reader.value_or(
        "--queue-timeout",
        raw.queue_timeout.as_deref(),
        default.queue_timeout,
        |text| values::duration_or_off(text, config::DEADLINE_MIN..=config::DEADLINE_MAX),
    );
    let most =
        reader.value_or("--max-queue", raw.max_queue.as_deref(), default.max_queue, |text| {
            match number_u32(text, 0..=u64::from(config::MAX_QUEUE_MAX)) {
                Ok(most) => Ok((most > 0).then_some(most)),
                Err(refusal) => Err(format!("{refusal}; 0 switches it off")),
            }
        });
    (timeout, most)
}

fn rebalance(text: &str) -> Result<Rebalance, Refusal> {
    match text {
        "never" => Ok(Rebalance::Never),
        "auto" => Ok(Rebalance::Auto),
        "always" => Ok(Rebalance::Always),
        _ => Err("must be one of never, auto, always".to_owned()),
    }
}

fn lifecycle(
    raw: &RawServe,
    default: Lifecycle,
    threads: u16,
    app: &App,
    reader: &mut Reader<'_>,
) -> Lifecycle {
    let deadline = config::DEADLINE_MIN..=config::DEADLINE_MAX;
    let pause = Duration::ZERO..=config::DEADLINE_MAX;
    // Whether a Python application is called on the loop, only its worker finds out.
    let may_be_on_loop = threads == 0 || matches!(app, App::Python(_));
    let timeout_default = if may_be_on_loop { Some(TIMEOUT_ON_LOOP) } else { default.timeout };
    let mut read = |flag: &str,
                    typed: &Option<String>,
                    default: Duration,
                    bounds: &RangeInclusive<Duration>| {
        reader.value_or(flag, typed.as_deref(), default, |text| {
            values::duration(text, bounds.clone())
        })
    };
    let parallel = 1..=u64::from(config::WORKERS_MAX);
    let lifecycle = Lifecycle {
        boot_timeout: read("--boot-timeout", &raw.boot_timeout, default.boot_timeout, &deadline),
        timeout: None,
        timeout_spares_calls: false,
        graceful_timeout: read(
            "--graceful-timeout",
            &raw.graceful_timeout,
            default.graceful_timeout,
            &pause,
        ),
        drain_delay: read("--drain-delay", &raw.drain_delay, default.drain_delay, &pause),
        handoff_timeout: read(
            "--handoff-timeout",
            &raw.handoff_timeout,
            default.handoff_timeout,
            &deadline,
        ),
        reload_parallel: default.reload_parallel,
    };
    let reload_parallel = reader.value_or(
        "--reload-parallel",
        raw.reload_parallel.as_deref(),
        default.reload_parallel,
        |text| number_u16(text, parallel),
    );
    let timeout = reader
        .value("--timeout", raw.timeout.as_deref(), |text| values::duration_or_off(text, deadline));
    Lifecycle {
        timeout_spares_calls: timeout.is_none() && threads > 0 && may_be_on_loop,
        timeout: timeout.map_or(timeout_default, |given| given.value),
        reload_parallel,
        ..lifecycle
    }
}

fn http(raw: &RawServe, default: HttpLimits, reader: &mut Reader<'_>) -> HttpLimits {
    let mut deadline = |flag: &str, typed: &Option<String>, default: Duration| {
        reader.value_or(flag, typed.as_deref(), default, |text| {
            values::duration(text, config::DEADLINE_MIN..=config::DEADLINE_MAX)
        })
    };
    let header_timeout = deadline("--header-timeout", &raw.header_timeout, default.header_timeout);
    let body_timeout = deadline("--body-timeout", &raw.body_timeout, default.body_timeout);
    let keep_alive = deadline("--keep-alive", &raw.keep_alive, default.keep_alive);
    let write_timeout = deadline("--write-timeout", &raw.write_timeout, default.write_timeout);

    let mut bounded = |flag: &str, typed: &Option<String>, default: usize, least, most| {
        reader.value_or(flag, typed.as_deref(), default, |text| or_most(text, least, most))
    };
    let request_line_max = bounded(
        "--limit-request-line",
        &raw.limit_request_line,
        default.request_line_max,
        config::LIMIT_REQUEST_LINE_MIN,
        config::LIMIT_REQUEST_LINE_MAX,
    );
    let fields_max = bounded(
        "--limit-request-fields",
        &raw.limit_request_fields,
        default.fields_max,
        1,
        config::LIMIT_REQUEST_FIELDS_MAX,
    );
    let field_size_max = bounded(
        "--limit-request-field-size",
        &raw.limit_request_field_size,
        default.field_size_max,
        config::LIMIT_REQUEST_FIELD_SIZE_MIN,
        config::LIMIT_REQUEST_FIELD_SIZE_MAX,
    );
    let body_max = reader.value_or(
        "--limit-request-body",
        raw.limit_request_body.as_deref(),
        default.body_max,
        |text| values::size(text, 0..=u64::MAX).map(|size| (size > 0).then_some(size)),
    );
    let mut buffer = |flag: &str, typed: &Option<String>, default: usize| {
        reader.value_or(flag, typed.as_deref(), default, |text| {
            values::size(text, 0..=config::BUFFER_MAX as u64).map(|size| size as usize)
        })
    };
    HttpLimits {
        request_line_max,
        fields_max,
        field_size_max,
        body_max,
        header_timeout,
        body_timeout,
        keep_alive,
        write_timeout,
        buffer_request: buffer("--buffer-request", &raw.buffer_request, default.buffer_request),
        buffer_response: buffer("--buffer-response", &raw.buffer_response, default.buffer_response),
    }
}

/// Where the status file is; also for whoever reads it.
pub fn status_file(typed: Option<&OsString>, reader: &mut Reader<'_>) -> Option<PathBuf> {
    const FLAG: &str = "--status-file";
    let given = match typed {
        Some(path) => Given { name: FLAG.to_owned(), value: path.clone(), typed: true },
        None => reader.variable(&variable_of(FLAG))?,
    };
    reader.parsed_raw(given, values::path).map(|given| given.value)
}

fn number_u16(text: &str, bounds: RangeInclusive<u64>) -> Result<u16, Refusal> {
    let number = values::whole(text, bounds)?;
    u16::try_from(number).map_err(|_| format!("must be at most {}", u16::MAX))
}

fn number_u32(text: &str, bounds: RangeInclusive<u64>) -> Result<u32, Refusal> {
    let number = values::whole(text, bounds)?;
    u32::try_from(number).map_err(|_| format!("must be at most {}", u32::MAX))
}

/// A size or a number where 0 stands for the most: Gunicorn's "unlimited", with an end.
fn or_most(text: &str, least: usize, most: usize) -> Result<usize, Refusal> {
    match values::size(text, 0..=most as u64) {
        Ok(0) => Ok(most),
        Ok(value) if value >= least as u64 => Ok(value as usize),
        Ok(_) | Err(_) => Err(format!("must be from {least} to {most}; 0 is the most")),
    }
}

#[cfg(test)]
mod tests;
