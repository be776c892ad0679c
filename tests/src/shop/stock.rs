//! What the simulated shop sells. Enters: nothing. Leaves: products with right GTINs, the EPCs of
//! their garments, and the catalogue as CSV. It never draws at random: the stock is always the same.

use std::fmt::Write as _;

use hangtag_protocol::epc::{Epc, Gtin, Serial, Sgtin};

/// A product: one style in one colour and size.
#[derive(Clone, Debug)]
pub struct Product {
    /// Its number.
    pub gtin: Gtin,
    /// The style's number.
    pub style: &'static str,
    /// Its colour.
    pub colour: &'static str,
    /// Its size.
    pub size: &'static str,
    /// What a shopper calls it.
    pub name: &'static str,
    /// What kind of garment it is.
    pub category: &'static str,
    /// In cents.
    pub price_cents: u32,
    /// The share of shoppers who buy it of those who have made up their minds, where tastes differ: 0 to 1.
    pub appeal: f64,
    /// The zone where it belongs, as an index into the layout: 0 to 2.
    pub home: usize,
    item: u64,
}

struct Style {
    number: &'static str,
    name: &'static str,
    category: &'static str,
    price_cents: u32,
    appeal: f64,
    colours: [&'static str; 2],
    sizes: [&'static str; 3],
}

/// How many garments of each product are in the shop when it opens.
pub const GARMENTS_PER_PRODUCT: u64 = 5;

/// GS1 keeps prefix 952 for demonstrations.
const COMPANY: u64 = 9_521_141;
const COMPANY_DIGITS: u8 = 7;
const POINT_OF_SALE: u8 = 1;

const STYLES: [Style; 6] = [
    Style {
        number: "1001",
        name: "Linen shirt",
        category: "shirts",
        price_cents: 4990,
        appeal: 0.55,
        colours: ["white", "sky"],
        sizes: ["S", "M", "L"],
    },
    Style {
        number: "1002",
        name: "Wrap dress",
        category: "dresses",
        price_cents: 7990,
        appeal: 0.08,
        colours: ["emerald", "black"],
        sizes: ["36", "38", "40"],
    },
    Style {
        number: "2001",
        name: "Denim jacket",
        category: "outerwear",
        price_cents: 8990,
        appeal: 0.35,
        colours: ["indigo", "grey"],
        sizes: ["S", "M", "L"],
    },
    Style {
        number: "2002",
        name: "Trench coat",
        category: "outerwear",
        price_cents: 14990,
        appeal: 0.2,
        colours: ["sand", "navy"],
        sizes: ["36", "38", "40"],
    },
    Style {
        number: "3001",
        name: "Merino jumper",
        category: "knitwear",
        price_cents: 6990,
        appeal: 0.6,
        colours: ["camel", "charcoal"],
        sizes: ["S", "M", "L"],
    },
    Style {
        number: "3002",
        name: "Chino trousers",
        category: "trousers",
        price_cents: 5990,
        appeal: 0.35,
        colours: ["khaki", "navy"],
        sizes: ["30", "32", "34"],
    },
];

/// All products: of each style the first colour in three sizes, the second in the middle one.
#[must_use]
pub fn products() -> Vec<Product> {
    let mut products = Vec::new();
    for (at, style) in STYLES.iter().enumerate() {
        for (colour, size) in [(0, 0), (0, 1), (0, 2), (1, 1)] {
            let item = 10_000 + 10 * products.len() as u64;
            products.push(Product {
                gtin: sgtin(item, 0).gtin(),
                style: style.number,
                colour: style.colours[colour],
                size: style.sizes[size],
                name: style.name,
                category: style.category,
                price_cents: style.price_cents,
                appeal: style.appeal,
                home: at / 2,
                item,
            });
        }
    }
    products
}

impl Product {
    /// The EPC of one garment of this product.
    #[must_use]
    pub fn epc(&self, serial: u64) -> Epc {
        sgtin(self.item, serial).encode_96().expect("company, item and serial are in range")
    }
}

/// The EPC of a tag that nobody has written a GTIN to, as chips leave the factory.
#[must_use]
pub fn unwritten_epc(serial: u32) -> Epc {
    let mut bytes = [0xe2, 0x80, 0x68, 0x90, 0, 0, 0x50, 0x0e, 0, 0, 0, 0];
    bytes[8..].copy_from_slice(&(0x88c6_0000 + serial).to_be_bytes());
    Epc::new(&bytes).expect("12 bytes")
}

/// The EPC of a volunteer's tag in a recording: an SGTIN-96 of no product in the catalogue.
#[must_use]
pub fn recording_epc(trial: u64) -> Epc {
    sgtin(90_000, trial).encode_96().expect("company, item and serial are in range")
}

/// The catalogue: `gtin,style,colour,size,name,price,category`, one line per product.
#[must_use]
pub fn catalogue_csv(products: &[Product]) -> String {
    let mut out = String::from("gtin,style,colour,size,name,price,category\n");
    for p in products {
        let (euros, cents) = (p.price_cents / 100, p.price_cents % 100);
        let Product { gtin, style, colour, size, name, category, .. } = p;
        writeln!(out, "{gtin},{style},{colour},{size},{name},{euros}.{cents:02},{category}")
            .expect("a String takes everything");
    }
    out
}

fn sgtin(item: u64, serial: u64) -> Sgtin {
    Sgtin {
        filter: POINT_OF_SALE,
        company: COMPANY,
        company_digits: COMPANY_DIGITS,
        item,
        serial: Serial::Number(serial),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_garments_tag_leads_to_its_catalogue_row() {
        let products = products();
        assert_eq!(products.len(), 24);
        let catalogue = catalogue_csv(&products);
        assert_eq!(catalogue.lines().nth(1), Some("09521141100004,1001,white,S,Linen shirt,49.90,shirts"));
        for product in &products {
            let decoded = product.epc(77).sgtin().unwrap();
            assert_eq!((decoded.filter, decoded.gtin()), (1, product.gtin));
            assert!(catalogue.contains(&format!("\n{},", product.gtin)));
        }
        assert_eq!(unwritten_epc(3).sgtin(), None);
    }
}
