//! What a header said, as the bytes that travel with the connection to its next worker.
//!
//! Not here: how they travel (`board::Terms`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Announced;
use crate::config::CONTEXT_SIZE;

/// No other context begins like this, and none at all is zeros.
const TAG: u8 = b'P';

const ITSELF: u8 = 1;
const LOCAL: u8 = 2;
const INET: u8 = 4;
const INET6: u8 = 6;

impl Announced {
    /// The context of a connection whose header said this.
    pub fn context(self) -> [u8; CONTEXT_SIZE] {
        let mut context = [0; CONTEXT_SIZE];
        let kind = match self {
            Announced::Itself => ITSELF,
            Announced::Local => LOCAL,
            Announced::Client(address) => {
                context[2..4].copy_from_slice(&address.port().to_le_bytes());
                match address.ip() {
                    IpAddr::V4(address) => {
                        context[4..8].copy_from_slice(&address.octets());
                        INET
                    }
                    IpAddr::V6(address) => {
                        context[4..20].copy_from_slice(&address.octets());
                        INET6
                    }
                }
            }
        };
        (context[0], context[1]) = (TAG, kind);
        context
    }

    /// What a connection's header said, if it has had one. Another worker has written it, which may
    /// have written anything.
    pub fn of_context(context: &[u8; CONTEXT_SIZE]) -> Option<Announced> {
        let [TAG, kind, port @ ..] = context else { return None };
        let port = u16::from_le_bytes([port[0], port[1]]);
        let address: IpAddr = match *kind {
            ITSELF => return Some(Announced::Itself),
            LOCAL => return Some(Announced::Local),
            INET => Ipv4Addr::from(*context[4..].first_chunk::<4>()?).into(),
            INET6 => Ipv6Addr::from(*context[4..].first_chunk::<16>()?).into(),
            _ => return None,
        };
        Some(Announced::Client(SocketAddr::new(address, port)))
    }
}
