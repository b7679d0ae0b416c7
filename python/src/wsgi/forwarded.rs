//! Who the client is, where a trusted proxy says so: X-Forwarded-For and X-Forwarded-Proto.
//!
//! The rules are Uvicorn's: only a trusted peer is believed, and the client is the rightmost
//! address that is not itself a trusted proxy's. Pure.
//!
//! Not here: where the answer goes (`environ`).

use std::net::IpAddr;

/// Peers whose X-Forwarded fields are believed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trusted {
    everybody: bool,
    networks: Vec<Network>,
    /// What is no address: names that a proxy may write.
    names: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Trusted {
    /// From `--forwarded-allow-ips`: addresses, networks and names with commas between, or `*`.
    pub(super) fn parse(text: &str) -> Trusted {
        let mut trusted = Trusted::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match (item, Network::parse(item)) {
                ("*", _) => trusted.everybody = true,
                (_, Some(network)) => trusted.networks.push(network),
                (_, None) => trusted.names.push(item.to_owned()),
            }
        }
        trusted
    }

    /// Whether a peer is believed. One of a Unix socket has no address: it is believed where
    /// everybody is.
    pub(super) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.everybody || peer.is_some_and(|peer| self.has_address(peer))
    }

    /// The client behind the proxies, of all X-Forwarded-For fields in order.
    pub(super) fn client<'a>(&self, fields: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let mut addresses = fields
            .flat_map(|field| field.split(','))
            .map(|item| without_port(item.trim()))
            .filter(|item| !item.is_empty() && item.bytes().all(|byte| byte.is_ascii_graphic()))
            .collect::<Vec<_>>()
            .into_iter();
        let first = addresses.next()?;
        if self.everybody {
            return Some(first);
        }
        match addresses.rfind(|address| !self.has(address)) {
            Some(address) => Some(address),
            None => Some(first),
        }
    }

    fn has(&self, item: &str) -> bool {
        match item.parse() {
            Ok(address) => self.has_address(address),
            Err(_) => self.names.iter().any(|name| name == item),
        }
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.has(address))
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

/// Some proxies write `1.2.3.4:567` and `[::1]:567`.
fn without_port(item: &str) -> &str {
    if let Some(rest) = item.strip_prefix('[') {
        return rest.split_once(']').map_or(item, |(address, _)| address);
    }
    match item.split_once(':') {
        Some((address, port)) if !port.contains(':') => address,
        Some(_) | None => item,
    }
}

/// Whether X-Forwarded-Proto says that the client spoke TLS; `None` where it says nothing that is
/// understood.
pub(super) fn is_secure(field: &str) -> Option<bool> {
    match field.trim() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(list: &str, peer: &str) -> bool {
        Trusted::parse(list).trusts(Some(peer.parse().unwrap()))
    }

    #[test]
    fn addresses_networks_and_everybody() {
        assert!(trusts("127.0.0.1", "127.0.0.1"));
        assert!(!trusts("127.0.0.1", "127.0.0.2"));
        assert!(trusts("10.0.0.0/8, ::1", "10.200.3.4"));
        assert!(!trusts("10.0.0.0/8", "11.0.0.1"));
        assert!(trusts("fd00::/8", "fd12::1"));
        assert!(trusts("0.0.0.0/0", "8.8.8.8"));
        assert!(!trusts("0.0.0.0/0", "::1"));
        assert!(trusts("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(trusts("*", "8.8.8.8"));
        assert!(!trusts("", "127.0.0.1"));
        assert!(!trusts("10.0.0.0/33", "10.0.0.1"), "no network, and no address");
    }

    #[test]
    fn a_client_without_an_address_is_believed_where_everybody_is() {
        assert!(Trusted::parse("*").trusts(None));
        assert!(!Trusted::parse("127.0.0.1").trusts(None));
    }

    #[test]
    fn the_client_is_the_rightmost_that_is_no_proxy() {
        let client = |list: &str, fields: &[&'static str]| {
            Trusted::parse(list).client(fields.iter().copied())
        };
        assert_eq!(client("127.0.0.1", &["1.2.3.4"]), Some("1.2.3.4"));
        assert_eq!(client("10.0.0.0/8", &["6.6.6.6, 1.2.3.4, 10.0.0.7"]), Some("1.2.3.4"));
        assert_eq!(client("10.0.0.0/8", &["6.6.6.6", "1.2.3.4", "10.0.0.7"]), Some("1.2.3.4"));
        assert_eq!(client("10.0.0.0/8", &["10.0.0.1, 10.0.0.2"]), Some("10.0.0.1"));
        assert_eq!(client("*", &["6.6.6.6, 1.2.3.4"]), Some("6.6.6.6"));
        assert_eq!(client("proxy", &["1.2.3.4, proxy"]), Some("1.2.3.4"));
        assert_eq!(client("*", &[" , "]), None);
        assert_eq!(client("*", &["a b"]), None);
    }

    #[test]
    fn ports_are_left_out() {
        assert_eq!(without_port("1.2.3.4:567"), "1.2.3.4");
        assert_eq!(without_port("[::1]:567"), "::1");
        assert_eq!(without_port("::1"), "::1");
        assert_eq!(without_port("[::1"), "[::1");
    }

    #[test]
    fn a_scheme_is_one_word() {
        assert_eq!(is_secure("https"), Some(true));
        assert_eq!(is_secure(" http "), Some(false));
        assert_eq!(is_secure("https,http"), None);
        assert_eq!(is_secure("HTTPS"), None);
    }
}
