//! A directory as an HTML page: for people, complete in itself, with nothing to run.
//!
//! Names may hold any bytes but slash and NUL; they are escaped for the text and percent-encoded
//! for the link.
//!
//! Not here: reading directories (`root`).

use std::cmp::Reverse;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use super::path::{CleanPath, encode};
use super::root::{Contents, Entry};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem;color-scheme:light dark}table{border-collapse:collapse;width:100%}\
td{padding:.15rem 0;overflow-wrap:anywhere}td+td{text-align:right;white-space:nowrap;\
padding-left:2rem;font-variant-numeric:tabular-nums}tr:hover{background:#8882}";

/// The page of a directory: directories first, then files, each by name.
pub(super) fn page(path: &CleanPath, contents: Contents) -> String {
    let Contents { mut entries, is_cut_off } = contents;
    entries.sort_by(|a, b| {
        (Reverse(a.is_directory), &a.name).cmp(&(Reverse(b.is_directory), &b.name))
    });
    let title = escape(&path.display());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Index of {title}</title>\n<style>{STYLE}</style>\n<h1>Index of {title}</h1>\n\
         <table>\n"
    );
    if title != "/" {
        page.push_str("<tr><td><a href=\"../\">../</a><td>\n");
    }
    for entry in &entries {
        row(&mut page, entry);
    }
    page.push_str("</table>\n");
    if is_cut_off {
        page.push_str("<p>There is more: this directory is too large to be listed whole.</p>\n");
    }
    page
}

fn row(page: &mut String, entry: &Entry) {
    let name = escape(&entry.name.to_string_lossy());
    let link = encode(entry.name.as_bytes());
    let (slash, size) =
        if entry.is_directory { ("/", String::new()) } else { ("", readable_size(entry.size)) };
    // "./" keeps a name with a colon from being read as a scheme, whatever is encoded.
    let written = writeln!(page, "<tr><td><a href=\"./{link}{slash}\">{name}{slash}</a><td>{size}");
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

/// For text and for quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn readable_size(size: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let mut scaled = size as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    // 1023.95 would be rounded to "1024.0".
    while scaled >= 1023.95 && units.len() > 0 {
        scaled /= 1024.0;
        unit = units.next();
    }
    format!("{scaled:.1} {}", unit.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn entry(name: &[u8], is_directory: bool, size: u64) -> Entry {
        Entry { name: OsString::from_vec(name.to_vec()), is_directory, size }
    }

    fn page_of(sent: &str, entries: Vec<Entry>) -> String {
        let contents = Contents { entries, is_cut_off: false };
        page(&CleanPath::parse(sent).unwrap(), contents)
    }

    #[test]
    fn directories_come_first_and_names_are_sorted() {
        let page = page_of(
            "/docs/",
            vec![entry(b"b.txt", false, 1), entry(b"a.txt", false, 2048), entry(b"z", true, 0)],
        );
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
        assert!(place("../") < place("\"./z/\">z/</a>"));
        assert!(place("./z/") < place("./a.txt"));
        assert!(place("./a.txt") < place("./b.txt"));
        assert!(page.contains("2.0 KiB") && page.contains("1 B"));
        assert!(page.contains("<title>Index of /docs/</title>"));
        assert!(!page_of("/", Vec::new()).contains("../"));
    }

    #[test]
    fn hostile_names_stay_names() {
        let page = page_of(
            "/%3Cscript%3E/",
            vec![
                entry(b"\"><img src=x onerror=alert(1)>", false, 0),
                entry(b"javascript:alert(1)", false, 0),
                entry(b"a&b'c?d#e%f", false, 0),
                entry(b"\xff\xfe", false, 0),
            ],
        );
        assert!(!page.contains("<img") && !page.contains("<script>"));
        assert!(page.contains("Index of /&lt;script&gt;/"));
        assert!(page.contains("href=\"./javascript%3Aalert%281%29\""));
        assert!(page.contains("href=\"./a%26b%27c%3Fd%23e%25f\">a&amp;b&#39;c?d#e%f<"));
        assert!(page.contains("href=\"./%FF%FE\""));
    }

    #[test]
    fn a_page_that_was_cut_off_says_so() {
        let contents = Contents { entries: Vec::new(), is_cut_off: true };
        assert!(page(&CleanPath::parse("/").unwrap(), contents).contains("There is more"));
    }

    #[test]
    fn sizes_are_readable() {
        for (size, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(readable_size(size), expected);
        }
    }
}
