//! What holds for every input: pieces do not matter, and nothing panics.
//!
//! Not here: fuzz targets, which ask the same of more inputs for longer (`tests/fuzz`).

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::prop_assert_eq;

use super::converse;
use crate::config::HttpLimits;

fn limits() -> HttpLimits {
    HttpLimits { request_line_max: 60, fields_max: 6, field_size_max: 60, ..HttpLimits::default() }
}

/// Fragments that mean something, so that random sequences of them reach deep.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "PUT / HTTP/1.1\r\n",
        "Host: a\r\n",
        "Content-Length: 3\r\n",
        "Expect: 100-continue\r\n",
        "5\r\nhello\r\n",
        "5;a=\"b\"\r\nhello\r\n",
        "0\r\n",
        "a: b\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ];
    prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
        1 => Just(Vec::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn pieces_do_not_change_what_is_told(
        fragments in vec(fragment(), 1..8),
        flips in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..2),
        cuts in vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let mut input = fragments.concat();
        for (place, byte) in flips {
            if !input.is_empty() {
                let place = place.index(input.len());
                input[place] = byte;
            }
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = converse(&input, &[], limits());
        prop_assert_eq!(&converse(&input, &cuts, limits()), &whole);
        let bytes: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&converse(&input, &bytes, limits()), &whole);
    }
}
