//! Addresses as users type them: `HOST:PORT`, `[v6]:PORT`, `PORT`, `unix:PATH`, `fd://N`.
//! (`systemd:NAME` is looked up where it is known what systemd has passed: `binds`.)
//!
//! Parsing is pure; a host name is asked of the [`Lookup`] that the caller brings, so that tests
//! need no resolver.
//!
//! Not here: opening them (`sys::listener`), which flags and variables name them (`resolve`).

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::cli::values::{Refusal, whole};
use crate::config::{Bind, UNIX_PATH_SIZE_MAX};

/// Asks for the addresses of a host name, as getaddrinfo(3) does.
pub type Lookup<'a> = &'a dyn Fn(&str) -> io::Result<Vec<IpAddr>>;

/// What `--bind` takes.
const FORMS: &str = "HOST:PORT, [v6]:PORT, PORT, unix:PATH, fd://N or systemd:NAME";

/// One `--bind` address. A bare port, or a host without one, is completed as Uvicorn does:
/// 127.0.0.1 and 8000; an empty host, as in `:8000`, is every IPv4 address.
pub fn bind(text: &OsStr, lookup: Lookup<'_>) -> Result<Bind, Refusal> {
    if let Some(path) = text.as_bytes().strip_prefix(b"unix:") {
        // Gunicorn writes unix:PATH and unix://PATH for the same path.
        let path = path.strip_prefix(b"//").unwrap_or(path);
        return unix(&OsString::from_vec(path.to_vec()));
    }
    let text = text.to_str().ok_or_else(|| format!("must be {FORMS}"))?;
    if let Some(number) = text.strip_prefix("fd://") {
        return descriptor(number);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Bind::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port(text)?))));
    }
    // An IPv6 address stands in brackets: 2001:db8::1:8000 could be read in two ways.
    let (host, port_text) = match text.rsplit_once(':') {
        Some((host, port_text)) if !host.contains(':') || host.ends_with(']') => (host, port_text),
        Some(_) | None => return Err(format!("must be {FORMS}")),
    };
    tcp(host, port(port_text)?, lookup)
}

/// A host with its port, as `--host` and `--port` name them apart. Of a name's addresses the first
/// IPv4 one is taken, as in Gunicorn: `localhost` means 127.0.0.1 also where IPv6 is half set up.
pub fn tcp(host: &str, port: u16, lookup: Lookup<'_>) -> Result<Bind, Refusal> {
    if host.is_empty() {
        return Ok(Bind::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
    }
    let bare = match host.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']').ok_or("must close its bracket: [v6]:PORT")?;
            let address = inner.parse::<Ipv6Addr>();
            return match address {
                Ok(address) => Ok(Bind::Tcp(SocketAddr::from((address, port)))),
                Err(_) => Err("must have an IPv6 address in its brackets".to_owned()),
            };
        }
        None => host,
    };
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(Bind::Tcp(SocketAddr::from((address, port))));
    }
    let addresses = lookup(bare).map_err(|error| format!("host '{bare}' is not found: {error}"))?;
    let address = addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first())
        .ok_or_else(|| format!("host '{bare}' has no address"))?;
    Ok(Bind::Tcp(SocketAddr::from((*address, port))))
}

/// A Unix socket's path, as `--uds` takes it.
pub fn unix(path: &OsStr) -> Result<Bind, Refusal> {
    let bytes = path.as_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        return Err("must name a path".to_owned());
    }
    if bytes[0] == b'@' {
        return Err("must be a path in the file system: abstract sockets are not supported, \
                    because they have no permissions (write ./@… for such a file)"
            .to_owned());
    }
    if bytes.len() > UNIX_PATH_SIZE_MAX {
        return Err(format!(
            "must be a path of at most {UNIX_PATH_SIZE_MAX} bytes, this one has {}",
            bytes.len()
        ));
    }
    Ok(Bind::Unix(PathBuf::from(path)))
}

/// An inherited descriptor, as `--fd` takes it: 0 (as supervisord passes it) or from 3 on.
pub fn descriptor(text: &str) -> Result<Bind, Refusal> {
    let number = whole(text, 0..=i32::MAX as u64)?;
    match i32::try_from(number) {
        Ok(number) if !(1..=2).contains(&number) => Ok(Bind::Inherited(number)),
        Ok(_) | Err(_) => Err("must not be 1 or 2: those are stdout and stderr".to_owned()),
    }
}

/// A port; 0 lets the kernel choose.
pub fn port(text: &str) -> Result<u16, Refusal> {
    let refusal = || format!("must end in a port from 0 to {}", u16::MAX);
    if text.is_empty() {
        return Err(refusal());
    }
    let number = whole(text, 0..=u64::from(u16::MAX)).map_err(|_| refusal())?;
    u16::try_from(number).map_err(|_| refusal())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
        match host {
            "both.example" => {
                Ok(vec![IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))])
            }
            "six.example" => Ok(vec![IpAddr::V6(Ipv6Addr::LOCALHOST)]),
            "empty.example" => Ok(Vec::new()),
            _ => Err(io::Error::other("no such name")),
        }
    }

    fn bound(text: &str) -> Result<Bind, Refusal> {
        bind(OsStr::new(text), &lookup)
    }

    #[test]
    fn every_form_is_taken() {
        for (text, address) in [
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::1]:8000", "[::1]:8000"),
            ("[::]:80", "[::]:80"),
            ("9000", "127.0.0.1:9000"),
            (":9000", "0.0.0.0:9000"),
            ("both.example:80", "192.0.2.7:80"),
            ("six.example:80", "[::1]:80"),
        ] {
            assert_eq!(bound(text), Ok(Bind::Tcp(address.parse().unwrap())), "{text}");
        }
        for (text, path) in
            [("unix:/run/a.sock", "/run/a.sock"), ("unix:///run/a", "/run/a"), ("unix:a", "a")]
        {
            assert_eq!(bound(text), Ok(Bind::Unix(path.into())), "{text}");
        }
        assert_eq!(bound("fd://3"), Ok(Bind::Inherited(3)));
        assert_eq!(bound("fd://0"), Ok(Bind::Inherited(0)));
    }

    #[test]
    fn what_is_no_address_says_what_one_is() {
        for (text, part) in [
            ("", "must be HOST:PORT"),
            ("localhost", "must be HOST:PORT"),
            ("127.0.0.1", "must be HOST:PORT"),
            ("::1:8000", "must be HOST:PORT"),
            ("127.0.0.1:", "a port from 0 to 65535"),
            ("127.0.0.1:65536", "a port from 0 to 65535"),
            ("127.0.0.1:+80", "a port from 0 to 65535"),
            ("65536", "a port from 0 to 65535"),
            ("[::1:8000", "must be HOST:PORT"),
            ("[::1]", "must be HOST:PORT"),
            ("[127.0.0.1]:80", "an IPv6 address in its brackets"),
            ("[localhost]:80", "an IPv6 address in its brackets"),
            ("[a:80", "must close its bracket"),
            ("nowhere.example:80", "host 'nowhere.example' is not found: no such name"),
            ("empty.example:80", "host 'empty.example' has no address"),
            ("unix:", "must name a path"),
            ("unix:@name", "abstract sockets are not supported"),
            ("fd://", "must be a whole number"),
            ("fd://-1", "must be a whole number"),
            ("fd://1", "must not be 1 or 2"),
            ("fd://2", "must not be 1 or 2"),
        ] {
            let refusal = bound(text).unwrap_err();
            assert!(refusal.contains(part), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_path_must_fit_in_its_structure() {
        let longest = "a".repeat(UNIX_PATH_SIZE_MAX);
        assert!(unix(OsStr::new(&longest)).is_ok());
        let refusal = unix(OsStr::new(&format!("{longest}a"))).unwrap_err();
        assert_eq!(refusal, "must be a path of at most 107 bytes, this one has 108");
    }

    #[test]
    fn bytes_that_are_no_text_are_a_path_or_nothing() {
        let path = OsString::from_vec(b"unix:/run/\xff".to_vec());
        assert!(matches!(bind(&path, &lookup), Ok(Bind::Unix(_))));
        let host = OsString::from_vec(b"\xff:80".to_vec());
        assert!(bind(&host, &lookup).is_err());
    }
}
