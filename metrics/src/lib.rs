//! Numbers for monitors, in the text format that Prometheus reads. Enters: an address, and whoever can say how things
//! stand. Leaves: a [`Sheet`](sheet::Sheet) of metrics, made anew for everybody who asks at the [`door`]. It keeps
//! nothing itself: what a sheet says is read from where it is known anyway.
//!
//! | module | does |
//! |---|---|
//! | [`sheet`] | metrics with their names, help and labels, as text |
//! | [`door`] | HTTP: `GET /metrics`, and nothing else |
//! | [`listen`] | where the door may be: on loopback, unless somebody says otherwise |

pub mod door;
pub mod listen;
pub mod sheet;
