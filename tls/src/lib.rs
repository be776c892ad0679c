//! TLS to the broker and to central's enrolment door. Enters: a name and a port, and files with certificates. Leaves: a
//! connection; for a client that speaks plain MQTT, a local socket behind which the broker is. And, of a
//! certificate and its key, what a server needs to say who it is ([`Identity::server`]).
//!
//! rumqttc's own TLS brings unmaintained packages with known faults (`rustls-pemfile`, an old `rustls-webpki`). It can
//! speak to a Unix socket, and between that and the broker this stands: one tunnel per connection, so that files which
//! were renewed count from the next connection on. The handshake comes before the socket is there: what is wrong with a
//! certificate is told in words, and not as a connection that ended.

mod certificate;
mod fault;
mod files;
mod tunnel;

pub use certificate::Certificate;
pub use fault::{Peer, TlsError};
pub use files::{Files, Identity};
pub use tunnel::{Tunnel, connect};

#[cfg(test)]
mod tests;
