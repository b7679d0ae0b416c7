//! Where operators find a server.

use super::{refusal, resolved};
use crate::config::Bind;

fn admin(arguments: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let settings = resolved(arguments, variables).unwrap().settings;
    settings.admin.iter().map(Bind::to_string).collect()
}

#[test]
fn it_is_off_and_takes_several_addresses() {
    assert!(admin(&[], &[]).is_empty());
    let both = ["--admin", "9000", "--admin", "unix:/run/a"];
    assert_eq!(admin(&both, &[]), ["127.0.0.1:9000", "unix:/run/a"]);
    let variable = [("MAITRED_ADMIN", "unix:/run/b, [::1]:9")];
    assert_eq!(admin(&[], &variable), ["unix:/run/b", "[::1]:9"]);
    assert_eq!(admin(&both, &variable).len(), 2, "a flag beats its variable");
    // Two that the kernel chooses are two.
    assert_eq!(admin(&["--admin", "0", "--admin", "0"], &[]).len(), 2);
}

#[test]
fn it_is_never_where_the_server_listens_and_nobody_inherits_it() {
    for (arguments, words) in [
        (&["-b", "127.0.0.1:80", "--admin", "127.0.0.1:80"][..], "the server itself listens"),
        (&["--admin", "8000"], "the server itself listens"),
        (&["--admin", "unix:/a", "--admin", "unix:/a"], "twice"),
        (&["--admin", "fd://3"], "must be HOST:PORT, [v6]:PORT, PORT or unix:PATH"),
        (&["--admin", "localhost"], "must be HOST:PORT"),
        (&["--admin", ""], "must be HOST:PORT"),
    ] {
        let message = refusal(arguments);
        assert!(message.starts_with("--admin") && message.contains(words), "{message}");
    }
    let many: Vec<String> = (1..=9).map(|number| format!("--admin=unix:/{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(refusal(&many).contains("at most 8 addresses"));
}
