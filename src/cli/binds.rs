//! Which addresses to listen on, out of five flags, as many variables, PORT and systemd.
//!
//! Addresses that were typed are all there is; else the variables count; else PORT, as platforms
//! set it; else the default. Sockets that systemd passes are served beside what was named, and
//! instead of the default: who configures socket activation has said where to listen. Once some are
//! named (`systemd:NAME`), the others are somebody else's.
//!
//! Not here: the forms of one address (`addresses`).

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};

use crate::cli::addresses;
use crate::cli::faults::{Given, Reader};
use crate::cli::raw::RawServe;
use crate::cli::resolve::Surroundings;
use crate::cli::values::Refusal;
use crate::config::{Bind, LISTENERS_MAX, Settings};
use crate::sys::listener::SystemdSocket;

/// The name of a socket that stands for every one: who does not open addresses (a worker, `check`)
/// has been passed none, and has nothing to say about names.
pub const ANY_SOCKET: &str = "*";

/// The addresses of a server, in order, none of them twice.
pub fn binds(
    raw: &RawServe,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Vec<Bind> {
    let named = named(raw, reader);
    let by_name = named.binds.iter().any(|given| systemd_name(&given.value).is_some());
    let systemd = surroundings.systemd_sockets.iter();
    let unnamed = systemd.filter(|socket| !by_name && socket.name != ANY_SOCKET);
    let mut binds: Vec<Bind> = unnamed.map(|socket| Bind::Inherited(socket.number)).collect();
    for (given, bind) in read(named, surroundings, reader) {
        let fixed = !matches!(bind, Bind::Tcp(address) if address.port() == 0);
        let inherited = binds.contains(&bind)
            && matches!(bind, Bind::Inherited(number)
                if surroundings.systemd_sockets.iter().any(|socket| socket.number == number));
        if fixed && !inherited && binds.contains(&bind) {
            reader.refuse(&given.name, Some(given.value), "names the same address twice");
        } else if !inherited {
            binds.push(bind);
        }
    }
    if binds.is_empty() {
        binds = platform_port(reader).unwrap_or(Settings::default().binds);
    }
    if binds.len() > LISTENERS_MAX {
        reader.refuse("--bind", None, format!("must name at most {LISTENERS_MAX} addresses"));
    }
    binds
}

/// What flags, or else variables, say about addresses.
#[derive(Default)]
struct Named {
    binds: Vec<Given<OsString>>,
    host: Option<Given<OsString>>,
    port: Option<Given<OsString>>,
    uds: Option<Given<OsString>>,
    fd: Option<Given<OsString>>,
}

fn named(raw: &RawServe, reader: &Reader<'_>) -> Named {
    let typed = |name: &str, value: OsString| Given { name: name.to_owned(), value, typed: true };
    let flags = Named {
        binds: raw.bind.iter().map(|text| typed("--bind", text.clone())).collect(),
        host: raw.host.as_ref().map(|text| typed("--host", text.into())),
        port: raw.port.as_ref().map(|text| typed("--port", text.into())),
        uds: raw.uds.as_ref().map(|path| typed("--uds", path.clone())),
        fd: raw.fd.as_ref().map(|text| typed("--fd", text.into())),
    };
    let variables = Named {
        binds: reader.variable_or_list("MAITRED_BIND").into_iter().flat_map(split_list).collect(),
        host: reader.variable("MAITRED_HOST"),
        port: reader.variable("MAITRED_PORT"),
        uds: reader.variable("MAITRED_UDS"),
        fd: reader.variable("MAITRED_FD"),
    };
    if flags.host.is_some() || flags.port.is_some() {
        // Half of an address may be typed and the other half be set for good.
        let host = flags.host.or(variables.host);
        return Named { host, port: flags.port.or(variables.port), ..flags };
    }
    if !flags.binds.is_empty() || flags.uds.is_some() || flags.fd.is_some() {
        return flags;
    }
    variables
}

/// `MAITRED_BIND` holds several addresses between commas.
fn split_list(list: Given<OsString>) -> Vec<Given<OsString>> {
    let part = |value: OsString| Given { name: list.name.clone(), value, typed: false };
    match list.value.to_str() {
        Some(text) => text.split(',').map(|address| part(address.trim().into())).collect(),
        None => vec![part(list.value.clone())],
    }
}

fn read(
    named: Named,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Vec<(Given<OsString>, Bind)> {
    let mut binds = Vec::new();
    for given in named.binds {
        if let Some(name) = systemd_name(&given.value) {
            match systemd_sockets(name, &surroundings.systemd_sockets) {
                Ok(numbers) => {
                    binds.extend(numbers.map(|number| (given.clone(), Bind::Inherited(number))));
                }
                Err(refusal) => {
                    reader.refuse(&given.name, Some(given.value.clone()), refusal);
                }
            }
            continue;
        }
        let parsed =
            reader.parsed_raw(given.clone(), |text| addresses::bind(text, surroundings.lookup));
        binds.extend(parsed.map(|bind| (given, bind.value)));
    }
    binds.extend(read_host_and_port(named.host, named.port, surroundings, reader));
    if let Some(given) = named.uds {
        let parsed = reader.parsed_raw(given.clone(), addresses::unix);
        binds.extend(parsed.map(|bind| (given, bind.value)));
    }
    if let Some(given) = named.fd {
        let parsed = reader.parsed(given.clone(), addresses::descriptor);
        binds.extend(parsed.map(|bind| (given, bind.value)));
    }
    binds
}

/// The name in `systemd:NAME`.
fn systemd_name(text: &OsStr) -> Option<&str> {
    text.to_str()?.strip_prefix("systemd:")
}

/// All sockets of that name: a unit may have several.
fn systemd_sockets<'a>(
    name: &'a str,
    passed: &'a [SystemdSocket],
) -> Result<impl Iterator<Item = i32> + 'a, Refusal> {
    let is_meant = move |socket: &&SystemdSocket| socket.name == name || socket.name == ANY_SOCKET;
    if name.is_empty() || !passed.iter().any(|socket| is_meant(&socket)) {
        let mut names: Vec<&str> = passed.iter().map(|socket| socket.name.as_str()).collect();
        names.dedup();
        return Err(match names.as_slice() {
            [] => "must name a socket that systemd has passed, and it has passed none".to_owned(),
            names => format!("must name a socket that systemd has passed: {}", names.join(", ")),
        });
    }
    Ok(passed.iter().filter(is_meant).map(|socket| socket.number))
}

/// One address out of two flags; the half that is missing is Uvicorn's 127.0.0.1 or 8000.
fn read_host_and_port(
    host: Option<Given<OsString>>,
    port: Option<Given<OsString>>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Option<(Given<OsString>, Bind)> {
    let source = host.clone().or_else(|| port.clone())?;
    let port = match port {
        Some(given) => reader.parsed(given, addresses::port)?.value,
        None => 8000,
    };
    let Some(host) = host else {
        return Some((source, Bind::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))));
    };
    let bind = reader.parsed(host, |text| {
        // Here an IPv6 address needs no brackets: nothing follows it.
        addresses::tcp(text, port, surroundings.lookup)
    })?;
    Some((source, bind.value))
}

/// PORT, as Heroku and its like set it: every interface, as in Gunicorn.
fn platform_port(reader: &mut Reader<'_>) -> Option<Vec<Bind>> {
    let given = reader.platform("--bind")?;
    let port = reader.parsed(given, addresses::port)?;
    Some(vec![Bind::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.value)))])
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::cli::faults::Faults;
    use crate::cli::resolve::Accounts;
    use crate::config::Bind::{Inherited, Tcp, Unix};

    fn binds_of(
        raw: &RawServe,
        variables: &[(&str, &str)],
        systemd_sockets: &[i32],
    ) -> Result<Vec<Bind>, Faults> {
        let unnamed = systemd_sockets.iter().map(|number| (*number, "unknown"));
        binds_with(raw, variables, unnamed.collect())
    }

    fn binds_with(
        raw: &RawServe,
        variables: &[(&str, &str)],
        systemd_sockets: Vec<(i32, &str)>,
    ) -> Result<Vec<Bind>, Faults> {
        let variables = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let surroundings = Surroundings {
            variables: &variables,
            lookup: &|_| Err(io::Error::other("no resolver here")),
            config: None,
            accounts: Accounts { user: &|_| Ok(None), group: &|_| Ok(None), own_uid: 0 },
            cores: 1,
            systemd_sockets: systemd_sockets
                .into_iter()
                .map(|(number, name)| SystemdSocket { number, name: name.to_owned() })
                .collect(),
        };
        let mut reader = Reader::new(&variables);
        let binds = binds(raw, &surroundings, &mut reader);
        reader.finish(binds)
    }

    fn tcp(address: &str) -> Bind {
        Tcp(address.parse().unwrap())
    }

    fn flags(bind: &[&str]) -> RawServe {
        RawServe { bind: bind.iter().map(OsString::from).collect(), ..RawServe::default() }
    }

    #[test]
    fn the_default_is_local_and_port_is_public() {
        let none = RawServe::default();
        assert_eq!(binds_of(&none, &[], &[]), Ok(vec![tcp("127.0.0.1:8000")]));
        assert_eq!(binds_of(&none, &[("PORT", "5000")], &[]), Ok(vec![tcp("0.0.0.0:5000")]));
        assert_eq!(binds_of(&none, &[("PORT", "")], &[]), Ok(vec![tcp("127.0.0.1:8000")]));
        let fault = binds_of(&none, &[("PORT", "http")], &[]).unwrap_err();
        assert_eq!(fault.to_string(), "PORT=\"http\": must end in a port from 0 to 65535");
    }

    #[test]
    fn what_is_typed_beats_every_variable() {
        let variables = [("PORT", "1"), ("MAITRED_BIND", "127.0.0.1:2"), ("MAITRED_UDS", "/a")];
        assert_eq!(binds_of(&flags(&["[::1]:3"]), &variables, &[]), Ok(vec![tcp("[::1]:3")]));
        let uds = RawServe { uds: Some("/b".into()), ..RawServe::default() };
        assert_eq!(binds_of(&uds, &variables, &[]), Ok(vec![Unix("/b".into())]));
    }

    #[test]
    fn variables_beat_port_and_hold_lists() {
        let variables =
            [("PORT", "1"), ("MAITRED_BIND", "127.0.0.1:2, unix:/a"), ("MAITRED_FD", "5")];
        assert_eq!(
            binds_of(&RawServe::default(), &variables, &[]),
            Ok(vec![tcp("127.0.0.1:2"), Unix("/a".into()), Inherited(5)])
        );
    }

    #[test]
    fn uvicorns_spellings_complete_each_other_and_add_up() {
        let port = RawServe { port: Some("0".into()), ..RawServe::default() };
        assert_eq!(binds_of(&port, &[], &[]), Ok(vec![tcp("127.0.0.1:0")]));
        assert_eq!(binds_of(&port, &[("MAITRED_HOST", "::1")], &[]), Ok(vec![tcp("[::1]:0")]));
        let host = RawServe { host: Some("0.0.0.0".into()), ..RawServe::default() };
        assert_eq!(binds_of(&host, &[], &[]), Ok(vec![tcp("0.0.0.0:8000")]));
        let all = RawServe {
            host: Some("0.0.0.0".into()),
            port: Some("1".into()),
            uds: Some("/a".into()),
            fd: Some("4".into()),
            ..flags(&["127.0.0.1:2"])
        };
        let binds = vec![tcp("127.0.0.1:2"), tcp("0.0.0.0:1"), Unix("/a".into()), Inherited(4)];
        assert_eq!(binds_of(&all, &[("PORT", "9")], &[]), Ok(binds));
    }

    #[test]
    fn systemd_replaces_the_default_and_joins_what_is_named() {
        let none = RawServe::default();
        assert_eq!(binds_of(&none, &[("PORT", "1")], &[3]), Ok(vec![Inherited(3)]));
        let named = flags(&["fd://3", "127.0.0.1:2"]);
        assert_eq!(binds_of(&named, &[], &[3]), Ok(vec![Inherited(3), tcp("127.0.0.1:2")]));
    }

    #[test]
    fn a_socket_of_systemds_is_served_by_its_name_and_the_others_are_left_alone() {
        let passed = || vec![(3, "http"), (4, "admin"), (5, "http")];
        let none = RawServe::default();
        let all = vec![Inherited(3), Inherited(4), Inherited(5)];
        assert_eq!(binds_with(&none, &[], passed()), Ok(all));
        let http = flags(&["systemd:http", "127.0.0.1:2"]);
        let binds = vec![Inherited(3), Inherited(5), tcp("127.0.0.1:2")];
        assert_eq!(binds_with(&http, &[], passed()), Ok(binds));
        let variable = [("MAITRED_BIND", "systemd:admin")];
        assert_eq!(binds_with(&none, &variable, passed()), Ok(vec![Inherited(4)]));
        // Whoever opens no addresses takes every name.
        let any = vec![(0, ANY_SOCKET)];
        assert_eq!(binds_with(&http, &[], any), Ok(vec![Inherited(0), tcp("127.0.0.1:2")]));
        let fault =
            |sockets| binds_with(&flags(&["systemd:htp"]), &[], sockets).unwrap_err().to_string();
        assert_eq!(
            fault(vec![(3, "http"), (4, "admin")]),
            "--bind \"systemd:htp\": must name a socket that systemd has passed: http, admin"
        );
        assert!(fault(Vec::new()).ends_with("and it has passed none"));
        // As with fd://3, which systemd has passed anyway, nothing is served twice.
        let twice = flags(&["systemd:http", "systemd:http"]);
        assert_eq!(binds_with(&twice, &[], passed()), Ok(vec![Inherited(3), Inherited(5)]));
    }

    #[test]
    fn no_address_stands_twice_but_port_zero() {
        assert_eq!(
            binds_of(&flags(&["127.0.0.1:0", "127.0.0.1:0"]), &[], &[]),
            Ok(vec![tcp("127.0.0.1:0"), tcp("127.0.0.1:0")])
        );
        let fault = binds_of(&flags(&["127.0.0.1:1", "127.0.0.1:1"]), &[], &[]).unwrap_err();
        assert_eq!(fault.to_string(), "--bind \"127.0.0.1:1\": names the same address twice");
        let many: Vec<String> = (1..=65).map(|port| format!("127.0.0.1:{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let fault = binds_of(&flags(&many), &[], &[]).unwrap_err();
        assert_eq!(fault.to_string(), "--bind: must name at most 64 addresses");
    }

    #[test]
    fn every_bad_half_is_told() {
        let raw = RawServe {
            port: Some("high".into()),
            fd: Some("1".into()),
            uds: Some("".into()),
            ..flags(&["nowhere"])
        };
        let faults = binds_of(&raw, &[], &[]).unwrap_err();
        let names: Vec<&str> = faults.iter().map(|fault| fault.name.as_str()).collect();
        assert_eq!(names, ["--bind", "--port", "--uds", "--fd"]);
    }
}
