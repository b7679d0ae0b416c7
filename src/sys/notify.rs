//! The socket by which a service manager is told how a service fares (sd_notify(3)).
//!
//! Datagrams of `NAME=value` lines, to the address in NOTIFY_SOCKET. Sending never blocks and is
//! never tried again: a service manager that does not read must not stop the server. (The crate
//! sd-notify blocks while the receiver's queue is full, and knows no abstract addresses; what is
//! left of it then is a name for each of seven lines.)
//!
//! Not here: what is said, and when (`master::service`).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Variables that are this process's alone: a worker that spoke for the service would be believed.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Where the service manager listens.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notifier {
    /// What the environment names; none where no service manager wants to hear.
    ///
    /// # Errors
    /// The name is no address of a Unix socket, or there is no descriptor.
    pub fn from_environment() -> io::Result<Option<Self>> {
        match env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Notifier::to(&name).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// One that sends to `/PATH` or `@ABSTRACT`.
    ///
    /// # Errors
    /// The name is neither, or there is no descriptor.
    pub fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            // AF_VSOCK, for virtual machines, or nonsense.
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "no Unix socket")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Notifier { socket, address })
    }

    /// Sends one message. The socket is not connected, since a service manager that is executed anew
    /// makes its own anew.
    ///
    /// # Errors
    /// Nobody listens, or the receiver's queue is full.
    pub fn send(&self, message: &str) -> io::Result<()> {
        self.socket.send_to_addr(message.as_bytes(), &self.address).map(|_| ())
    }
}

/// After how long without a sign of life the service manager ends this process, if it does.
pub fn watchdog_timeout() -> Option<Duration> {
    let variable = |name| env::var(name).ok();
    timeout_of(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id())
}

/// sd_watchdog_enabled(3): without WATCHDOG_PID, whoever sees the variable is meant.
fn timeout_of(usec: Option<String>, pid: Option<String>, ours: u32) -> Option<Duration> {
    let usec = usec?.parse().ok().filter(|usec| *usec > 0)?;
    let meant = pid.is_none_or(|pid| pid.parse() == Ok(ours));
    meant.then(|| Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_and_an_absent_listener_are_errors_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        assert!(notifier.send("READY=1").is_err(), "nobody listens yet");
        let listener = UnixDatagram::bind(&path).unwrap();
        let sent = (0..100_000).take_while(|_| notifier.send("READY=1").is_ok()).count();
        assert!((1..100_000).contains(&sent), "the queue has an end, and did not block: {sent}");
        let mut message = [0; 64];
        let length = listener.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1");
        notifier.send("STATUS=goes on").unwrap();
    }

    #[test]
    fn abstract_names_begin_with_an_at_sign_and_others_are_refused() {
        let name = format!("maitred-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::to(OsStr::new(&format!("@{name}"))).unwrap();
        notifier.send("READY=1").unwrap();
        let mut message = [0; 64];
        assert_eq!(listener.recv(&mut message).unwrap(), 7);
        for name in ["vsock:2:1234", "relative"] {
            assert!(Notifier::to(OsStr::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn the_watchdog_is_for_whom_it_names() {
        let timeout = |usec: &str, pid: Option<&str>| {
            timeout_of(Some(usec.to_owned()), pid.map(str::to_owned), 7)
        };
        assert_eq!(timeout("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(timeout("3000000", Some("7")), Some(Duration::from_secs(3)));
        assert_eq!(timeout("3000000", Some("8")), None);
        assert_eq!(timeout("0", None), None);
        assert_eq!(timeout("soon", None), None);
        assert_eq!(timeout_of(None, None, 7), None);
    }
}
