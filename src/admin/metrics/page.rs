//! docs/metrics.md, made of the table of families.
//!
//! Not here: the table (`families`), the test that compares the two (`tests`).

use std::fmt::Write;

use crate::admin::metrics::families::{FAMILIES, Kind};
use crate::meters::BOUNDS;

const HEAD: &str = "\
# Metrics

`GET /metrics` at the admin address (`--admin`) answers in the OpenMetrics text format, version 1.0.0:

```
scrape_configs:
  - job_name: maitred
    static_configs: [{ targets: [\"127.0.0.1:9000\"] }]
```

All numbers of an answer are of one moment. Counters never fall while the server lives: what its
workers count belongs to their places, and goes on through reloads, crashes and upgrades. `worker` is
the number of the place (slot); where a number belongs to one process, `generation` says to which. A
scrape asks the helper process, which reads memory that the workers write anyway; the master is asked
for no more than to write its page now.

This page is made of the table in `src/admin/metrics/families.rs` (`UPDATE_DOCS=1 cargo test --lib
admin::metrics` writes it anew).

";

/// What is worth an alarm, or a panel at the top: a question, and the query that answers it.
const QUERIES: [(&str, &str, &str); 6] = [
    (
        "Are there too few workers?",
        "histogram_quantile(0.99, sum by (le) (rate(maitred_queue_wait_seconds_bucket[5m])))",
        "How long new connections wait for a worker. It rises first when there is too little room.",
    ),
    (
        "How busy are they?",
        "sum(rate(maitred_worker_busy_seconds_total[1m])) / sum(maitred_worker_threads)",
        "The share of time that handlers run: what an autoscaler can aim at. For a loop (ASGI) it is \
         the share of the loop, and 1 means that it does nothing else.",
    ),
    (
        "How long does an answer take?",
        "histogram_quantile(0.99, sum by (le) (rate(maitred_service_seconds_bucket[5m])))",
        "With the client's own slowness: a slow reader of a long response is in it.",
    ),
    (
        "How many go wrong?",
        "sum(rate(maitred_responses_total{class=\"5xx\"}[5m])) / \
         sum(rate(maitred_responses_total[5m]))",
        "Answers of 500 to 599. What got no answer at all is in the next.",
    ),
    (
        "Who is turned away, or cut off?",
        "sum by (reason) (rate(maitred_connections_shed_total[5m])) or sum by (reason) \
         (rate(maitred_connections_aborted_total[5m]))",
        "Should be nothing. `died_…` are clients of a worker that crashed.",
    ),
    (
        "Do workers end that should not?",
        "sum by (cause) (increase(maitred_worker_restarts_total{cause!~\"reloaded|recycled\"}[1h]))",
        "Crashes, hangs and failed starts.",
    ),
];

/// The whole page, as docs/metrics.md has it.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = write_questions(&mut page).and_then(|()| write_families(&mut page));
    page
}

fn write_questions(page: &mut String) -> std::fmt::Result {
    writeln!(page, "## What to look at\n")?;
    for (question, query, why) in QUERIES {
        writeln!(page, "**{question}** {why}\n\n```\n{query}\n```\n")?;
    }
    Ok(())
}

fn write_families(page: &mut String) -> std::fmt::Result {
    writeln!(page, "## All of them\n")?;
    writeln!(page, "| name | type | labels | meaning |\n|---|---|---|---|")?;
    for family in FAMILIES {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            family.full_name(),
            family.kind.word(),
            labels.join(", "),
            family.help
        )?;
    }
    let bounds: Vec<_> = BOUNDS.iter().map(|bound| bound.as_secs_f64().to_string()).collect();
    let histograms = FAMILIES.iter().filter(|family| family.kind == Kind::Histogram);
    let names: Vec<_> = histograms.map(|family| format!("`{}`", family.full_name())).collect();
    writeln!(
        page,
        "\n{} have the buckets (`le`, in seconds) {}, and `+Inf`.",
        names.join(", "),
        bounds.join(", ")
    )
}
