//! Who a connection and its requests are from, before anything is made of them: the PROXY header,
//! the fields of a believed proxy.
//!
//! A PROXY header comes once. What it said is written into the connection's context, and goes with
//! it to its next worker, wherever that is; so it is read here only where the connection has had no
//! request and no other worker has left a word about it.
//!
//! Not here: what a header may look like (`proxy_protocol`), whose fields say what
//! (`http::forwarded`), making ids (`request_ids`).

use http::{HeaderName, HeaderValue};
use tracing::{debug, warn};

use crate::config::{CONTEXT_SIZE, LOG_REPEAT_AFTER};
use crate::http::RequestHead;
use crate::http::forwarded;
use crate::ident::PeerAddress;
use crate::proxy_protocol::{self, Announced, HeaderRefusal, Parsed};
use crate::worker::session::Session;
use crate::worker::shell::Shell;

/// The field that a request's id travels in.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Session {
    /// It has arrived: whether a header is to come, or what one has said.
    pub(super) fn expect_header(&mut self, shell: &Shell) {
        if shell.settings.proxy_protocol.is_none() {
            return;
        }
        match self.context.as_deref().and_then(Announced::of_context) {
            Some(announced) => self.take_word(announced),
            None => self.flags.header_due = self.requests_served == 0,
        }
    }

    /// The first bytes of a connection: how many of them are its header, none if some have yet to
    /// come. An error ends it without an answer.
    pub(super) fn take_header(
        &mut self,
        input: &[u8],
        shell: &mut Shell,
    ) -> Result<Option<usize>, ()> {
        let peer = self.origin.peer;
        let rules = shell.settings.proxy_protocol.as_ref();
        let refusal = if rules.is_some_and(|rules| rules.from.has(peer)) {
            match proxy_protocol::parse(input) {
                Ok(Parsed::Partial) => return Ok(None),
                Ok(Parsed::Header { size, announced }) => {
                    self.flags.header_due = false;
                    let context: [u8; CONTEXT_SIZE] = announced.context();
                    self.context = Some(Box::new(context));
                    self.take_word(announced);
                    return Ok(Some(size));
                }
                Err(error) => HeaderRefusal::Invalid(error),
            }
        } else {
            HeaderRefusal::UntrustedPeer
        };
        shell.note_header_refused(peer, refusal);
        Err(())
    }

    /// Whether the header is all that has come.
    pub(super) fn has_only_said_who_it_is(&self) -> bool {
        let said = self.context.is_some() && !self.flags.header_due && self.requests_served == 0;
        said && self.carry.is_empty() && self.arriving.is_none() && self.http.is_idle()
    }

    /// A request's head is here: whose it is, and what it is called.
    pub(super) fn identify(&mut self, head: &mut RequestHead, shell: &mut Shell) {
        let rules = &shell.settings.forwarded;
        let told = forwarded::client(&head.headers, self.origin.peer, rules);
        (self.origin.client, self.origin.is_secure) = (told.address, told.is_secure);
        if let Some(ids) = &mut shell.request_ids {
            let given = head.headers.get(X_REQUEST_ID);
            let id = ids.id_of(given, self.origin.peer, &rules.believed);
            head.headers.insert(X_REQUEST_ID, id.clone());
            self.request_id = Some(id);
        }
    }

    /// The id for an answer of the server's own: that of the request which is here, or a new one
    /// where no head was understood. None without `--request-id`.
    pub(super) fn take_request_id(&mut self, shell: &mut Shell) -> Option<HeaderValue> {
        let ids = shell.request_ids.as_mut()?;
        Some(self.request_id.take().unwrap_or_else(|| ids.make()))
    }

    fn take_word(&mut self, announced: Announced) {
        self.origin.peer = announced.client_of(self.origin.peer);
        self.origin.client = self.origin.peer;
    }
}

impl Shell {
    /// A connection ends for what it began with. A balancer that is not set up for it would have
    /// all of its connections end so: that is worth a line now and then, and not one for each.
    fn note_header_refused(&mut self, peer: PeerAddress, refusal: HeaderRefusal) {
        self.count_error();
        if let Some(meters) = &self.meters {
            meters.count_header_refused(refusal);
        }
        let logged = self.header_refusal_logged_at;
        if logged.is_none_or(|at| self.now.since(at) >= LOG_REPEAT_AFTER) {
            self.header_refusal_logged_at = Some(self.now);
            let (worker, generation) = (self.who.slot.0, self.who.generation.0);
            warn!(worker, gen = generation, %peer, %refusal, "--proxy-protocol: connection closed");
        } else {
            debug!(%peer, %refusal, "--proxy-protocol: connection closed");
        }
    }
}
