//! What the shop's till tells. Enters: garments that were sold, and when the shop opened. Leaves: lines of receipts,
//! as JSON messages or as a CSV file, and a count of the stock. Of every other receipt the till reads the garments'
//! tags, of the others the labels' product codes: real tills do either.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Sale;
use super::stock::{GARMENTS_PER_PRODUCT, Product};

/// A till of a shop that opened at some moment.
#[derive(Clone, Debug)]
pub struct Till {
    opened: UnixMillis,
    prices: BTreeMap<Gtin, u32>,
}

impl Till {
    /// A till that knows these prices.
    #[must_use]
    pub fn new(products: &[Product], opened: UnixMillis) -> Self {
        let prices = products.iter().map(|product| (product.gtin, product.price_cents)).collect();
        Self { opened, prices }
    }

    /// One line as a message.
    #[must_use]
    pub fn line(&self, sale: &Sale) -> Value {
        let mut line = json!({ "receipt": self.receipt(sale), "line": sale.line, "time": self.time(sale), "quantity": 1 });
        let (gtin, epc, amount) = self.goods(sale);
        if let Some(epc) = epc {
            line["epc"] = epc.to_string().into();
        } else if let Some(gtin) = gtin {
            line["gtin"] = gtin.to_string().into();
        }
        if let Some(amount) = amount {
            line["amount"] = amount.into();
            line["currency"] = "EUR".into();
        }
        line
    }

    /// The stock as it was when the shop opened, as a message.
    #[must_use]
    pub fn stock(&self) -> Value {
        let time = timestamp(self.opened);
        let count = |gtin: &Gtin| json!({ "gtin": gtin.to_string(), "place": "floor", "time": time, "quantity": GARMENTS_PER_PRODUCT });
        self.prices.keys().map(count).collect()
    }

    /// All lines as the file that central imports.
    #[must_use]
    pub fn csv(&self, store: &str, sales: &[Sale]) -> String {
        let mut out = String::from("store,receipt,line,kind,time,gtin,epc,quantity,amount,currency\n");
        for sale in sales {
            let (gtin, epc, amount) = self.goods(sale);
            let gtin = gtin.filter(|_| epc.is_none()).map(|gtin| gtin.to_string()).unwrap_or_default();
            let epc = epc.map(|epc| epc.to_string()).unwrap_or_default();
            let currency = if amount.is_some() { "EUR" } else { "" };
            let (receipt, line, time) = (self.receipt(sale), sale.line, self.time(sale));
            let amount = amount.unwrap_or_default();
            writeln!(out, "{store},{receipt},{line},sale,{time},{gtin},{epc},1,{amount},{currency}")
                .expect("a String takes everything");
        }
        out
    }

    /// The product and the tag, as far as the till reads them, and the price.
    fn goods(&self, sale: &Sale) -> (Option<Gtin>, Option<Epc>, Option<String>) {
        let gtin = sale.epc.sgtin().map(|sgtin| sgtin.gtin());
        let reads_tags = sale.receipt % 2 == 1 || gtin.is_none();
        let cents = gtin.and_then(|gtin| self.prices.get(&gtin));
        let amount = cents.map(|cents| format!("{}.{:02}", cents / 100, cents % 100));
        (gtin, reads_tags.then_some(sale.epc), amount)
    }

    /// Its number, which no other day's receipt has.
    fn receipt(&self, sale: &Sale) -> String {
        format!("t1-{}-{}", self.opened.0, sale.receipt)
    }

    fn time(&self, sale: &Sale) -> String {
        timestamp(UnixMillis(self.opened.0.saturating_add_unsigned(sale.at_ms)))
    }
}

fn timestamp(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::stock::{products, unwritten_epc};

    #[test]
    fn a_line_names_the_tag_or_the_product_and_its_price() {
        let products = products();
        let till = Till::new(&products, UnixMillis(1_795_352_591_000));
        let epc = products[0].epc(7);
        let sale = |receipt, epc| Sale { at_ms: 1_500, receipt, line: 2, epc };
        let tag = json!({ "receipt": "t1-1795352591000-1", "line": 2, "time": "2026-11-22T13:03:12.5Z", "quantity": 1,
            "epc": epc.to_string(), "amount": "49.90", "currency": "EUR" });
        assert_eq!(till.line(&sale(1, epc)), tag);
        let code = till.line(&sale(2, epc));
        assert_eq!((&code["gtin"], &code["epc"]), (&json!("09521141100004"), &Value::Null));
        let unknown = till.line(&sale(2, unwritten_epc(1)));
        assert!(unknown["epc"].is_string() && unknown.get("amount").is_none(), "{unknown}");
        let csv = till.csv("demo-shop", &[sale(2, epc), sale(2, unwritten_epc(1))]);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines[1],
            "demo-shop,t1-1795352591000-2,2,sale,2026-11-22T13:03:12.5Z,09521141100004,,1,49.90,EUR"
        );
        assert!(lines[2].ends_with(",1,,"), "{csv}");
        assert_eq!(till.stock().as_array().unwrap().len(), 24);
    }
}
