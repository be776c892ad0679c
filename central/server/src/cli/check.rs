//! The command `check`. Enters: the configuration. Leaves: everything for which `run` would end at once or leave
//! something out, by file, line and key; and what is worth knowing. It changes nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hangtag_protocol::id::TenantId;
use hangtag_tls::Certificate;
use jiff::Timestamp;

use crate::catalogue::Catalogue;
use crate::config::{Config, NoDatabase};
use crate::enrol::Door;
use crate::problem::Problem;
use crate::store::Address;
use crate::{keys, shop, store};

/// How long another program on the page's port may take for its answer, and how much of that is read.
const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_BYTES: u64 = 16_384;

/// What was found.
#[derive(Debug, Default)]
struct Found {
    notes: Vec<String>,
    problems: Vec<Problem>,
}

/// Prints what is wrong. The exit code is 1 when anything is.
pub(super) fn check(file: &Path) -> ExitCode {
    let Found { notes, problems } = look(file);
    notes.iter().for_each(|note| println!("{note}"));
    problems.iter().for_each(|problem| println!("{problem}"));
    if problems.is_empty() {
        println!("{}: no problems", file.display());
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn look(file: &Path) -> Found {
    let mut found = Found::default();
    let config = match Config::read(file) {
        Ok(config) => config,
        Err(problems) => return Found { problems, ..found },
    };
    let text = fs::read_to_string(file).unwrap_or_default();
    let of_key = |key: &str, what: String| {
        let path: Vec<&str> = key.split('.').collect();
        Problem::value(file, &text, &path, key, what)
    };
    if let Err(NoDatabase { key, what }) = data(&config) {
        found.problems.push(of_key(key, what));
    }
    let page = listen(config.web.listen, config.web.tls.is_some());
    let is_running = matches!(page, Ok(Some(_)));
    match page {
        Ok(None) => {}
        Ok(Some(note)) => found.notes.push(format!("{}: web.listen: {note}", file.display())),
        Err(what) => found.problems.push(of_key("web.listen", what)),
    }
    if let Some(enrol) = &config.enrol {
        if let Err(why) = Door::new(enrol) {
            found.problems.push(of_key("enrol", format!("{why:#}")));
        }
        // A central that runs has this port too.
        if !is_running && let Err(why) = TcpListener::bind(enrol.listen) {
            found.problems.push(of_key("enrol.listen", format!("{}: {why}", enrol.listen)));
        }
    }
    let own = config.mqtt.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    for path in own.into_iter().chain(config.enrol.as_ref().map(|enrol| &enrol.certificate)) {
        if let Ok(certificate) = Certificate::read(path) {
            let days = certificate.left(Timestamp::now().as_second()).div_euclid(86_400);
            found.notes.push(format!(
                "{}: certificate of {}, {days} days left",
                path.display(),
                certificate.name
            ));
        }
    }
    if let Some(loyalty) = &config.loyalty {
        match keys::read(&loyalty.keys) {
            Ok(ring) => {
                let newest = ring.entries.first().map_or("", |entry| &entry.id);
                let count = ring.entries.len();
                found.notes.push(format!("{}: {count} keys, the newest {newest}", loyalty.keys.display()));
            }
            Err(problems) => found.problems.extend(problems),
        }
    }
    match shop::read(&config.stores) {
        Ok(shops) => found.notes.push(format!("{}: {} stores", config.stores.display(), shops.len())),
        Err(problems) => found.problems.extend(problems),
    }
    if let Some(path) = &config.catalogue {
        let catalogue = Catalogue::read(path);
        found.notes.push(format!("{}: {} trade items", path.display(), catalogue.len()));
        found.problems.extend(catalogue.problems);
    }
    found
}

/// Whether the database can be opened, or made.
fn data(config: &Config) -> Result<(), NoDatabase> {
    match config.address()? {
        Address::File(path) => {
            data_file(&path, config.tenant).map_err(|what| NoDatabase { key: "data", what })
        }
        address @ Address::Server(_) => {
            let wrong = |why: store::StoreError| NoDatabase { key: "database.url", what: why.to_string() };
            store::check(&address, config.tenant).map_err(wrong)
        }
    }
}

fn data_file(path: &Path, tenant: TenantId) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(folder) {
        Err(why) => return Err(format!("folder {}: {why}", folder.display())),
        Ok(metadata) if !metadata.is_dir() => return Err(format!("{} is no folder", folder.display())),
        Ok(_) => {}
    }
    // SQLite keeps two files beside the database. Asking for rights would not tell of a read-only disk.
    let probe = folder.join(format!(".hangtag-central-check-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&probe);
    if let Err(why) = made.and_then(|_| fs::remove_file(&probe)) {
        return Err(format!("no file can be made in folder {}: {why}", folder.display()));
    }
    match fs::metadata(path) {
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(format!("{}: {why}", path.display())),
        Ok(metadata) if metadata.is_dir() => return Err(format!("{} is a folder", path.display())),
        Ok(_) => {}
    }
    if let Err(why) = OpenOptions::new().write(true).open(path) {
        return Err(format!("{} cannot be written: {why}", path.display()));
    }
    store::check(&path.to_owned().into(), tenant).map_err(|why| why.to_string())
}

/// Whether the page's port is free. A central that runs already may have it.
fn listen(at: SocketAddr, is_tls: bool) -> Result<Option<String>, String> {
    match TcpListener::bind(at) {
        Ok(_) => Ok(None),
        Err(why) if why.kind() == ErrorKind::AddrInUse && is_tls => {
            Ok(Some(format!("{at} is held by another program, perhaps a central that runs already")))
        }
        Err(why) if why.kind() == ErrorKind::AddrInUse && is_central(at).unwrap_or(false) => {
            Ok(Some(format!("{at} is held by a central that runs already; another one would not start")))
        }
        Err(why) => Err(format!("{at}: {why}")),
    }
}

/// Whether a central answers there.
fn is_central(at: SocketAddr) -> io::Result<bool> {
    let host = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(host, at.port()), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    // To strangers it says no more than that it is well, or not.
    let is_short =
        ["ok", "failing"].iter().any(|word| answer.ends_with(&format!("{{\"status\":\"{word}\"}}")));
    Ok(is_short || [r#""broker":""#, r#""writer":""#].iter().all(|field| answer.contains(field)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::store::{Options, Store};

    /// A configuration with everything in order, and a port on which nothing listens.
    fn good(folder: &TempDir, listen: SocketAddr) -> std::path::PathBuf {
        let file = folder.path().join("central.toml");
        let text = format!(
            "tenant = 'demo'\ndata = 'data/central.db'\nstores = 'stores.toml'\n\
             [mqtt]\nhost = 'localhost'\nport = 1883\n[web]\nlisten = '{listen}'\n"
        );
        fs::write(&file, text).unwrap();
        fs::write(folder.path().join("stores.toml"), "[[store]]\nid='a'\nname='A'\ntime_zone='UTC'\n")
            .unwrap();
        fs::create_dir_all(folder.path().join("data")).unwrap();
        file
    }

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn told(file: &Path) -> Vec<String> {
        look(file).problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_database_that_run_cannot_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = good(&folder, any_port());
        let (data, database) = (folder.path().join("data"), folder.path().join("data/central.db"));
        assert_eq!(told(&file), [""; 0]);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "nothing was left or made");

        let options = |tenant| Options {
            tenant: TenantId::new(tenant).unwrap(),
            quarantine_bytes: 1,
            keys: Arc::default(),
        };
        drop(Store::open(&database.clone().into(), options("demo")).unwrap());
        assert_eq!(told(&file), [""; 0]);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing was left beside the database");
        fs::remove_file(&database).unwrap();
        drop(Store::open(&database.clone().into(), options("other")).unwrap());
        let said = |what: &str| {
            let [problem] = &told(&file)[..] else { panic!("one problem: {:?}", told(&file)) };
            assert!(problem.contains("line 2: data: ") && problem.contains(what), "{problem}");
        };
        said("database of tenant \"other\", not of \"demo\"");
        rusqlite::Connection::open(&database).unwrap().pragma_update(None, "user_version", 99).unwrap();
        said("schema version 99");
        fs::write(&database, "no database, whatever its name says. ".repeat(100)).unwrap();
        said("not a database");
        fs::remove_file(&database).unwrap();
        fs::create_dir(&database).unwrap();
        said("is a folder");
        fs::remove_dir_all(&data).unwrap();
        said("No such file");
        fs::write(&data, "").unwrap();
        said("is no folder");
    }

    #[test]
    fn a_port_that_another_program_has_is_named_and_a_running_central_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind(any_port()).unwrap();
        let file = good(&folder, listener.local_addr().unwrap());
        let answers =
            ["HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\n\r\n{\"broker\":\"x\",\"writer\":\"ok\"}"];
        let others = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 16];
                stream.read_exact(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                drop(io::copy(&mut stream, &mut io::sink()));
            }
        });
        let [problem] = &told(&file)[..] else { panic!("one problem") };
        assert!(
            problem.contains("line 8: web.listen: 127.0.0.1:") && problem.contains("in use"),
            "{problem}"
        );
        let Found { notes, problems } = look(&file);
        assert_eq!(problems, []);
        assert!(notes[0].contains("held by a central that runs already"), "{notes:?}");
        others.join().unwrap();
    }

    #[test]
    fn the_problems_of_all_files_are_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = good(&folder, any_port());
        fs::remove_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("stores.toml"), "[[store]]\nid='a'\nname='A'\ntime_zone='Paris'\n")
            .unwrap();
        let told = told(&file);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[1].contains("stores.toml: line 4: store \"a\": time_zone: "), "{told:?}");
    }
}
