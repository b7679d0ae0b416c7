//! `maitred status`: what a server does and has done, read from its status file, or asked of its
//! admin address.
//!
//! Not here: reading it and the two forms of it (`observe::status`), asking (`ctl`).

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use crate::cli::complain;
use crate::cli::ctl;
use crate::cli::ctl::client::Address;
use crate::cli::faults::Reader;
use crate::cli::raw::RawStatus;
use crate::cli::resolve::status_file;
use crate::exit::Exit;
use crate::observe::status::{Text, json, read, view};

pub(super) fn run(program: &str, raw: &RawStatus) -> u8 {
    let is_address = |text: &[u8]| text.starts_with(b"unix:") || text.starts_with(b"http://");
    if let Some(text) = raw.path.as_ref().filter(|text| is_address(text.as_bytes())) {
        return match Address::parse(text) {
            Ok(address) => ctl::status(program, &address, raw.json),
            Err(refusal) => {
                complain(program, &format_args!("{text:?}: {refusal}"));
                Exit::Usage as u8
            }
        };
    }
    let variables = |name: &str| std::env::var_os(name);
    let mut reader = Reader::new(&variables);
    let path = status_file(raw.path.as_ref(), &mut reader);
    let path = match reader.finish(path) {
        Ok(Some(path)) => path,
        Ok(None) => {
            complain(program, &"status needs the PATH of a server's --status-file");
            return Exit::Usage as u8;
        }
        Err(faults) => {
            faults.iter().for_each(|fault| complain(program, fault));
            return Exit::Usage as u8;
        }
    };
    match read(&path) {
        Ok(reading) => {
            let text = match raw.json {
                true => format!("{}\n", json(&reading)),
                false => Text(&view(&reading)).to_string(),
            };
            // A reader that has gone (`status | head -1`) has its exit code all the same.
            let _ = io::stdout().write_all(text.as_bytes());
            reading.exit() as u8
        }
        Err(error) => {
            complain(program, &format_args!("{}: {error}", path.display()));
            error.exit() as u8
        }
    }
}
