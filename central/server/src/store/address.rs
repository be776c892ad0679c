//! Where the data is. Enters: a file's path, or a server's URL and password. Leaves: a place whose name can be told to
//! anybody; the password is never in it.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::sync::Arc;

use super::db::Server;

/// A file or a server.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// SQLite's file.
    File(PathBuf),
    /// PostgreSQL's server.
    Server(Arc<Server>),
}

impl Address {
    /// A server that `postgres://user@host:port/database` names.
    ///
    /// # Errors
    /// What is wrong with the URL, without it.
    pub(crate) fn server(url: &str, password: Option<&str>) -> Result<Self, String> {
        Server::new(url, password).map(|server| Self::Server(Arc::new(server)))
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => server.fmt(f),
        }
    }
}
