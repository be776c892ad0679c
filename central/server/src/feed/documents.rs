//! What describes what is published, and what tills send, as files of `docs/schema` that are built in. Enters: a name and a version. Leaves: the
//! document. A version that was published never changes: what it describes gets another one.

use std::sync::LazyLock;

use hangtag_protocol::id::TenantId;
use hangtag_protocol::topic;
use serde_json::Value;

use super::mqtt::Letter;

/// One document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document {
    /// Its name: that of a kind of event, or what it is of.
    pub name: &'static str,
    /// Its version.
    pub version: u32,
    /// What it is.
    pub content_type: &'static str,
    text: &'static str,
}

macro_rules! documents {
    ($($name:literal $version:literal $content_type:expr;)*) => {
        [$(Document {
            name: $name,
            version: $version,
            content_type: $content_type,
            text: include_str!(concat!("../../../../docs/schema/", $name, "-", $version, ".json")),
        }),*]
    };
}

const SCHEMA: &str = "application/schema+json";

/// All of them.
pub(crate) static ALL: [Document; 15] = documents! {
    "picked_up" 1 SCHEMA;
    "put_down" 1 SCHEMA;
    "carried_in" 1 SCHEMA;
    "tried_on" 1 SCHEMA;
    "carried_out" 1 SCHEMA;
    "retracted" 1 SCHEMA;
    "coverage" 1 SCHEMA;
    "scanned" 1 SCHEMA;
    "event" 1 SCHEMA;
    "epcis" 1 SCHEMA;
    "counts" 1 SCHEMA;
    "pos-sale" 1 SCHEMA;
    "pos-stock" 1 SCHEMA;
    "asyncapi" 1 "application/vnd.aai.asyncapi+json";
    "batch" 2 "application/json";
};

/// The same without what makes them readable: brokers keep them in memory.
static SHORT: LazyLock<Vec<String>> =
    LazyLock::new(|| ALL.iter().map(|document| document.value().to_string()).collect());

impl Document {
    /// The document with this name and version.
    pub(crate) fn find(name: &str, version: u32) -> Option<&'static Self> {
        ALL.iter().find(|document| (document.name, document.version) == (name, version))
    }

    /// As it stands in the file.
    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    fn value(&self) -> Value {
        serde_json::from_str(self.text).expect("tests read every document")
    }
}

/// All of them, to be kept by the broker for whoever comes.
pub(super) fn letters(tenant: TenantId) -> impl Iterator<Item = Letter> {
    ALL.iter().zip(SHORT.iter()).map(move |(document, text)| Letter {
        topic: topic::schema(tenant, document.name, document.version),
        content_type: document.content_type,
        payload: text.clone(),
        of: None,
    })
}

#[cfg(test)]
pub(super) mod tests;
