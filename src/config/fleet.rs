//! What a server tells the balancers of its fleet.
//!
//! Not here: what is told (`fleet`).

use crate::config::Bind;

/// What balancers are told, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetOptions {
    /// Where HAProxy's agent check is answered.
    pub agent_check: Option<Bind>,
    /// The form in which responses carry the node's load; none if they do not.
    pub load_header: Option<LoadForm>,
    /// An application's own load reports are taken out of its responses.
    pub strips_load_header: bool,
}

/// A form of a load report on a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadForm {
    /// A serialised protobuf message in base64, in a field of its own: what gRPC reads, too.
    #[default]
    Bin,
    /// JSON behind the word JSON.
    Json,
    /// `name=value` behind the word TEXT.
    Text,
}

impl FleetOptions {
    /// Whether the load of the node is wanted at all.
    pub fn is_asked_for(&self) -> bool {
        self.agent_check.is_some() || self.load_header.is_some()
    }
}
