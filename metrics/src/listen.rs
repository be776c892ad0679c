//! Where the door may be. Enters: an address and whether anyone may come. Leaves: the same, checked. Metrics name shops and
//! readers and ask nobody who he is: beyond this machine they are shown only to who decided it.

use std::net::SocketAddr;

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(SocketAddr);

/// Why metrics are not served there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "would show metrics to other machines, and nobody is asked who he is: take 127.0.0.1, or say anyone = true beside it"
)]
pub struct Beyond;

impl Listen {
    /// Checks an address; with `anyone` it may be one that other machines reach.
    ///
    /// # Errors
    /// When other machines reach it and nobody said that they may.
    pub fn new(address: SocketAddr, anyone: bool) -> Result<Self, Beyond> {
        (anyone || address.ip().to_canonical().is_loopback()).then_some(Self(address)).ok_or(Beyond)
    }

    /// The address.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_are_let_in_only_when_somebody_says_so() {
        for (address, is_loopback) in [
            ("127.0.0.1:9464", true),
            ("127.8.9.10:1", true),
            ("[::1]:9464", true),
            ("[::ffff:127.0.0.1]:9464", true),
            ("0.0.0.0:9464", false),
            ("[::]:9464", false),
            ("192.168.1.7:9464", false),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(Listen::new(address, false).is_ok(), is_loopback, "{address}");
            assert_eq!(Listen::new(address, true).map(Listen::address), Ok(address));
        }
    }
}
