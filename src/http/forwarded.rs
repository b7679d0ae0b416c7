//! Who the client is, where a believed proxy says so in fields of the request.
//!
//! Only a believed peer is listened to, and the client is the rightmost address that is not itself
//! a believed proxy's: what stands further left the client may have written. One kind of field
//! counts, as the settings say: a proxy that writes X-Forwarded-For passes a Forwarded field on as
//! it came, and with it whatever a client has put there.
//!
//! Not here: whom to believe (`config::PeerList`), what came before HTTP (`proxy_protocol`).

use std::net::{IpAddr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};

use crate::config::{Forwarded, ForwardedFields, PeerList};
use crate::ident::PeerAddress;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who asks, and how it speaks with the first proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address. Proxies do not tell the port; it is 0 where a field has told the address.
    pub address: PeerAddress,
    /// By TLS.
    pub is_secure: bool,
}

/// The client of a request that has come from this peer.
pub fn client(headers: &HeaderMap, peer: PeerAddress, rules: &Forwarded) -> Client {
    let itself = Client { address: peer, is_secure: false };
    if headers.is_empty() || !rules.believed.has(peer) {
        return itself;
    }
    let (name, is_secure) = match rules.fields {
        ForwardedFields::XForwarded => {
            // The last one, if there are several, is the proxy's that has connected here.
            let proto = headers.get_all(X_FORWARDED_PROTO).iter().next_back();
            let proto = proto.and_then(|field| is_secure(field.to_str().ok()?));
            let fields = headers.get_all(X_FORWARDED_FOR);
            let fields = fields.iter().filter_map(|field| field.to_str().ok());
            (client_name(&rules.believed, fields), proto)
        }
        ForwardedFields::Standard => {
            let fields = headers.get_all(FORWARDED).iter().map(|field| field.to_str().ok());
            // One that is malformed says nothing, and neither do the others then: which of its
            // parts is whose nobody knows.
            let Some(hops) = fields.map(|field| hops(field?)).collect::<Option<Vec<_>>>() else {
                return itself;
            };
            let hops: Vec<Hop<'_>> = hops.into_iter().flatten().collect();
            match first_stranger(&rules.believed, &hops, |hop| hop.name) {
                Some(hop) => (hop.name, hop.proto.and_then(is_secure)),
                None => return itself,
            }
        }
    };
    let address = name.and_then(|name| name.parse::<IpAddr>().ok());
    Client {
        address: address.map_or(peer, |address| PeerAddress::Inet(SocketAddr::new(address, 0))),
        is_secure: is_secure.unwrap_or(false),
    }
}

/// The client behind the proxies, of all X-Forwarded-For fields in order: an address, or what a
/// proxy has written in the place of one.
pub fn client_name<'a>(
    believed: &PeerList,
    fields: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let names: Vec<&str> = fields
        .flat_map(|field| field.split(','))
        .map(|item| without_port(item.trim()))
        .filter(|item| !item.is_empty() && item.bytes().all(|byte| byte.is_ascii_graphic()))
        .collect();
    first_stranger(believed, &names, |name| Some(name)).copied()
}

/// Whether X-Forwarded-Proto says that the client spoke TLS; `None` where it says nothing that is
/// understood.
pub fn is_secure(field: &str) -> Option<bool> {
    match field.trim() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

/// From the right, the first that is no believed proxy; the leftmost where all are.
fn first_stranger<'a, 'b, T>(
    believed: &PeerList,
    hops: &'b [T],
    name: impl Fn(&'b T) -> Option<&'a str>,
) -> Option<&'b T> {
    if believed.has_everybody() {
        return hops.first();
    }
    let is_stranger = |hop: &&'b T| !name(hop).is_some_and(|name| believed.has_name(name));
    hops.iter().rfind(is_stranger).or(hops.first())
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

/// One element of a Forwarded field: what one proxy says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hop<'a> {
    /// Its `for`, without port.
    name: Option<&'a str>,
    /// Its `proto`.
    proto: Option<&'a str>,
}

/// The elements of one field (RFC 7239 section 4); `None` if it is malformed. Quoted text with a
/// backslash in it is: nothing that may stand there needs one.
fn hops(field: &str) -> Option<Vec<Hop<'_>>> {
    let mut hops = Vec::new();
    let mut hop = Hop::default();
    let mut is_empty = true;
    let mut rest = field.trim();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = value(behind)?;
        let place = match name {
            _ if name.eq_ignore_ascii_case("for") => Some(&mut hop.name),
            _ if name.eq_ignore_ascii_case("proto") => Some(&mut hop.proto),
            _ if is_token(name) => None,
            _ => return None,
        };
        // Each at most once in an element.
        if place.is_some_and(|place| place.replace(value).is_some()) {
            return None;
        }
        is_empty = false;
        let behind = behind.trim_start();
        rest = match behind.as_bytes().first() {
            None => behind,
            Some(b';') => behind[1..].trim_start(),
            Some(b',') => {
                hops.push(std::mem::take(&mut hop));
                is_empty = true;
                behind[1..].trim_start()
            }
            Some(_) => return None,
        };
    }
    if !is_empty {
        hops.push(hop);
    }
    for hop in &mut hops {
        hop.name = hop.name.map(without_port);
    }
    Some(hops)
}

/// A token or quoted text, and what stands behind it.
fn value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, behind) = quoted.split_once('"')?;
        let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        return is_plain.then_some((value, behind));
    }
    let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
    let (value, behind) = text.split_at(end);
    is_token(value).then_some((value, behind))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(crate::http::scan::is_token_byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn rules(believed: &str, fields: ForwardedFields) -> Forwarded {
        Forwarded { believed: PeerList::parse(believed), fields }
    }

    fn peer() -> PeerAddress {
        PeerAddress::Inet("10.0.0.9:4711".parse().unwrap())
    }

    fn told(fields: &[(&'static str, &str)], rules: &Forwarded) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let client = client(&headers, peer(), rules);
        let address = match client.address {
            PeerAddress::Inet(address) => address.ip().to_string(),
            PeerAddress::Local => "unix".to_owned(),
        };
        (address, client.is_secure)
    }

    #[test]
    fn the_client_is_the_rightmost_that_is_no_proxy() {
        let client = |list: &str, fields: &[&'static str]| {
            client_name(&PeerList::parse(list), fields.iter().copied())
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

    #[test]
    fn only_a_believed_peer_is_listened_to() {
        let fields = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")];
        let believed = rules("10.0.0.0/8", ForwardedFields::XForwarded);
        assert_eq!(told(&fields, &believed), ("1.2.3.4".into(), true));
        for nobody in ["", "10.0.0.8", "unix"] {
            let nobody = rules(nobody, ForwardedFields::XForwarded);
            assert_eq!(told(&fields, &nobody), ("10.0.0.9".into(), false));
        }
        // A name in the place of an address says nothing that could be used.
        let unknown = [("x-forwarded-for", "unknown"), ("x-forwarded-proto", "https")];
        assert_eq!(told(&unknown, &believed), ("10.0.0.9".into(), true));
        let mapped = [("x-forwarded-for", "[2001:db8::7]:99")];
        assert_eq!(told(&mapped, &believed), ("2001:db8::7".into(), false));
    }

    #[test]
    fn one_kind_of_field_counts_whatever_a_client_writes_into_the_other() {
        let both = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=6.6.6.6;proto=https")];
        let (x, standard) = (ForwardedFields::XForwarded, ForwardedFields::Standard);
        assert_eq!(told(&both, &rules("10.0.0.9", x)), ("1.2.3.4".into(), false));
        assert_eq!(told(&both, &rules("10.0.0.9", standard)), ("6.6.6.6".into(), true));
    }

    #[test]
    fn forwarded_is_read_from_the_right_with_its_quotes() {
        let rules = rules("10.0.0.0/8,_inner", ForwardedFields::Standard);
        let told = |field: &str| told(&[("forwarded", field)], &rules);
        for (field, address, is_secure) in [
            ("for=1.2.3.4", "1.2.3.4", false),
            ("For=\"1.2.3.4:567\";PROTO=https", "1.2.3.4", true),
            ("for=\"[2001:db8::7]:99\" ; by=10.0.0.1", "2001:db8::7", false),
            ("for=6.6.6.6, for=1.2.3.4;proto=https, for=10.0.0.7;proto=http", "1.2.3.4", true),
            ("for=1.2.3.4, for=_inner", "1.2.3.4", false),
            ("proto=https;for=10.0.0.1,for=10.0.0.2", "10.0.0.1", true),
            // Who hides keeps what is behind it hidden.
            ("for=1.2.3.4, for=unknown;proto=https", "10.0.0.9", true),
            ("for=1.2.3.4, proto=https", "10.0.0.9", true),
            ("", "10.0.0.9", false),
            ("for=\"a,for=6.6.6.6\"", "10.0.0.9", false),
        ] {
            assert_eq!(told(field), (address.to_owned(), is_secure), "{field}");
        }
        for malformed in [
            "for",
            "=1.2.3.4",
            "for=",
            "for=\"1.2.3.4",
            "for=1.2.3.4;for=6.6.6.6",
            "for=1.2.3.4 6.6.6.6",
            "for=\"1.2.3.4\"x",
            "for=\"1.2.3\\.4\"",
            "f or=1.2.3.4",
            "for=1.2.3.4, for",
        ] {
            assert_eq!(told(malformed), ("10.0.0.9".into(), false), "{malformed}");
        }
    }
}
