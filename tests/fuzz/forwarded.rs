//! Forwarded and X-Forwarded fields from any bytes: a line a field.
//!
//! The client is the peer, or an address that stands in the fields; a peer that is not believed
//! says nothing; and what a client puts in front changes nothing once a stranger's address follows.

use http::{HeaderMap, HeaderName, HeaderValue};
use maitred::config::{Forwarded, ForwardedFields, PeerList};
use maitred::http::forwarded::{Client, client};
use maitred::ident::PeerAddress;

pub(crate) fn run(input: &[u8]) {
    let peer = PeerAddress::Inet("10.0.0.9:4711".parse().expect("an address"));
    for (fields, name) in
        [(ForwardedFields::XForwarded, "x-forwarded-for"), (ForwardedFields::Standard, "forwarded")]
    {
        let headers = headers(name, input);
        let rules = |list: &str| Forwarded { believed: PeerList::parse(list), fields };
        let itself = Client { address: peer, is_secure: false };
        assert_eq!(client(&headers, peer, &rules("10.0.0.8")), itself, "a stranger is believed");
        let told = client(&headers, peer, &rules("10.0.0.0/8"));
        let text = String::from_utf8_lossy(input).to_lowercase();
        match told.address {
            told if told == peer => {}
            PeerAddress::Inet(address) => {
                assert_eq!(address.port(), 0);
                // As it stands there, or in another form of the same address.
                assert!(address.is_ipv6() || text.contains(&address.ip().to_string()));
            }
            PeerAddress::Local => panic!("no field says so"),
        }
        // A proxy of ours adds what it sees; a client had the rest in its hand.
        let mut forged = headers.clone();
        let added = match fields {
            ForwardedFields::XForwarded => "192.0.2.7",
            ForwardedFields::Standard => "for=192.0.2.7",
        };
        forged.append(HeaderName::from_static(name), HeaderValue::from_static(added));
        let told = client(&forged, peer, &rules("10.0.0.0/8")).address;
        let honest = PeerAddress::Inet("192.0.2.7:0".parse().expect("an address"));
        // A malformed field of the standard kind makes all of them say nothing.
        let spoiled = fields == ForwardedFields::Standard && told == peer;
        assert!(told == honest || spoiled, "forged: {told}");
    }
}

fn headers(name: &'static str, input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let lines = input.split(|byte| *byte == b'\n').take(50);
    for value in lines.filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}
