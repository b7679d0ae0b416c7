//! What balancers of a fleet are told.
//!
//! Not here: what each flag does (`config::FleetOptions`, docs/cluster.md).

use std::ffi::OsStr;

use crate::cli::addresses;
use crate::cli::faults::{Given, Reader};
use crate::cli::raw::RawServe;
use crate::cli::resolve::Surroundings;
use crate::cli::values::{self, Refusal};
use crate::config::{App, Bind, FleetOptions, LoadForm};

/// Reads what is told, and refuses what nobody would tell.
pub(super) fn options(
    raw: &RawServe,
    app: &App,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> FleetOptions {
    let raw = &raw.fleet;
    let typed = raw.agent_check.clone();
    let typed = typed.map(|value| Given { name: "--agent-check".to_owned(), value, typed: true });
    let agent_check = typed
        .or_else(|| reader.variable("MAITRED_AGENT_CHECK"))
        .and_then(|given| reader.parsed_raw(given, |text| address(text, surroundings)))
        .and_then(|given| given.value);
    let header = reader.value("--load-header", raw.load_header.as_deref(), |text| {
        values::one_of(text, &[("orca", true), ("off", false)])
    });
    let form = reader.value("--load-header-format", raw.load_header_format.as_deref(), |text| {
        let forms = [("bin", LoadForm::Bin), ("json", LoadForm::Json), ("text", LoadForm::Text)];
        values::one_of(text, &forms)
    });
    let strips = reader.value("--load-header-app", raw.load_header_app.as_deref(), |text| {
        values::one_of(text, &[("keep", false), ("strip", true)])
    });
    let is_on = header.as_ref().is_some_and(|given| given.value);
    // A variable may be set for many servers; a flag was typed for this one.
    if !is_on && form.as_ref().is_some_and(|given| given.typed) {
        reader.refuse("--load-header-format", None, "needs --load-header orca");
    }
    let writes_itself = matches!(app, App::Command(_));
    if writes_itself && header.is_some_and(|given| given.typed && given.value) {
        let refusal = "the responses of another program are its own; --agent-check needs none";
        reader.refuse("--load-header", None, refusal);
    }
    FleetOptions {
        agent_check,
        load_header: (is_on && !writes_itself)
            .then(|| form.map(|given| given.value).unwrap_or_default()),
        strips_load_header: strips.is_some_and(|given| given.value),
    }
}

fn address(text: &OsStr, surroundings: &Surroundings<'_>) -> Result<Option<Bind>, Refusal> {
    if text == "off" {
        return Ok(None);
    }
    match addresses::bind(text, surroundings.lookup)? {
        Bind::Inherited(_) => Err("must be an address: HOST:PORT, PORT or unix:PATH".to_owned()),
        bind @ (Bind::Tcp(_) | Bind::Unix(_)) => Ok(Some(bind)),
    }
}
