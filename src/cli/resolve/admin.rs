//! Where operators find a server.
//!
//! Not here: the forms of one address (`addresses`), what is served there (`admin`).

use std::ffi::{OsStr, OsString};

use crate::cli::addresses;
use crate::cli::faults::{Given, Reader, variable_of};
use crate::cli::raw::RawServe;
use crate::cli::resolve::Surroundings;
use crate::cli::values::Refusal;
use crate::config::{ADMIN_LISTENERS_MAX, Bind};

const FLAG: &str = "--admin";

/// The admin addresses, in order, none of them twice, and none that the server listens on.
pub(super) fn admin(
    raw: &RawServe,
    binds: &[Bind],
    surroundings: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Vec<Bind> {
    let typed =
        |value: &OsString| Given { name: FLAG.to_owned(), value: value.clone(), typed: true };
    let given: Vec<_> = match raw.admin.admin.as_slice() {
        [] => {
            reader.variable_or_list(&variable_of(FLAG)).into_iter().flat_map(split_list).collect()
        }
        all => all.iter().map(typed).collect(),
    };
    let mut admin: Vec<Bind> = Vec::new();
    for given in given {
        let (name, value) = (given.name.clone(), given.value.clone());
        let parsed = reader.parsed_raw(given, |text| address(text, surroundings));
        let Some(bind) = parsed.map(|given| given.value) else { continue };
        let fixed = !matches!(bind, Bind::Tcp(address) if address.port() == 0);
        if fixed && binds.contains(&bind) {
            reader.refuse(&name, Some(value), "is where the server itself listens");
        } else if fixed && admin.contains(&bind) {
            reader.refuse(&name, Some(value), "names the same address twice");
        } else {
            admin.push(bind);
        }
    }
    if admin.len() > ADMIN_LISTENERS_MAX {
        reader.refuse(FLAG, None, format!("must name at most {ADMIN_LISTENERS_MAX} addresses"));
    }
    admin
}

fn address(text: &OsStr, surroundings: &Surroundings<'_>) -> Result<Bind, Refusal> {
    match addresses::bind(text, surroundings.lookup)? {
        Bind::Inherited(_) => Err("must be HOST:PORT, [v6]:PORT, PORT or unix:PATH".to_owned()),
        bind => Ok(bind),
    }
}

/// `MAITRED_ADMIN` holds several addresses between commas.
fn split_list(list: Given<OsString>) -> Vec<Given<OsString>> {
    let part = |value: OsString| Given { name: list.name.clone(), value, typed: false };
    match list.value.to_str() {
        Some(text) => text.split(',').map(|address| part(address.trim().into())).collect(),
        None => vec![part(list.value.clone())],
    }
}
