//! Flags that other servers have and this one has not: each says so, and what to use.
//!
//! Pure: a table. Flags of the same meaning under another name are aliases (`raw`), not in here.
//! docs/python.md tells how to switch, and tests compare.
//!
//! Not here: what is said of a flag that nobody has (clap).

/// One flag, or several of one meaning.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere {
    /// As they are typed; an asterisk stands for any end.
    pub flags: &'static [&'static str],
    /// Where it is from.
    pub server: &'static str,
    /// What to do here.
    pub instead: &'static str,
}

const fn row(
    flags: &'static [&'static str],
    server: &'static str,
    instead: &'static str,
) -> Elsewhere {
    Elsewhere { flags, server, instead }
}

const TLS: &str = "there is no TLS here: let a proxy in front (nginx, Caddy, HAProxy) end it, and \
                   serve on `-b unix:PATH` or a loopback port";
const NO_DAEMON: &str = "it stays in the foreground: let systemd, a container or a process manager \
                         run it (`--pid-file` writes its pid)";
const SYSLOG: &str = "`--log-to syslog:FACILITY:NAME`, and `--access-log=syslog` for that: the \
                      daemon of this machine, which sends lines on";
const LOG_FILES: &str = "`--log-to PATH` for the log, `--access-log=PATH` for the access log";
const CONFIG_FILE: &str = "`--config FILE` reads TOML in which every flag is a key; every flag has a \
                           variable too, as MAITRED_WORKERS, and `--env-file` reads them";
const CLASS: &str = "one kind of worker serves each interface: `--interface asgi|wsgi` (auto looks at \
                     the application), `--threads N` for WSGI";
const STATIC: &str = "let the proxy in front serve static files, or a second server: `maitred serve \
                      static:DIR`";
const NEVER_FORKED: &str = "workers are executed, never forked from a loaded master, so each loads \
                            the application; leave it out";
const SUPERVISED: &str = "a worker that ends is always replaced, with back-off; leave it out";
const STATUS: &str = "`--admin ADDR`, which answers `/metrics` and `/status`";
const LISTEN: &str = "`-b HOST:PORT` or `-b unix:PATH`: HTTP is spoken on every address";
const ENVIRONMENT: &str = "set it in the environment, or in the file of `--env-file`";

/// All of them, by server.
pub const TABLE: &[Elsewhere] = &[
    row(&["--ssl-*"], "Uvicorn, Granian", TLS),
    row(
        &["--http2", "--http-protocols", "--http1-buffer-size", "--http2-*"],
        "Uvicorn, Gunicorn, Granian",
        "HTTP/1.1 is spoken here; a proxy in front speaks HTTP/2 and 3",
    ),
    row(&["--use-colors", "--no-use-colors"], "Uvicorn", "NO_COLOR=1 switches colours off"),
    row(
        &["--timeout-worker-healthcheck"],
        "Uvicorn",
        "`--timeout`: a worker whose loop stands still for so long is replaced",
    ),
    row(
        &["--reset-contextvars", "--no-reset-contextvars"],
        "Uvicorn",
        "leave it out: each request begins in the context of its worker",
    ),
    row(
        &["--certfile", "--keyfile", "--ca-certs", "--ciphers", "--do-handshake-on-connect"],
        "Gunicorn",
        TLS,
    ),
    row(&["--paste", "--paster"], "Gunicorn", CONFIG_FILE),
    row(&["--worker-class", "-k"], "Gunicorn", CLASS),
    row(
        &["--worker-connections"],
        "Gunicorn",
        "a worker holds as many as it has descriptors for; `--credit` bounds those that wait at one",
    ),
    row(&["--preload", "--preload-app"], "Gunicorn", NEVER_FORKED),
    row(&["--daemon", "-D"], "Gunicorn", NO_DAEMON),
    row(&["--initgroups"], "Gunicorn", "`--user` has all groups of its user; leave it out"),
    row(
        &["--capture-output"],
        "Gunicorn",
        "what an application prints goes to stdout and stderr: redirect them; `--log-to PATH` takes \
         the server's own log",
    ),
    row(&["--logger-class"], "Gunicorn", "`--log-format` and `--access-log-format`"),
    row(
        &["--disable-redirect-access-to-syslog"],
        "Gunicorn",
        "leave it out: the access log goes where `--access-log` says",
    ),
    row(
        &["--access-log-fmt"],
        "Granian",
        "`--access-log-format` takes Gunicorn's atoms, %(h)s for %(addr)s: docs/logging.md",
    ),
    row(&["--log-config-json"], "Gunicorn", "`--log-config FILE.json`"),
    row(
        &[
            "--log-syslog",
            "--log-syslog-to",
            "--log-syslog-prefix",
            "--log-syslog-facility",
            "--syslog",
        ],
        "Gunicorn, uWSGI",
        SYSLOG,
    ),
    row(&["--log-format-escape", "--logformat", "--log-date"], "uWSGI", "`--access-log-format`"),
    row(&["--log-slow"], "uWSGI", "`--slow-log TIME`"),
    row(&["--log-reopen"], "uWSGI", "leave it out: USR1 reopens the files"),
    row(&["--statsd-host", "--statsd-prefix", "--dogstatsd-tags"], "Gunicorn", STATUS),
    row(
        &["--name", "-n", "--process-name", "--procname", "--auto-procname"],
        "Gunicorn, uWSGI, Granian",
        "the log names each worker (worker=3 gen=7 pid=41); processes keep their names",
    ),
    row(&["--env", "-e"], "Gunicorn, uWSGI", ENVIRONMENT),
    row(&["--pythonpath", "--python-path", "--pp"], "Gunicorn, uWSGI", "`--app-dir DIR`"),
    row(&["--reuse-port"], "Gunicorn", "`--accept reuseport`"),
    row(&["--no-sendfile", "--worker-tmp-dir", "--spew"], "Gunicorn", "leave it out"),
    row(&["--check-config"], "Gunicorn", "`maitred serve --help` shows defaults"),
    row(
        &["--reload-engine", "--reload-extra-file", "--py-autoreload", "--touch-reload"],
        "Gunicorn, uWSGI",
        "`--reload`, with `--reload-dir` and `--reload-include`",
    ),
    row(&["--http-socket", "--socket", "-s", "--uwsgi-socket", "--http11-socket"], "uWSGI", LISTEN),
    row(&["--https", "--https-socket"], "uWSGI", TLS),
    row(
        &["--module", "--wsgi", "--wsgi-file", "--file", "--callable", "--mount"],
        "uWSGI",
        "name the application itself: `maitred serve pkg.module:app`, with `--root-path` if it is \
         mounted",
    ),
    row(&["--manage-script-name", "--url-path-prefix"], "uWSGI, Granian", "`--root-path PATH`"),
    row(&["--processes"], "uWSGI", "`-w N`, `--workers N`"),
    row(
        &["-p"],
        "Gunicorn, uWSGI",
        "`--pid-file PATH` (Gunicorn's -p), or `--workers N` (uWSGI's)",
    ),
    row(
        &["--master", "-M", "--single-interpreter", "--enable-threads", "--lazy-apps", "--lazy"],
        "uWSGI",
        "leave it out: it is always so",
    ),
    row(
        &["--need-app", "--die-on-term", "--vacuum", "--thunder-lock"],
        "uWSGI",
        "leave it out: it is always so",
    ),
    row(
        &["--virtualenv", "-H", "--home", "--venv"],
        "uWSGI",
        "`--python VENV/bin/python`, or install maitred in it",
    ),
    row(&["--ini", "--yaml", "--xml", "--json"], "uWSGI", CONFIG_FILE),
    row(&["--harakiri"], "uWSGI", "`--timeout TIME`"),
    row(
        &["--reload-mercy", "--worker-reload-mercy", "--workers-kill-timeout"],
        "uWSGI, Granian",
        "`--graceful-timeout TIME`",
    ),
    row(
        &["--reload-on-rss", "--evil-reload-on-rss", "--workers-max-rss"],
        "uWSGI, Granian",
        "`--max-rss SIZE`",
    ),
    row(
        &["--max-worker-lifetime", "--workers-lifetime"],
        "uWSGI, Granian",
        "`--max-lifetime TIME`",
    ),
    row(&["--buffer-size"], "uWSGI", "`--limit-request-line` and `--limit-request-field-size`"),
    row(&["--post-buffering"], "uWSGI", "`--buffer-request SIZE`"),
    row(&["--listen"], "uWSGI", "`--backlog N`"),
    row(&["--chmod-socket"], "uWSGI", "`--unix-mode MODE`"),
    row(&["--uid", "--gid"], "uWSGI", "`--user USER` and `--group GROUP`"),
    row(&["--chown-socket"], "uWSGI", "`--unix-owner USER:GROUP`"),
    row(&["--daemonize", "--daemonize2"], "uWSGI", NO_DAEMON),
    row(&["--logto", "--logger", "--disable-logging", "--log-master"], "uWSGI", LOG_FILES),
    row(
        &["--static-map", "--static-path-mount", "--static-path-route", "--check-static"],
        "uWSGI, Granian",
        STATIC,
    ),
    row(&["--stats", "--stats-server"], "uWSGI", STATUS),
    row(
        &["--cheaper", "--cheaper-initial", "--cheaper-algo"],
        "uWSGI",
        "`-w 2..8`: as many as the load needs",
    ),
    row(&["--gevent", "--asyncio", "--greenlet"], "uWSGI", CLASS),
    row(&["--plugin", "--plugins"], "uWSGI", "leave it out: there are none"),
    row(
        &["--runtime-mode", "--runtime-threads", "--runtime-blocking-threads", "--task-impl"],
        "Granian",
        "leave it out: a worker has one loop, and `--threads` for WSGI",
    ),
    row(&["--blocking-threads"], "Granian", "`--threads N`"),
    row(&["--backpressure"], "Granian", "`--credit N`, or `--limit-concurrency N` for a 503"),
    row(&["--respawn-failed-workers"], "Granian", SUPERVISED),
    row(&["--metrics", "--metrics-address", "--metrics-port"], "Granian", STATUS),
    row(&["--http1-header-read-timeout"], "Granian", "`--header-timeout TIME`"),
    row(&["--http1-keep-alive", "--no-http1-keep-alive"], "Granian", "`--keep-alive TIME`"),
    row(&["--reload-paths"], "Granian", "`--reload-dir DIR`"),
    row(&["--reload-ignore-*"], "Granian", "`--reload-exclude GLOB`"),
    row(&["--uds-permissions"], "Granian", "`--unix-mode MODE`"),
    row(&["--working-dir"], "Granian", "`--chdir DIR`"),
    row(&["--env-files"], "Granian", "`--env-file PATH`"),
    row(&["--no-ws"], "Granian", "`--ws none`"),
];

/// What there is to say of a flag that this server has not: `--ssl-keyfile`, `-k`.
pub fn find(flag: &str) -> Option<&'static Elsewhere> {
    let name = flag.split('=').next().unwrap_or(flag);
    let is_meant = |flag: &&str| match flag.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => *flag == name,
    };
    TABLE.iter().find(|row| row.flags.iter().any(is_meant))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::raw::command;

    #[test]
    fn no_flag_stands_there_twice_or_is_one_that_we_have() {
        let command = command("maitred");
        let serve = command.find_subcommand("serve").expect("it is there");
        let ours: BTreeSet<String> = serve
            .get_arguments()
            .flat_map(|argument| {
                let long = argument.get_long_and_visible_aliases().unwrap_or_default();
                let all = argument.get_all_aliases().unwrap_or_default();
                let short = argument.get_short().map(|short| format!("-{short}"));
                let long = long.into_iter().chain(all).map(|name| format!("--{name}"));
                long.chain(short).collect::<Vec<_>>()
            })
            .collect();
        let mut seen = BTreeSet::new();
        for row in TABLE {
            for flag in row.flags {
                assert!(!ours.contains(*flag), "we have {flag}");
                assert!(seen.insert(*flag), "{flag} stands there twice");
                assert!(flag.starts_with('-'), "{flag}");
            }
            // What it points to is there.
            for word in row.instead.split('`').filter(|word| word.starts_with('-')) {
                let flag = word.split([' ', '=']).next().unwrap_or_default();
                let is_ours = ours.contains(flag) || flag == "-b" || flag == "-w";
                assert!(is_ours, "{flag} is no flag of ours: {}", row.instead);
            }
        }
    }

    #[test]
    fn a_flag_is_found_as_it_is_typed() {
        assert_eq!(find("--ssl-keyfile").map(|row| row.instead), Some(TLS));
        assert_eq!(find("--ssl-keyfile=key.pem").map(|row| row.instead), Some(TLS));
        assert_eq!(find("-k").map(|row| row.instead), Some(CLASS));
        assert!(find("--workes").is_none());
    }
}
