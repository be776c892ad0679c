//! The EPCs of the garments that are followed, in little room. Enters and leaves: EPCs.

use alloc::boxed::Box;

use hangtag_protocol::epc::Epc;

/// An EPC. Nearly all have 96 bits; an [`Epc`] has room for the longest there are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Known {
    Usual([u8; 12]),
    Other(Box<Epc>),
}

impl From<Epc> for Known {
    fn from(epc: Epc) -> Self {
        epc.as_bytes().try_into().map_or_else(|_| Self::Other(Box::new(epc)), Self::Usual)
    }
}

impl From<&Known> for Epc {
    fn from(known: &Known) -> Self {
        match known {
            Known::Usual(bytes) => Self::new(bytes).expect("twelve bytes are an EPC"),
            Known::Other(epc) => **epc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epc_comes_back_and_the_usual_take_little_room() {
        for length in [1, 11, 12, 13, 62] {
            let epc = Epc::new(&[7; 62][..length]).unwrap();
            assert_eq!(Epc::from(&Known::from(epc)), epc);
        }
        assert_eq!(size_of::<Known>(), 16);
    }
}
