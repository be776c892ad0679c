//! How the gateway gets its certificate, and the next one. Enters: a file that lets it in once; then the certificate that it
//! has. Leaves: a key that was made here and never leaves, and a certificate for it; the configuration, completed.
//!
//! ```text
//! DATA/identity/ca.pem        the authority: who the broker and central must be certified by
//! DATA/identity/gateway.pem   the key and the certificate, in one file, which is replaced in one step; mode 0600
//! DATA/identity/next.key      a key that is not certified yet: whoever asks again asks for the same
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`door`] | asks central's enrolment door |
//! | [`identity`] | the files |
//! | [`renewal`] | gets the next certificate before this one is over |
//! | [`settings`] | writes what is known now into the configuration |

pub(crate) mod door;
pub(crate) mod identity;
pub(crate) mod renewal;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
