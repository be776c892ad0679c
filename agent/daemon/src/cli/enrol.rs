//! `enrol`: makes this computer a gateway that the broker lets in. Enters: the file that `hangtag-central pki token` made.
//! Leaves: a key and a certificate in the data folder, the configuration completed, and what to do next. Whatever stops it,
//! what was there before is there still, and the same command goes on.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::Args;
use hangtag_protocol::enrol::{ENROL, Invitation, PORT, place};
use hangtag_protocol::topic::Gateway;
use hangtag_tls::{Certificate, Files};
use rustix::process::geteuid;

use super::out::out;
use crate::config::Config;
use crate::enrol::door::{self, Place};
use crate::enrol::identity::{self, Folder, replace};
use crate::enrol::settings::{Learned, Settings};

/// The user that the service runs as.
const USER: &str = "hangtag-agent";
const DAY_S: i64 = 86_400;
/// The port of a broker with TLS.
const MQTTS: u16 = 8_883;

#[derive(Args)]
pub(super) struct Enrolment {
    /// The enrolment file that was made for this gateway.
    #[arg(value_name = "FILE")]
    invitation: PathBuf,
    /// Without a way to central: writes the request for a certificate to a file, for `hangtag-central pki sign`.
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    csr_out: Option<PathBuf>,
    /// Without a way to central: the certificate that was signed for that request.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Also when this computer is another gateway by now: what waits in its spool is then sent in the new one's name.
    #[arg(long)]
    replace: bool,
}

impl Enrolment {
    pub(super) async fn run(self, config: &Path) -> anyhow::Result<()> {
        let invitation = read(&self.invitation)?;
        let Invitation { tenant, store, gateway, ref broker, ref central, .. } = invitation;
        let gateway = Gateway { tenant, store, gateway };
        let broker = place(broker, MQTTS).context("broker")?;
        let (host, port) = place(central, PORT).context("central")?;
        let door = Place { host: host.to_owned(), port };

        // Everything that may be wrong here is found before the token is used.
        let mut settings = settings(config)?;
        let base = config.parent().unwrap_or(Path::new(""));
        let data = std::path::absolute(base.join(settings.data()))?;
        if let Some(before) = settings.other(&gateway)
            && data.join("spool").exists()
            && !self.replace
        {
            bail!(
                "{}: this computer is {before} by now, and has a spool; to make it {tenant}/{store}/{} all the same: \
                 --replace",
                config.display(),
                gateway.gateway
            );
        }
        make(&data).with_context(|| data.display().to_string())?;
        let folder = Folder::within(&data);
        let key = folder.key()?;
        let own = |done: &Folder| owner(&data).map_or(Ok(()), |owner| done.give_to(owner));
        if let Some(path) = &self.csr_out {
            let application = identity::application(&gateway, &key, None)?;
            replace(path, application.csr.as_bytes(), 0o644).with_context(|| path.display().to_string())?;
            own(&folder)?;
            return Ok(write!(
                out(),
                "wrote {path}. Where the authority is: hangtag-central pki sign {store}/{name} {path} --out gateway.crt\n\
                 and then here: hangtag-agent enrol {file} --certificate gateway.crt\n",
                path = path.display(),
                name = gateway.gateway,
                file = self.invitation.display()
            )?);
        }
        let authority = folder.candidate(&invitation.ca)?;
        let certificate = match &self.certificate {
            Some(path) => fs::read_to_string(path).with_context(|| path.display().to_string())?,
            None => {
                let application = identity::application(&gateway, &key, Some(invitation.token.clone()))?;
                let files = Files { authorities: authority.clone(), identity: None };
                door::ask(&door, &files, ENROL, &application).await?.certificate
            }
        };
        let taken = folder.take(&gateway, &key, &certificate, &authority)?;
        own(&folder)?;
        settings.learn(&Learned {
            gateway: &gateway,
            broker,
            // What was signed by hand once is signed by hand again.
            door: self.certificate.is_none().then(|| format!("{}:{port}", bracketed(host))),
            authority: &folder.authority(),
            identity: &folder.gateway(),
        });
        write_settings(config, &settings).with_context(|| format!("cannot write {}", config.display()))?;
        folder.settle()?;
        tell(&taken, config, &folder, self.certificate.is_none())?;
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Invitation> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).map_err(|why| {
        let line = why.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        anyhow::anyhow!("{}:{line}: is no enrolment file: {}", path.display(), why.message())
    })
}

fn settings(config: &Path) -> anyhow::Result<Settings> {
    let text = match fs::read_to_string(config) {
        Ok(text) => Some(text),
        Err(why) if why.kind() == ErrorKind::NotFound => None,
        Err(why) => return Err(why).with_context(|| format!("cannot read {}", config.display())),
    };
    Settings::new(text.as_deref()).map_err(|why| anyhow::anyhow!("{}: {why}", config.display()))
}

fn write_settings(config: &Path, settings: &Settings) -> std::io::Result<()> {
    let mode = fs::metadata(config).map_or(0o644, |file| file.permissions().mode() & 0o7777);
    if let Some(folder) = config.parent() {
        fs::create_dir_all(folder)?;
    }
    let before = fs::metadata(config).ok();
    replace(config, settings.text_of_file().as_bytes(), mode)?;
    // Whoever could read it still can.
    match before.filter(|_| geteuid().is_root()) {
        Some(before) => std::os::unix::fs::lchown(config, Some(before.uid()), Some(before.gid())),
        None => Ok(()),
    }
}

/// Makes the data folder where the service has not yet.
fn make(data: &Path) -> std::io::Result<()> {
    if data.exists() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    match owner(data) {
        Some((user, group)) => std::os::unix::fs::chown(data, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// Who the agent's files belong to, when root writes them: whoever the data folder belongs to, or the service's user
/// before it first ran.
fn owner(data: &Path) -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let of_data = fs::metadata(data).ok().map(|data| (data.uid(), data.gid())).filter(|(user, _)| *user != 0);
    of_data.or_else(|| {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        let line = users.lines().find(|line| line.split(':').next() == Some(USER))?;
        let mut ids = line.split(':').skip(2);
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    })
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn tell(taken: &Certificate, config: &Path, folder: &Folder, renewed: bool) -> std::io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let days = taken.left(i64::try_from(now).unwrap_or(0)) / DAY_S;
    let (name, serial, files, config_file) = (&taken.name, &taken.serial, folder.gateway(), config.display());
    let then = if renewed { "is renewed before that" } else { "must be signed anew, by hand, before that" };
    let mut out = out();
    writeln!(out, "this computer is {name}: certificate {serial}, good for {days} days; it {then}")?;
    writeln!(out, "key and certificate: {}\nconfiguration: {config_file}", files.display())?;
    match Config::load(config) {
        Ok(_) => writeln!(
            out,
            "next: hangtag-agent check; then systemctl enable hangtag-agent and systemctl restart hangtag-agent"
        ),
        Err(why) => writeln!(
            out,
            "next: complete the configuration:\n{why}\n`hangtag-agent readers` finds the readers and proposes what to \
             write; then hangtag-agent check, and systemctl enable --now hangtag-agent"
        ),
    }
}
