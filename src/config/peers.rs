//! Lists of peers: who may say something about somebody else.
//!
//! The same list serves whom forwarded fields are believed of and who may send a PROXY header. The
//! rules are Uvicorn's, whose `--forwarded-allow-ips` it is: addresses, networks, names that a
//! proxy may write of itself, and `*`; added is `unix`, for a proxy at a Unix socket.
//!
//! Not here: what those peers say (`http::forwarded`, `proxy_protocol`).

use std::fmt;
use std::net::IpAddr;

use crate::ident::PeerAddress;

/// Peers that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerList {
    everybody: bool,
    unix: bool,
    networks: Vec<Network>,
    /// What is no address: names that a proxy may write.
    names: Vec<String>,
}

/// An address, or all that share its first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl PeerList {
    /// From addresses, networks, names, `unix` and `*`, with commas between.
    pub fn parse(text: &str) -> PeerList {
        let mut list = PeerList::default();
        for item in items(text) {
            match (item, Network::parse(item)) {
                ("*", _) => list.everybody = true,
                ("unix", _) => list.unix = true,
                (_, Some(network)) => list.networks.push(network),
                (_, None) => list.names.push(item.to_owned()),
            }
        }
        list
    }

    /// The same where a name means nothing: peers have addresses.
    ///
    /// # Errors
    /// The first item that is none of them.
    pub fn parse_addresses(text: &str) -> Result<PeerList, &str> {
        let is_peer = |item: &&str| matches!(*item, "*" | "unix") || Network::parse(item).is_some();
        match items(text).find(|item| !is_peer(item)) {
            Some(item) => Err(item),
            None => Ok(PeerList::parse(text)),
        }
    }

    /// Whether this peer is on it. One of a Unix socket has no address.
    pub fn has(&self, peer: PeerAddress) -> bool {
        match peer {
            PeerAddress::Inet(address) => self.everybody || self.has_address(address.ip()),
            PeerAddress::Local => self.everybody || self.unix,
        }
    }

    /// Whether everybody is.
    pub fn has_everybody(&self) -> bool {
        self.everybody
    }

    /// Whether this address, or name, as a proxy writes it, is.
    pub fn has_name(&self, name: &str) -> bool {
        match name.parse() {
            Ok(address) => self.everybody || self.has_address(address),
            Err(_) => self.everybody || self.names.iter().any(|other| other == name),
        }
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.has(address))
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// As it can be typed.
impl fmt::Display for PeerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [("*", self.everybody), ("unix", self.unix)];
        let words = words.into_iter().filter(|(_, is_on)| *is_on).map(|(word, _)| word.to_owned());
        let networks = self.networks.iter().map(ToString::to_string);
        let all: Vec<String> = networks.chain(self.names.iter().cloned()).chain(words).collect();
        f.write_str(&all.join(","))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.prefix) {
            (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => self.address.fmt(f),
            (address, prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok())?;
        (prefix <= bits).then_some(Network { address, prefix })
    }

    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let difference = u32::from(network) ^ u32::from(address);
                difference.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let difference = u128::from(network) ^ u128::from(address);
                difference.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn has(list: &str, peer: &str) -> bool {
        let address = SocketAddr::new(peer.parse().unwrap(), 4711);
        PeerList::parse(list).has(PeerAddress::Inet(address))
    }

    #[test]
    fn addresses_networks_and_everybody() {
        assert!(has("127.0.0.1", "127.0.0.1"));
        assert!(!has("127.0.0.1", "127.0.0.2"));
        assert!(has("10.0.0.0/8, ::1", "10.200.3.4"));
        assert!(!has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("fd00::/8", "fd12::1"));
        assert!(has("0.0.0.0/0", "8.8.8.8"));
        assert!(!has("0.0.0.0/0", "::1"));
        assert!(has("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(has("*", "8.8.8.8"));
        assert!(!has("", "127.0.0.1"));
        assert!(!has("10.0.0.0/33", "10.0.0.1"), "no network, and no address");
    }

    #[test]
    fn a_peer_without_an_address_has_a_word_of_its_own() {
        assert!(PeerList::parse("*").has(PeerAddress::Local));
        assert!(PeerList::parse("127.0.0.1,unix").has(PeerAddress::Local));
        assert!(!PeerList::parse("127.0.0.1").has(PeerAddress::Local));
    }

    #[test]
    fn names_are_for_what_proxies_write() {
        let list = PeerList::parse("proxy, 10.0.0.0/8");
        assert!(list.has_name("proxy") && list.has_name("10.1.1.1"));
        assert!(!list.has_name("other"));
        assert_eq!(PeerList::parse_addresses("10.0.0.0/8,proxy,*"), Err("proxy"));
        assert_eq!(PeerList::parse_addresses("unix,::1"), Ok(PeerList::parse("unix, ::1")));
    }

    #[test]
    fn a_list_is_shown_as_it_can_be_typed() {
        for text in ["127.0.0.1,::1,unix", "10.0.0.0/8,*", "fd00::/8,proxy", ""] {
            assert_eq!(PeerList::parse(text).to_string(), text);
        }
    }
}
