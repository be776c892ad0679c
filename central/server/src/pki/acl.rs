//! The broker's rules, for Mosquitto. Enters: the book. Leaves: the file that `acl_file` names. Gateways are let in by a
//! pattern, because their names are the part of their topics that is their own: a new gateway needs no new rules. Other
//! systems and tills are named one by one, because the broker knows no groups.

use std::collections::BTreeSet;

use hangtag_protocol::identity::Identity;
use jiff::Timestamp;

use super::register::Book;

/// The rules of those who have a certificate at a moment.
pub(crate) fn rules(book: &Book, now: Timestamp) -> String {
    let root = format!("hangtag/v1/{}", book.tenant);
    let mut text = HEAD.replace("TENANT", book.tenant.as_str());
    text += "\n# Every gateway, by its name gw/STORE/GATEWAY: only what is its own.\n";
    for (right, level) in GATEWAY {
        text += &format!("pattern {right} {root}/%u/{level}\n");
    }
    let others: BTreeSet<Identity> = book
        .identities(now)
        .chain([Identity::Central])
        .filter(|identity| !is_by_pattern(*identity))
        .collect();
    for identity in others {
        text += &format!("\nuser {identity}\n{}", own(identity, &root));
    }
    text
}

/// What a gateway may do with which of its topics.
const GATEWAY: [(&str, &str); 5] =
    [("write", "events"), ("write", "status"), ("write", "reply"), ("read", "ack"), ("read", "command")];

const HEAD: &str = "\
# Who may do what on the broker, for the chain TENANT. Written by `hangtag-central pki acl`; to be written again when
# another system or a till gets a certificate or loses it. Gateways need nothing.
# Whoever is not named here, and whatever, is refused.
";

fn is_by_pattern(identity: Identity) -> bool {
    match identity {
        Identity::Gateway(..) | Identity::Broker => true,
        Identity::Central | Identity::Consumer(_) | Identity::Till(_) => false,
    }
}

fn own(identity: Identity, root: &str) -> String {
    let rules = match identity {
        Identity::Central => vec![
            format!("read {root}/gw/+/+/events"),
            format!("read {root}/gw/+/+/status"),
            format!("read {root}/gw/+/+/reply"),
            format!("write {root}/gw/+/+/ack"),
            format!("write {root}/gw/+/+/command"),
            format!("read {root}/pos/+/+"),
            format!("write {root}/feed/+/+"),
            format!("write {root}/counts/+/+"),
            format!("write {root}/schema/+/+"),
        ],
        Identity::Consumer(_) => vec![
            format!("read {root}/feed/+/+"),
            format!("read {root}/counts/+/+"),
            format!("read {root}/schema/+/+"),
        ],
        Identity::Till(store) => {
            vec![format!("write {root}/pos/{store}/+"), format!("read {root}/schema/+/+")]
        }
        Identity::Gateway(..) | Identity::Broker => Vec::new(),
    };
    // The gateways' pattern holds for everybody; what it makes of other names is nobody's topic.
    let own = format!("topic deny {root}/{identity}/#\n");
    rules.iter().fold(own, |text, rule| text + "topic " + rule + "\n")
}
