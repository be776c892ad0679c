//! Damaged spools: flipped bits, files cut short, gone, or replaced by others. The agent opens what is
//! there and goes on; every accepted event is either there as it was, or declared lost; never both, never
//! neither, never another.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use hangtag_protocol::id::Epoch;
use hangtag_tests::harness::export::{Accepted, Export, Fates, read_log};
use hangtag_tests::harness::gateway::{Gateway, succeeded};
use hangtag_tests::harness::image::scratch;
use hangtag_tests::harness::judge::judge_epoch;
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder_in, long, seed};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const EVENTS: &str = "20000";
/// Flipped bits, in a normal and in a long run.
const FLIPS: (u32, u32) = (200, 600);
/// The most events that a flipped bit may cost: as many as two values of the spool hold.
const PER_FLIP: u64 = 512;
const TRUNCATIONS: u32 = 20;
/// Events accepted after each damage.
const AFTER: &str = "40";
/// Every so often the damaged files are exported before the agent has mended them.
const LOOK_EVERY: u32 = 3;
/// Every so often central gets the export too.
const IMPORT_EVERY: u32 = 10;

/// A sound spool, and a place to damage copies of it.
struct Ward {
    folder: tempfile::TempDir,
    site: Site,
    patient: Gateway,
    sound: PathBuf,
    epoch: Epoch,
    accepted: Accepted,
    dice: ChaCha8Rng,
    damages: u32,
    harmed: u32,
    lost: u64,
    worst: u64,
}

impl Ward {
    fn open() -> anyhow::Result<Self> {
        let folder = folder_in(&scratch())?;
        let site = Site::for_test(folder.path(), 1)?;
        let sound = folder.path().join("sound-data");
        let healthy = Gateway::create(&site, "sound", &sound, 1, "")?;
        let patient = Gateway::create(&site, "patient", &folder.path().join("patient-data"), 1, "")?;
        fill(&healthy, EVENTS)?;
        let export = folder.path().join("sound.htgx");
        healthy.export(&export)?;
        let (export, accepted) = (Export::read(&export)?, read_log(&healthy.accepted_log())?);
        let epoch = export.epoch()?;
        let all = Fates { there: accepted.len() as u64, ..Fates::default() };
        ensure!(export.fates(epoch, &accepted) == all, "the sound spool is not sound");
        let dice = ChaCha8Rng::seed_from_u64(seed());
        Ok(Self {
            site,
            patient,
            sound,
            epoch,
            accepted,
            dice,
            damages: 0,
            harmed: 0,
            lost: 0,
            worst: 0,
            folder,
        })
    }

    fn spool(&self) -> PathBuf {
        self.patient.data().join("spool")
    }

    /// Damages a copy of the sound spool, lets the agent open it and go on, and judges what is there.
    fn try_damage(
        &mut self,
        what: &str,
        damage: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Fates> {
        remove(self.patient.data())?;
        copy_folder(&self.sound, self.patient.data())?;
        damage(self)?;
        self.damages += 1;
        let fates = self.examine().with_context(|| what.to_owned())?;
        self.harmed += u32::from(fates.lost > 0);
        self.lost += fates.lost;
        self.worst = self.worst.max(fates.lost);
        Ok(fates)
    }

    fn examine(&self) -> anyhow::Result<Fates> {
        let export = self.folder.path().join("patient.htgx");
        remove(&export)?;
        if self.damages % LOOK_EVERY == 1 {
            // It changes nothing, thus what follows is the same; of an empty folder it says that it is empty.
            if self.patient.export(&export).is_ok() {
                let fates = Export::read(&export)?.fates(self.epoch, &self.accepted);
                ensure!(fates.is_honest(), "looking only: {fates:?}");
            }
        }
        remove(&self.patient.accepted_log())?;
        fill(&self.patient, AFTER)?;
        remove(&export)?;
        self.patient.export(&export)?;
        let found = Export::read(&export)?;
        let fates = found.fates(self.epoch, &self.accepted);
        ensure!(fates.is_honest(), "{fates:?}");
        for (seq, line) in read_log(&self.patient.accepted_log())? {
            let there = found.events.iter().any(|((_, number), found)| *number == seq && *found == line);
            ensure!(there, "event {seq}, accepted after the damage, is not there");
        }
        if self.damages % IMPORT_EVERY == 1 {
            self.import(&export, &fates)?;
        }
        Ok(fates)
    }

    /// Central says the same.
    fn import(&self, export: &Path, fates: &Fates) -> anyhow::Result<()> {
        for end in ["", "-wal", "-shm"] {
            remove(Path::new(&format!("{}{end}", self.site.database().display())))?;
        }
        succeeded(self.site.central("import").arg(export).output()?)?;
        let log = self.folder.path().join("sound.jsonl");
        let verdict = judge_epoch(&log, &self.site.database(), &self.epoch.to_string())?;
        let same = verdict.missing == 0 && verdict.changed == 0 && verdict.contradicted == 0;
        ensure!(same && verdict.lost == fates.lost, "{fates:?}, but central says {verdict:?}");
        Ok(())
    }

    fn report(&self, what: &str, begin: Instant) {
        println!(
            "{what}: {} damages in {:.1?}, {} of them lost something, at most {} and together {} of {} events, \
             all declared",
            self.damages,
            begin.elapsed(),
            self.harmed,
            self.worst,
            self.lost,
            self.damages as usize * self.accepted.len()
        );
    }
}

fn fill(gateway: &Gateway, events: &str) -> anyhow::Result<()> {
    let mut command = gateway.command(&["bench", "fill", "--more", "--events", events]);
    succeeded(command.arg("--accepted-log").arg(gateway.accepted_log()).output()?).map(drop)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(why).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for path in list(from)? {
        let target = to.join(path.file_name().context("no name")?);
        if path.is_dir() { copy_folder(&path, &target)? } else { fs::copy(&path, &target).map(drop)? }
    }
    Ok(())
}

/// What is in a folder, by name.
fn list(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut entries = entries?;
    entries.retain(|path| path.is_dir() || path.is_file());
    entries.sort();
    Ok(entries)
}

/// All files below a folder, by name.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in list(folder)? {
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[test]
fn no_flipped_bit_goes_unnoticed() -> anyhow::Result<()> {
    let (mut ward, begin) = (Ward::open()?, Instant::now());
    for _ in 0..if long() { FLIPS.1 } else { FLIPS.0 } {
        let files = files(&ward.sound.join("spool"))?;
        let sizes: Vec<u64> =
            files.iter().map(|file| fs::metadata(file).map(|data| data.len())).collect::<Result<_, _>>()?;
        let mut at = ward.dice.random_range(0..sizes.iter().sum());
        let mut chosen = 0;
        while at >= sizes[chosen] {
            at -= sizes[chosen];
            chosen += 1;
        }
        let name = files[chosen].strip_prefix(&ward.sound)?.to_owned();
        let bit = ward.dice.random_range(0..8);
        let what = format!("bit {bit} of byte {at} of {}", name.display());
        let fates = ward.try_damage(&what, |ward| {
            let mut file =
                fs::File::options().read(true).write(true).open(ward.patient.data().join(&name))?;
            let mut byte = [0];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut byte)?;
            file.seek(SeekFrom::Start(at))?;
            Ok(file.write_all(&[byte[0] ^ 1 << bit])?)
        })?;
        ensure!(fates.lost <= PER_FLIP, "{what}: {fates:?}");
    }
    ward.report("flipped bits", begin);
    Ok(())
}

#[test]
fn a_file_cut_short_loses_only_what_it_held() -> anyhow::Result<()> {
    let (mut ward, begin) = (Ward::open()?, Instant::now());
    let length = fs::metadata(ward.sound.join("spool/db"))?.len();
    for _ in 0..TRUNCATIONS {
        let left = ward.dice.random_range(0..length);
        ward.try_damage(&format!("db cut to {left} of {length} bytes"), |ward| {
            Ok(fs::File::options().write(true).open(ward.spool().join("db"))?.set_len(left)?)
        })?;
    }
    ward.report("cut short", begin);
    Ok(())
}

#[test]
fn files_that_are_gone_or_foreign_are_noticed() -> anyhow::Result<()> {
    let (mut ward, begin) = (Ward::open()?, Instant::now());
    for file in files(&ward.sound)? {
        let name = file.strip_prefix(&ward.sound)?.to_owned();
        let fates = ward.try_damage(&format!("no {}", name.display()), |ward| {
            Ok(fs::remove_file(ward.patient.data().join(&name))?)
        })?;
        println!("no {}: {fates:?}", name.display());
    }
    for name in ["db", "conf"] {
        let fates = ward.try_damage(&format!("a foreign {name}"), |ward| {
            let mut bytes = vec![0; 100_000];
            bytes.fill_with(|| ward.dice.random());
            Ok(fs::write(ward.spool().join(name), bytes)?)
        })?;
        println!("a foreign {name}: {fates:?}");
    }
    let fates = ward.try_damage("an empty folder", |ward| {
        list(&ward.spool())?.iter().try_for_each(|path| remove(path))
    })?;
    println!("an empty folder: {fates:?}");
    let fates = ward.try_damage("no folder", |ward| remove(&ward.spool()))?;
    println!("no folder: {fates:?}");
    let fates = ward.try_damage("half a snapshot", |ward| {
        let mut bytes = vec![0; 5_000];
        bytes.fill_with(|| ward.dice.random());
        Ok(fs::write(ward.spool().join("snap.00000000DEADBEEF.generating"), bytes)?)
    })?;
    ensure!(fates.lost == 0, "what sled had not finished held nothing: {fates:?}");
    ward.report("gone or foreign", begin);
    Ok(())
}
