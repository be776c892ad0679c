//! Writes into the configuration what enrolling taught: who the gateway is, where the broker and central are, where its
//! certificate lies. Enters: the file, if there is one. Leaves: its text, with everything else in it as it was, remarks too.

use std::path::{Path, PathBuf};

use hangtag_protocol::topic::Gateway;
use toml_edit::{DocumentMut, Item, Table, Value, value};

/// Where the data are unless the configuration says otherwise.
const DATA: &str = "/var/lib/hangtag-agent";

/// A configuration that is being completed. It need not be good yet.
pub(crate) struct Settings {
    document: DocumentMut,
}

/// What was learned.
pub(crate) struct Learned<'a> {
    pub(crate) gateway: &'a Gateway,
    /// The broker.
    pub(crate) broker: (&'a str, u16),
    /// Where the certificate is renewed; nowhere if it was signed by hand.
    pub(crate) door: Option<String>,
    pub(crate) authority: &'a Path,
    /// Key and certificate.
    pub(crate) identity: &'a Path,
}

impl Settings {
    /// Takes the text of a file, or begins one.
    ///
    /// # Errors
    /// When it is no TOML, in words that name the line.
    pub(crate) fn new(text: Option<&str>) -> Result<Self, String> {
        let text =
            text.unwrap_or("# Configuration of a gateway's agent. Check it with: hangtag-agent check\n\n");
        let document = text.parse::<DocumentMut>().map_err(|why| why.to_string())?;
        Ok(Self { document })
    }

    /// The data folder, as an absolute path or relative to the file.
    pub(crate) fn data(&self) -> PathBuf {
        self.text("data").unwrap_or(DATA).into()
    }

    /// Who the file says that the gateway is, if it says so and it is somebody else.
    pub(crate) fn other(&self, gateway: &Gateway) -> Option<String> {
        let [tenant, store, name] = ["tenant", "store", "gateway"].map(|key| self.text(key));
        let now = format!("{}/{}/{}", gateway.tenant, gateway.store, gateway.gateway);
        let before = format!("{}/{}/{}", tenant?, store?, name?);
        (before != now).then_some(before)
    }

    /// Writes down what was learned.
    pub(crate) fn learn(&mut self, learned: &Learned<'_>) {
        let Gateway { tenant, store, gateway } = learned.gateway;
        let top = self.document.as_table_mut();
        set(top, "tenant", tenant.as_str());
        set(top, "store", store.as_str());
        set(top, "gateway", gateway.as_str());
        if !top.contains_key("data") {
            set(top, "data", DATA);
        }
        let mqtt = table(top, "mqtt");
        set(mqtt, "host", learned.broker.0);
        set(mqtt, "port", i64::from(learned.broker.1));
        // Whoever has a certificate needs no password.
        mqtt.remove("user");
        mqtt.remove("password_file");
        let tls = table(mqtt, "tls");
        let identity = learned.identity.to_string_lossy();
        set(tls, "ca", &*learned.authority.to_string_lossy());
        set(tls, "certificate", &*identity);
        set(tls, "key", &*identity);
        match &learned.door {
            Some(door) => set(tls, "renew", door.as_str()),
            None => drop(tls.remove("renew")),
        }
    }

    /// The file's text.
    pub(crate) fn text_of_file(&self) -> String {
        self.document.to_string()
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.document.get(key)?.as_str()
    }
}

/// A table within; what is no table is replaced by one.
fn table<'t>(above: &'t mut Table, key: &str) -> &'t mut Table {
    let item = above.entry(key).or_insert_with(|| Item::Table(Table::new()));
    if !item.is_table() {
        *item = match std::mem::take(item).into_table() {
            Ok(table) => Item::Table(table),
            Err(_) => Item::Table(Table::new()),
        };
    }
    item.as_table_mut().expect("it was made one")
}

/// Sets a value, and leaves the remark behind it.
fn set(table: &mut Table, key: &str, new: impl Into<Value>) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let around = old.decor().clone();
            *old = new.into();
            *old.decor_mut() = around;
        }
        None => {
            table.insert(key, value(new));
        }
    }
}
