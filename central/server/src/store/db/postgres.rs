//! PostgreSQL, on a server: any number of processes write. Each takes a *turn* of a gateway before it reads what is
//! recorded of that, so that what it reads holds until it commits. Rows that are inserted wait for the statement that
//! comes next, so that many go at once.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::pin::pin;
use std::sync::Arc;

use futures_util::SinkExt as _;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use super::super::StoreError;
use super::{Bind, DbError, Mode, Server, Value, copy, dialect};

/// Statements that are kept prepared; more than there are, but for a mistake.
const STATEMENTS: usize = 256;
/// Stands for everybody who makes tables.
const SCHEMA_LOCK: i64 = 0x6861_6e67_7461_6700;

/// A connection.
pub(in crate::store) struct Postgres {
    /// Absent only while this is dropped.
    session: Option<Session>,
    /// Whoever takes the session back: it only read.
    server: Option<Arc<Server>>,
    /// A statement failed within the transaction: the server would answer a commit with a silent roll-back.
    has_failed: Cell<bool>,
    /// Rows that were new are there: until they are committed, each is looked at.
    is_careful: Cell<bool>,
    /// Whether there is a transaction: rows wait only for one that ends.
    is_open: Cell<bool>,
    /// Rows that are sent before the next statement.
    waiting: RefCell<Option<copy::Rows>>,
}

/// What a server and this program know of each other.
pub(super) struct Session {
    client: Client,
    statements: RefCell<BTreeMap<String, Statement>>,
}

impl Postgres {
    pub(super) fn open_to_write(server: &Server) -> Result<Self, DbError> {
        Ok(Self::new(server.connect()?, None))
    }

    pub(super) fn open_to_read(server: &Arc<Server>) -> Result<Self, DbError> {
        Ok(Self::new(server.connect_to_read()?, Some(Arc::clone(server))))
    }

    fn new(session: Session, server: Option<Arc<Server>>) -> Self {
        let (has_failed, is_careful, is_open, waiting) = Default::default();
        Self { session: Some(session), server, has_failed, is_careful, is_open, waiting }
    }

    pub(super) fn begin(&self, mode: Mode) -> Result<(), DbError> {
        self.has_failed.set(false);
        self.is_open.set(true);
        self.waiting.take();
        self.batch(match mode {
            Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            // Statements behind a turn see what was committed before it.
            Mode::Write => "BEGIN ISOLATION LEVEL READ COMMITTED",
        })
    }

    pub(super) fn commit(&self) -> Result<(), DbError> {
        self.send_waiting()?;
        if self.has_failed.get() {
            return Err(DbError::Driver("a statement of the transaction failed".into()));
        }
        self.is_careful.set(false);
        self.is_open.set(false);
        self.batch("COMMIT")
    }

    pub(super) fn roll_back(&self) {
        self.is_open.set(false);
        self.waiting.take();
        if let Err(error) = self.batch("ROLLBACK") {
            tracing::debug!(%error, "cannot roll a transaction back: the server does it when the session ends");
        }
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), DbError> {
        self.send_waiting()?;
        self.noted(self.session().batch(sql))
    }

    pub(super) fn execute(&self, sql: &str, binds: &[Bind<'_>]) -> Result<usize, DbError> {
        self.send_waiting()?;
        let session = self.session();
        let work = async {
            let statement = session.statement(sql, || dialect::of_postgres(sql), types(binds)).await?;
            session.client.execute(&statement, &places(binds)).await
        };
        self.noted(pollster::block_on(work).map_err(DbError::from))
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(super) fn query(&self, sql: &str, binds: &[Bind<'_>]) -> Result<Vec<tokio_postgres::Row>, DbError> {
        self.send_waiting()?;
        let session = self.session();
        let work = async {
            let statement = session.statement(sql, || dialect::of_postgres(sql), types(binds)).await?;
            session.client.query(&statement, &places(binds)).await
        };
        self.noted(pollster::block_on(work).map_err(DbError::from))
    }

    /// Writes rows that are most often all new. COPY is the fastest way; but a row that is there ends it, and the
    /// transaction. Then the transaction is to be tried again, and rows are looked at.
    pub(super) fn insert_rows<'v, const COLUMNS: usize>(
        &self,
        table: &str,
        rows: impl ExactSizeIterator<Item = [Bind<'v>; COLUMNS]>,
    ) -> Result<(), DbError> {
        if self.is_careful.get() {
            return self.merge_rows(table, rows, "DO NOTHING");
        }
        if self
            .waiting
            .borrow()
            .as_ref()
            .is_some_and(|waiting| waiting.table != table || waiting.are_enough())
        {
            self.send_waiting()?;
        }
        for row in rows {
            self.waiting.borrow_mut().get_or_insert_with(|| copy::Rows::of(table)).add(&row);
        }
        if self.is_open.get() { Ok(()) } else { self.send_waiting() }
    }

    fn send_waiting(&self) -> Result<(), DbError> {
        let Some(rows) = self.waiting.take() else { return Ok(()) };
        let sql = format!("COPY {} FROM STDIN (FORMAT binary)", rows.table);
        let session = self.session();
        let work = async {
            let statement = session.statement(&sql, || sql.clone(), Vec::new()).await?;
            let mut sink = pin!(session.client.copy_in::<_, Cursor<Vec<u8>>>(&statement).await?);
            sink.send(rows.packed()).await?;
            sink.finish().await
        };
        self.noted(pollster::block_on(work).map(drop).map_err(|why| {
            if why.code() == Some(&SqlState::UNIQUE_VIOLATION) {
                self.is_careful.set(true);
                return DbError::Known(why);
            }
            why.into()
        }))
    }

    /// Sends columns, not rows: one statement writes any number of rows.
    pub(super) fn merge_rows<'v, const COLUMNS: usize>(
        &self,
        table: &str,
        rows: impl ExactSizeIterator<Item = [Bind<'v>; COLUMNS]>,
        on_conflict: &str,
    ) -> Result<(), DbError> {
        self.send_waiting()?;
        let mut columns: [Vec<Bind<'v>>; COLUMNS] = std::array::from_fn(|_| Vec::with_capacity(rows.len()));
        for row in rows {
            columns.iter_mut().zip(row).for_each(|(column, bind)| column.push(bind));
        }
        if columns.first().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let types: Vec<Type> = columns.iter().map(|column| array_of(&column[0])).collect();
        let casts = types.iter().zip(1..).map(|(kind, place)| format!("${place}::{}", array_name(kind)));
        let casts: Vec<String> = casts.collect();
        let casts = casts.join(",");
        let sql = format!("INSERT INTO {table} SELECT * FROM unnest({casts}) ON CONFLICT {on_conflict}");
        let places: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
        let session = self.session();
        let work = async {
            let statement = session.statement(&sql, || sql.clone(), types).await?;
            session.client.execute(&statement, &places).await
        };
        self.noted(pollster::block_on(work).map_err(DbError::from)).map(drop)
    }

    /// Waits until nobody else makes tables, until the transaction ends.
    pub(super) fn lock_schema(&self) -> Result<(), DbError> {
        self.batch(&format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"))
    }

    fn session(&self) -> &Session {
        self.session.as_ref().expect("it is there until this is dropped")
    }

    fn noted<T>(&self, result: Result<T, DbError>) -> Result<T, DbError> {
        result.inspect_err(|_| self.has_failed.set(true))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What failed may fail again: statements that were prepared before another program changed a table do.
        if let (Some(server), Some(session)) = (&self.server, self.session.take())
            && !session.is_closed()
            && !self.has_failed.get()
        {
            server.keep(session);
        }
    }
}

impl Session {
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), DbError> {
        Ok(pollster::block_on(self.client.batch_execute(sql))?)
    }

    /// A statement, prepared when it is new. The types of what is bound are the same wherever its text is the same.
    async fn statement(
        &self,
        sql: &str,
        translated: impl FnOnce() -> String,
        types: Vec<Type>,
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare_typed(&translated(), &types).await?;
        let mut kept = self.statements.borrow_mut();
        if kept.len() >= STATEMENTS {
            kept.clear();
        }
        kept.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl From<Client> for Session {
    fn from(client: Client) -> Self {
        Self { client, statements: RefCell::default() }
    }
}

fn types(binds: &[Bind<'_>]) -> Vec<Type> {
    let of = |bind: &Bind<'_>| match bind {
        Bind::Int(_) => Type::INT8,
        Bind::Real(_) => Type::FLOAT8,
        Bind::Text(_) => Type::TEXT,
        Bind::Bytes(_) => Type::BYTEA,
    };
    binds.iter().map(of).collect()
}

fn array_of(bind: &Bind<'_>) -> Type {
    match bind {
        Bind::Int(_) => Type::INT8_ARRAY,
        Bind::Real(_) => Type::FLOAT8_ARRAY,
        Bind::Text(_) => Type::TEXT_ARRAY,
        Bind::Bytes(_) => Type::BYTEA_ARRAY,
    }
}

fn array_name(kind: &Type) -> &'static str {
    match *kind {
        Type::INT8_ARRAY => "bigint[]",
        Type::FLOAT8_ARRAY => "double precision[]",
        Type::TEXT_ARRAY => "text[]",
        _ => "bytea[]",
    }
}

fn places<'p>(binds: &'p [Bind<'_>]) -> Vec<&'p (dyn ToSql + Sync)> {
    binds.iter().map(|bind| bind as _).collect()
}

impl ToSql for Bind<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(number) => number.to_sql(kind, out),
            Self::Real(number) => number.to_sql(kind, out),
            Self::Text(text) => text.as_deref().map(text_of_postgres).to_sql(kind, out),
            Self::Bytes(bytes) => bytes.as_deref().to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// PostgreSQL's texts cannot hold the character 0, which strangers may send.
pub(super) fn text_of_postgres(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

/// A column of a row.
pub(super) fn value(row: &tokio_postgres::Row, column: usize) -> Result<Value<'_>, StoreError> {
    let kind = row.columns().get(column).map_or(Type::UNKNOWN, |column| column.type_().clone());
    let value = match kind {
        Type::INT8 => row.try_get::<_, Option<i64>>(column)?.map(Value::Int),
        Type::INT4 => row.try_get::<_, Option<i32>>(column)?.map(|number| Value::Int(number.into())),
        Type::BOOL => row.try_get::<_, Option<bool>>(column)?.map(|truth| Value::Int(truth.into())),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(column)?.map(Value::Real),
        Type::TEXT | Type::VARCHAR | Type::NAME => row.try_get::<_, Option<&str>>(column)?.map(Value::Text),
        Type::BYTEA => row.try_get::<_, Option<&[u8]>>(column)?.map(Value::Bytes),
        Type::NUMERIC => Some(Value::Other("a decimal number")),
        _ => Some(Value::Other("of an unknown type")),
    };
    Ok(value.unwrap_or(Value::Null))
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(why: tokio_postgres::Error) -> Self {
        Self::Statement(why.into())
    }
}

/// What the server said, or why it said nothing.
pub(super) fn told(why: &tokio_postgres::Error) -> String {
    match why.as_db_error() {
        Some(error) => format!("{} ({})", error.message(), error.code().code()),
        None => match std::error::Error::source(why) {
            Some(source) => format!("{why}: {source}"),
            None => why.to_string(),
        },
    }
}

/// Whether other statements would fail alike: the server, its disk, or another process is to blame.
pub(super) fn is_of_every_message(why: &tokio_postgres::Error) -> bool {
    // By class: connection, authorization, roll-back by the server, resources, locks, operator, system, damage.
    const CLASSES: [&str; 9] = ["08", "28", "3D", "40", "53", "55", "57", "58", "XX"];
    match why.code() {
        Some(code) => {
            CLASSES.iter().any(|class| code.code().starts_with(class))
                || [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::READ_ONLY_SQL_TRANSACTION].contains(code)
        }
        // No word from the server, or one that cannot be understood.
        None => true,
    }
}

/// Whether the server chose this transaction to be tried again.
pub(super) fn is_passing(why: &tokio_postgres::Error) -> bool {
    let passing = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
    why.code().is_some_and(|code| passing.contains(code))
}
