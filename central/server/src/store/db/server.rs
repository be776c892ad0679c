//! A PostgreSQL server. Enters: a URL and a password. Leaves: sessions, opened when they are needed; those that only
//! read are used again. Nothing that it prints holds the password.
//!
//! Sessions are driven by one thread of their own, so that whoever asks may be any thread, also one of a runtime.

use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};

use super::DbError;
use super::postgres::Session;
use super::tls::{Messages, Tls};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a server that went away without a word is waited for.
const SILENT: Duration = Duration::from_secs(30);
/// Sessions for reading that are kept.
const IDLE: usize = 8;
/// Waiting for another process ends after 5 s, as with SQLite; what a process holds that went away without a word, or
/// stands still, is freed after 10 s; and a commit is one: with `off`, the last ones could be lost with the server.
const SETTINGS: &str = "SET lock_timeout = 5000; SET idle_in_transaction_session_timeout = 10000;
    SET client_min_messages = warning;
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// A server, and who asks it for what.
pub(crate) struct Server {
    config: Config,
    tls: Tls,
    idle: Mutex<Vec<Session>>,
}

impl Server {
    /// Reads a URL; opens nothing.
    ///
    /// # Errors
    /// What is wrong with it, without it: there may be a password in it.
    pub(in crate::store) fn new(url: &str, password: Option<&str>) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err("is no URL like postgres://hangtag@db.example/hangtag".into());
        }
        let (url, tls) = Tls::split(url)?;
        let mut config = Config::from_str(&url).map_err(|why| {
            let why = std::error::Error::source(&why).map_or_else(|| why.to_string(), ToString::to_string);
            format!("cannot be read: {why}")
        })?;
        if config.get_password().is_some() {
            return Err("holds a password: write it into a file, and name that in password_file".into());
        }
        if config.get_hosts().is_empty() {
            return Err("names no host; a folder with a socket is named with ?host=/run/postgresql".into());
        }
        if config.get_dbname().is_none() {
            return Err(
                "names no database: write it behind the host, like postgres://db.example/hangtag".into()
            );
        }
        if let Tls::On(_) = tls {
            // Or a server without TLS would be spoken to in the clear.
            config.ssl_mode(SslMode::Require);
        }
        if let Some(password) = password {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("hangtag-central");
        }
        config.connect_timeout(CONNECT).keepalives_idle(SILENT).tcp_user_timeout(SILENT);
        Ok(Self { config, tls, idle: Mutex::default() })
    }

    /// Opens a session that whoever asks drives.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub(super) async fn open(&self) -> Result<(Client, Messages), DbError> {
        Ok(self.tls.clone().connect(&self.config).await?)
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub(super) fn connect(&self) -> Result<Session, DbError> {
        let (config, tls) = (self.config.clone(), self.tls.clone());
        let runtime = runtime()?;
        let connecting = runtime.spawn(async move { tls.connect(&config).await });
        let (client, mut messages) =
            pollster::block_on(connecting).map_err(|why| DbError::Driver(why.to_string()))??;
        runtime.spawn(async move {
            while let Some(message) = messages.next().await {
                if let Err(error) = message {
                    tracing::debug!(%error, "a session with the database ended");
                    return;
                }
            }
        });
        prepare(&client)?;
        Ok(Session::from(client))
    }

    /// A session for reading.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub(super) fn connect_to_read(&self) -> Result<Session, DbError> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match kept {
                Some(session) if session.is_closed() => {}
                Some(session) => return Ok(session),
                None => {
                    let session = self.connect()?;
                    session.batch("SET default_transaction_read_only = on")?;
                    return Ok(session);
                }
            }
        }
    }

    /// Keeps a session for reading for the next one who asks.
    pub(super) fn keep(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(session);
        }
    }
}

/// Refuses what would change texts, and tells what would lose commits.
fn prepare(client: &Client) -> Result<(), DbError> {
    pollster::block_on(client.batch_execute(SETTINGS))?;
    let question = "SELECT current_setting('server_encoding'), current_setting('fsync')";
    let row = pollster::block_on(client.query_one(question, &[]))?;
    let (encoding, fsync): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    if encoding != "UTF8" {
        let why = format!("the database keeps texts as {encoding}: make it anew, with ENCODING 'UTF8'");
        return Err(DbError::Driver(why));
    }
    if fsync == "off" {
        tracing::warn!("the database server has fsync = off: a power cut loses what agents have deleted");
    }
    Ok(())
}

/// What drives the sessions.
fn runtime() -> Result<&'static Runtime, DbError> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread().worker_threads(1).thread_name("postgres").enable_all().build();
    let made = made.map_err(|why| DbError::Driver(why.to_string()))?;
    Ok(RUNTIME.get_or_init(|| made))
}

impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        for (number, host) in self.config.get_hosts().iter().enumerate() {
            f.write_str(if number == 0 { "" } else { "," })?;
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(folder) => write!(f, "{}", folder.display())?,
            }
            if let Some(port) = self.config.get_ports().get(number).or(self.config.get_ports().first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl Debug for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_its_secrets() {
        for (url, said) in [
            ("central.db", "is no URL like postgres://"),
            ("mysql://h/d", "is no URL like postgres://"),
            ("postgres://u:hunter2@h/d", "holds a password"),
            ("postgres://u@/d", "names no host"),
            ("postgres://u@h", "names no database"),
            ("postgres://u@h/d?sslmode=verify-ca", "sslmode that is not known"),
            ("postgres://u@h/d?sslmode=verify-full", "without sslrootcert"),
            ("postgres://u@h/d?sslmode=verify-full&sslrootcert=/absent%20x", "/absent x"),
            ("postgres://u@h/d?sslrootcert=/x", "verify-full alone"),
            ("postgres://u@h:hunter2/d", "port"),
        ] {
            let why = Server::new(url, None).unwrap_err();
            assert!(why.contains(said) && !why.contains("hunter2"), "{url}: {why}");
        }
        let server = Server::new("postgres://u@h:5433/d?application_name=x", Some("hunter2")).unwrap();
        assert_eq!(format!("{server} {server:?}"), "postgres://u@h:5433/d postgres://u@h:5433/d");
        assert!(Server::new("postgresql://u@/d?host=/run/postgresql", None).is_ok());
    }
}
