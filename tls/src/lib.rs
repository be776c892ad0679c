//! TLS to the broker. Enters: a broker's name and port, and files with certificates. Leaves: a local socket behind which
//! that broker is, for a client that speaks plain MQTT.
//!
//! rumqttc's own TLS brings unmaintained packages with known faults (`rustls-pemfile`, an old `rustls-webpki`). It can
//! speak to a Unix socket, and between that and the broker this stands: one tunnel per connection, so that files which
//! were renewed count from the next connection on. The handshake comes before the socket is there: what is wrong with a
//! certificate is told in words, and not as a connection that ended.

mod fault;
mod files;
mod tunnel;

pub use fault::TlsError;
pub use files::{Files, Identity};
pub use tunnel::Tunnel;

#[cfg(test)]
mod tests;
