//! Why a database did not answer. Enters: what the engines say. Leaves: words, and whether it is worth while to try
//! again, or with another message.

use super::{postgres, sqlite};

/// Why a database did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL says so, or the connection to it does.
    #[error("{}", postgres::told(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// Rows that should be new are there.
    #[error("{}", postgres::told(.0))]
    Known(tokio_postgres::Error),
    /// What is between this program and the server is in the way.
    #[error("{0}")]
    Driver(String),
    /// A column holds what this program never writes.
    #[error("column {column} of the answer is {found}, not {wanted}")]
    Column {
        /// The column, from 0 on.
        column: usize,
        /// What it holds.
        found: &'static str,
        /// What it should hold.
        wanted: &'static str,
    },
}

impl DbError {
    /// Whether other statements would fail alike: the disk, the server or another process is to blame.
    pub(in crate::store) fn is_of_every_message(&self) -> bool {
        match self {
            Self::Sqlite(why) => sqlite::is_of_every_message(why),
            Self::Postgres(why) => postgres::is_of_every_message(why),
            Self::Driver(_) => true,
            Self::Known(_) | Self::Column { .. } => false,
        }
    }

    /// Whether the database stored nothing, and asks to be told all of the transaction again.
    pub(in crate::store) fn is_passing(&self) -> bool {
        match self {
            Self::Postgres(why) => postgres::is_passing(why),
            Self::Known(_) => true,
            Self::Sqlite(_) | Self::Driver(_) | Self::Column { .. } => false,
        }
    }
}
