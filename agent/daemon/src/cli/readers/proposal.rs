//! What a configuration would say of a reader that was found. Enters: the reader. Leaves: a `[[reader]]` table.
//! What would be wrong or illegal to guess is left out, so that a file without it is refused.

use std::path::Path;

use hangtag_agent_core::intake::Protocol;
use hangtag_agent_core::intake::probe::Who;

/// A power that is legal everywhere with any usual antenna, and enough for a booth or a rail, in dBm.
const MODEST_DBM: &str = "20.0";

pub(super) fn propose(port: &Path, who: Who, baud: u32, number: usize) -> String {
    // TOML's strings are as JSON's.
    let port = serde_json::Value::from(port.to_string_lossy());
    let mut text = format!("[[reader]]\nid = \"reader-{number}\"\nport = {port}\nprotocol = \"{who}\"\n");
    if baud != who.factory_baud() {
        text += &format!("baud = {baud}\n");
    }
    text += &match who {
        Who::Node | Who::Reader(Protocol::R200 | Protocol::ThingMagic | Protocol::Chafon) => format!(
            "# region =            # where the shop is: \"eu\", \"us\", \"china\", …; a wrong one is illegal\n\
             power_dbm = {MODEST_DBM}\n[[reader.antenna]]     # one for each antenna\nport = 1\n\
             # zone =              # the [[zone]] at which it looks\n"
        ),
        Who::Reader(Protocol::Ruuvi) => String::new(),
        Who::Reader(Protocol::Scanner) => "# zone =              # the [[zone]] in which it is\n".to_owned(),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_people_know_is_left_to_them() {
        let text = propose(Path::new("/dev/ttyUSB0"), Who::Reader(Protocol::R200), 38_400, 3);
        let table: toml::Table = toml::from_str(&text).unwrap();
        let reader = &table["reader"][0];
        assert_eq!(reader["id"].as_str(), Some("reader-3"));
        assert_eq!(
            (reader["baud"].as_integer(), reader["port"].as_str()),
            (Some(38_400), Some("/dev/ttyUSB0"))
        );
        assert!(reader.get("region").is_none() && reader["antenna"][0].get("zone").is_none(), "{text}");
        let text = propose(Path::new("/dev/ttyUSB0"), Who::Reader(Protocol::Ruuvi), 115_200, 1);
        assert!(!text.contains("baud") && !text.contains("region"), "{text}");
    }
}
