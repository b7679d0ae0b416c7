//! The form of an access line: a template of text and atoms, compiled once, or JSON.
//!
//! The atoms are Gunicorn's, `%(h)s`, and some of this server's own; so are the forms that have
//! names, but for `json`. What a template says wrongly is an error with the place and the reason.
//! Fields that hold secrets cannot be asked for.
//!
//! Not here: making lines of it (`observe::access`), what was probably meant (`cli::resolve::logs`).

use http::HeaderName;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, PROXY_AUTHORIZATION, REFERER, SET_COOKIE,
    USER_AGENT,
};
use thiserror::Error;

use crate::config::{TEMPLATE_ATOMS_MAX, TEMPLATE_SIZE_MAX};

/// Apache's and nginx's.
const COMMON: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(B)s"#;
const COMBINED: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(B)s "%(f)s" "%(a)s""#;

/// Fields that hold secrets: a log is read by more people than these are meant for.
const SECRET: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE];

/// The atoms that are a name alone.
pub const ATOMS: [(&str, Atom); 29] = [
    ("h", Atom::Client),
    ("l", Atom::Dash),
    ("u", Atom::User),
    ("t", Atom::CommonTime),
    ("r", Atom::RequestLine),
    ("m", Atom::Method),
    ("U", Atom::Path),
    ("q", Atom::Query),
    ("H", Atom::Version),
    ("s", Atom::Status),
    ("B", Atom::Bytes),
    ("b", Atom::BytesOrDash),
    ("f", Atom::Referer),
    ("a", Atom::UserAgent),
    ("T", Atom::Seconds),
    ("M", Atom::Milliseconds),
    ("D", Atom::Microseconds),
    ("L", Atom::DecimalSeconds),
    ("p", Atom::PidInBrackets),
    ("worker", Atom::Worker),
    ("generation", Atom::Generation),
    ("pid", Atom::Pid),
    ("queue", Atom::Queue),
    ("receiving", Atom::Receiving),
    ("handler", Atom::Handling),
    ("sending", Atom::Sending),
    ("time", Atom::Time),
    ("port", Atom::Port),
    ("request", Atom::RequestId),
];

/// What stands in a line in the place of `%(…)s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Atom {
    /// `h`: the client's address.
    Client,
    /// `port`: the client's port.
    Port,
    /// `l`: what RFC 1413 would have said; nobody asks.
    Dash,
    /// `u`: the name in Basic authorization, unverified.
    User,
    /// `t`: when the request's first byte was read, `[24/Nov/2026:08:52:10 +0000]`.
    CommonTime,
    /// `time`: the same by RFC 3339, to the millisecond.
    Time,
    /// `r`: the request line.
    RequestLine,
    /// `m`
    Method,
    /// `U`: the target without its query, as it was sent.
    Path,
    /// `q`: the query without its question mark.
    Query,
    /// The target as it was sent.
    Target,
    /// `H`: HTTP/1.1.
    Version,
    /// `s`
    Status,
    /// `B`: bytes of the body.
    Bytes,
    /// `b`: the same, a dash for none.
    BytesOrDash,
    /// `f`
    Referer,
    /// `a`
    UserAgent,
    /// `T`: whole seconds.
    Seconds,
    /// `M`: whole milliseconds.
    Milliseconds,
    /// `D`: microseconds.
    Microseconds,
    /// `L`: seconds with six places.
    DecimalSeconds,
    /// `p`: `<41>`.
    PidInBrackets,
    /// `pid`: `41`.
    Pid,
    /// `worker`: the slot.
    Worker,
    /// `generation`: which process filled it.
    Generation,
    /// `queue`: seconds that the connection had waited for a worker.
    Queue,
    /// The same as the form `maitred` has it.
    QueueMilliseconds,
    /// The request's time as the form `maitred` has it.
    TimeMilliseconds,
    /// `request`: the request's id.
    RequestId,
    /// The same as the form `maitred` has it.
    NamedRequestId,
    /// Whether the response was cut off, as the form `maitred` has it.
    CutOff,
    /// `receiving`: seconds from the request's first byte until its handler was called.
    Receiving,
    /// `handler`: seconds until the handler had answered.
    Handling,
    /// `sending`: seconds from then to the response's last byte.
    Sending,
    /// `{name}i`: by its place in [`WantedFields::request`].
    RequestField(usize),
    /// `{name}o`: by its place in [`WantedFields::response`].
    ResponseField(usize),
    /// `{name}e`: a variable of the worker's environment.
    Variable(String),
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// What differs from request to request.
    Atom(Atom),
}

/// Fields that a form needs beside what is always known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedFields {
    /// Of the request.
    pub request: Vec<HeaderName>,
    /// Of the response.
    pub response: Vec<HeaderName>,
}

/// The places of those that every form needs: the first ones.
impl WantedFields {
    /// Where the name of Basic authorization stands.
    pub const AUTHORIZATION: usize = 0;
    /// Where the Referer field stands.
    pub const REFERER: usize = 1;
    /// Where the User-Agent field stands.
    pub const USER_AGENT: usize = 2;

    fn usual() -> Self {
        let request = vec![AUTHORIZATION, REFERER, USER_AGENT];
        WantedFields { request, response: Vec::new() }
    }

    fn place_of(names: &mut Vec<HeaderName>, name: HeaderName) -> usize {
        match names.iter().position(|other| *other == name) {
            Some(place) => place,
            None => {
                names.push(name);
                names.len() - 1
            }
        }
    }
}

/// How a value is made harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    /// `\"`, `\\` and `\xHH`, as in nginx and Apache.
    Quoted,
    /// As in a JSON string: a template that begins with a brace is an object.
    Json,
}

/// What a line is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text and atoms.
    Template(Vec<Piece>, Escaping),
    /// An object with fixed keys.
    Json,
}

/// The form of an access line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessFormat {
    form: Form,
    fields: WantedFields,
}

/// Why a text is no form of a line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormatError {
    /// Neither a name nor a template.
    #[error(
        "must be maitred, common, combined, json, or a template with atoms such as %(h)s: \
         docs/logging.md has them all"
    )]
    NoForm,
    /// It is too long, or has too many atoms.
    #[error("must be at most {TEMPLATE_SIZE_MAX} bytes with {TEMPLATE_ATOMS_MAX} atoms")]
    TooLong,
    /// A line break or another control character.
    #[error("must have no control characters: a request is a line")]
    Control,
    /// A percent sign that begins no atom.
    #[error("{0:?} begins no atom: they are written as in %(h)s, a percent sign as %%")]
    NoAtom(String),
    /// An atom of that name is not known.
    #[error("%({0})s is no atom")]
    Unknown(String),
    /// It does not end as it should.
    #[error("%({0}) must end with s")]
    Conversion(String),
    /// What stands in braces is no name of a field.
    #[error("%({{{0}}}…)s does not name a field")]
    FieldName(String),
    /// What a log shall not have.
    #[error("{0} holds a secret and is never logged; %(u)s is the name in Basic authorization")]
    Secret(String),
}

impl Default for AccessFormat {
    /// `maitred`: combined, and behind it what only this server knows.
    fn default() -> Self {
        let mut format = AccessFormat::of(COMBINED);
        if let Form::Template(pieces, _) = &mut format.form {
            let text = |text: &str| Piece::Text(text.to_owned());
            pieces.extend([
                text(" worker="),
                Piece::Atom(Atom::Worker),
                text(" gen="),
                Piece::Atom(Atom::Generation),
                text(" queue="),
                Piece::Atom(Atom::QueueMilliseconds),
                text(" time="),
                Piece::Atom(Atom::TimeMilliseconds),
                Piece::Atom(Atom::NamedRequestId),
                Piece::Atom(Atom::CutOff),
            ]);
        }
        format
    }
}

impl AccessFormat {
    /// A form by its name, or a template.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<AccessFormat, FormatError> {
        match text {
            "maitred" => Ok(AccessFormat::default()),
            "common" => Ok(AccessFormat::of(COMMON)),
            "combined" => Ok(AccessFormat::of(COMBINED)),
            "json" => Ok(AccessFormat { form: Form::Json, fields: WantedFields::usual() }),
            template if template.contains('%') => AccessFormat::compile(template),
            _ => Err(FormatError::NoForm),
        }
    }

    /// What a line is made of.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Which fields it needs.
    pub fn fields(&self) -> &WantedFields {
        &self.fields
    }

    fn of(template: &str) -> AccessFormat {
        AccessFormat::compile(template).expect("the forms that have names are in order")
    }

    fn compile(template: &str) -> Result<AccessFormat, FormatError> {
        if template.len() > TEMPLATE_SIZE_MAX {
            return Err(FormatError::TooLong);
        }
        if template.chars().any(char::is_control) {
            return Err(FormatError::Control);
        }
        let is_object = template.trim_start().starts_with('{');
        let escaping = if is_object { Escaping::Json } else { Escaping::Quoted };
        let (mut pieces, mut fields) = (Vec::new(), WantedFields::usual());
        let (mut text, mut rest, mut atoms) = (String::new(), template, 0);
        while let Some((before, behind)) = rest.split_once('%') {
            text.push_str(before);
            if let Some(behind) = behind.strip_prefix('%') {
                text.push('%');
                rest = behind;
                continue;
            }
            let (name, behind) = split_atom(behind)?;
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Atom(atom(name, &mut fields)?));
            atoms += 1;
            rest = behind;
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if atoms > TEMPLATE_ATOMS_MAX {
            return Err(FormatError::TooLong);
        }
        Ok(AccessFormat { form: Form::Template(pieces, escaping), fields })
    }
}

/// What stands behind a percent sign: the atom's name, and what follows it.
fn split_atom(behind: &str) -> Result<(&str, &str), FormatError> {
    let inside = behind.strip_prefix('(').and_then(|inside| inside.split_once(')'));
    let Some((name, behind)) = inside else {
        let beginning: String = std::iter::once('%').chain(behind.chars().take(8)).collect();
        return Err(FormatError::NoAtom(beginning));
    };
    match behind.strip_prefix('s') {
        Some(behind) => Ok((name, behind)),
        None => Err(FormatError::Conversion(name.to_owned())),
    }
}

fn atom(name: &str, fields: &mut WantedFields) -> Result<Atom, FormatError> {
    if let Some((_, atom)) = ATOMS.iter().find(|(known, _)| *known == name) {
        return Ok(atom.clone());
    }
    let braced = name.strip_prefix('{').and_then(|inside| inside.rsplit_once('}'));
    match braced {
        Some((inside, "i")) => field(inside, inside, &mut fields.request).map(Atom::RequestField),
        Some((inside, "o")) => field(inside, inside, &mut fields.response).map(Atom::ResponseField),
        Some((inside, "e")) => variable(inside, fields),
        Some(_) | None => Err(FormatError::Unknown(name.to_owned())),
    }
}

fn field(name: &str, typed: &str, names: &mut Vec<HeaderName>) -> Result<usize, FormatError> {
    let Ok(field) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(FormatError::FieldName(typed.to_owned()));
    };
    if SECRET.contains(&field) {
        return Err(FormatError::Secret(typed.to_owned()));
    }
    Ok(WantedFields::place_of(names, field))
}

/// What CGI and WSGI call the parts of a request (RFC 3875 section 4.1, PEP 3333), or a variable of
/// the worker.
fn variable(name: &str, fields: &mut WantedFields) -> Result<Atom, FormatError> {
    if let Some(field_name) = name.strip_prefix("HTTP_") {
        let field_name = field_name.replace('_', "-");
        return field(&field_name, name, &mut fields.request).map(Atom::RequestField);
    }
    let of = |fields: &mut WantedFields, name| WantedFields::place_of(&mut fields.request, name);
    Ok(match name {
        "REQUEST_METHOD" => Atom::Method,
        "RAW_URI" | "REQUEST_URI" => Atom::Target,
        "PATH_INFO" => Atom::Path,
        "QUERY_STRING" => Atom::Query,
        "SERVER_PROTOCOL" => Atom::Version,
        "REMOTE_ADDR" => Atom::Client,
        "REMOTE_PORT" => Atom::Port,
        "CONTENT_TYPE" => Atom::RequestField(of(fields, CONTENT_TYPE)),
        "CONTENT_LENGTH" => Atom::RequestField(of(fields, CONTENT_LENGTH)),
        "" => return Err(FormatError::FieldName(String::new())),
        other => Atom::Variable(other.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(template: &str) -> Vec<Piece> {
        match AccessFormat::parse(template).unwrap().form {
            Form::Template(pieces, _) => pieces,
            Form::Json => panic!("{template}"),
        }
    }

    #[test]
    fn a_template_is_text_and_atoms() {
        assert_eq!(
            pieces("100%% of %(m)s in %(D)sus"),
            [
                Piece::Text("100% of ".to_owned()),
                Piece::Atom(Atom::Method),
                Piece::Text(" in ".to_owned()),
                Piece::Atom(Atom::Microseconds),
                Piece::Text("us".to_owned()),
            ]
        );
        for (name, atom) in ATOMS {
            assert_eq!(pieces(&format!("%({name})s")), [Piece::Atom(atom)], "{name}");
        }
    }

    #[test]
    fn fields_are_asked_for_once_each() {
        let format = AccessFormat::parse(
            "%({X-Request-Id}i)s %({content-type}o)s %({HTTP_X_REQUEST_ID}e)s %({Referer}i)s \
             %({CONTENT_TYPE}e)s %({HOME}e)s",
        )
        .unwrap();
        let request: Vec<&str> = format.fields.request.iter().map(HeaderName::as_str).collect();
        let all = ["authorization", "referer", "user-agent", "x-request-id", "content-type"];
        assert_eq!(request, all);
        assert_eq!(format.fields.response, [CONTENT_TYPE]);
        let Form::Template(pieces, Escaping::Quoted) = &format.form else { panic!("{format:?}") };
        let atoms: Vec<_> = pieces.iter().step_by(2).cloned().collect();
        let expected = [
            Atom::RequestField(3),
            Atom::ResponseField(0),
            Atom::RequestField(3),
            Atom::RequestField(1),
            Atom::RequestField(4),
            Atom::Variable("HOME".to_owned()),
        ];
        assert_eq!(atoms, expected.map(Piece::Atom));
    }

    #[test]
    fn an_object_is_escaped_as_one() {
        let format = AccessFormat::parse(r#"{"to": "%(U)s"}"#).unwrap();
        assert!(matches!(format.form, Form::Template(_, Escaping::Json)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (template, words) in [
            ("jsn", "must be maitred, common, combined, json"),
            ("", "must be maitred"),
            ("%h %l", "\"%h %l\" begins no atom"),
            ("50%", "\"%\" begins no atom"),
            ("%(h", "\"%(h\" begins no atom"),
            ("%(h)d", "%(h) must end with s"),
            ("%(h)", "%(h) must end with s"),
            ("%(workr)s", "%(workr)s is no atom"),
            ("%({x}y)s", "%({x}y)s is no atom"),
            ("%({a b}i)s", "does not name a field"),
            ("%({}e)s", "does not name a field"),
            ("%({Authorization}i)s", "Authorization holds a secret"),
            ("%({HTTP_COOKIE}e)s", "HTTP_COOKIE holds a secret"),
            ("%({set-cookie}o)s", "set-cookie holds a secret"),
            ("%(h)s\n", "control characters"),
            (&"%(h)s".repeat(TEMPLATE_ATOMS_MAX + 1), "at most 4096 bytes with 64 atoms"),
            (&"%%".repeat(TEMPLATE_SIZE_MAX), "at most 4096 bytes with 64 atoms"),
        ] {
            let error = AccessFormat::parse(template).unwrap_err().to_string();
            assert!(error.contains(words), "{template}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_text_is_a_form_or_an_error(text in any::<String>(), atoms in "[%(){}sieh]{0,20}") {
            for template in [&text, &atoms, &format!("{text}%({atoms}")] {
                if let Ok(format) = AccessFormat::parse(template) {
                    for name in &format.fields.request[1..] {
                        prop_assert!(!SECRET.contains(name), "{template}");
                    }
                }
            }
        }
    }
}
