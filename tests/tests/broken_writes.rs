//! A disk of which any single write fails, or a few in a row. The agent's own writer fills a spool meanwhile:
//! it goes on by itself, and every accepted event is there afterwards; a failure is no reason to lose any.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use hangtag_tests::harness::export::{Export, Fates, read_log};
use hangtag_tests::harness::faults::{Fault, Faults};
use hangtag_tests::harness::gateway::{Gateway, succeeded};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, long, seed};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Events, in commits of so many.
const EVENTS: u64 = 2_000;
const PER_COMMIT: &str = "50";
/// Faults that are tried; in a long run every write fails once.
const FAULTS: u64 = 24;
/// Within so many writes a spool is made and opened; only there a failure may keep the agent from starting.
const OPENING: u64 = 60;
/// The most writes that fail in a row.
const MOST: u64 = 6;

struct Patient {
    gateway: Gateway,
    faults: Faults,
    folder: tempfile::TempDir,
}

impl Patient {
    fn admit() -> anyhow::Result<Self> {
        let folder = folder()?;
        let site = Site::for_test(folder.path(), 1)?;
        let gateway = Gateway::create(&site, "patient", &folder.path().join("data"), 1, "")?;
        let faults = Faults::new(gateway.data(), folder.path())?;
        Ok(Self { gateway, faults, folder })
    }

    /// Fills an empty spool while its disk fails. Returns how many events were accepted: none if the spool
    /// could not even be opened, which the agent says and ends.
    fn try_fill(&self, fault: Fault) -> anyhow::Result<u64> {
        if self.gateway.data().exists() {
            fs::remove_dir_all(self.gateway.data())?;
        }
        fs::write(self.gateway.accepted_log(), "")?;
        let events = EVENTS.to_string();
        let mut fill =
            self.gateway.command(&["bench", "fill", "--events", &events, "--per-commit", PER_COMMIT]);
        fill.arg("--accepted-log").arg(self.gateway.accepted_log());
        let output = self.faults.inflict(&mut fill, fault).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let accepted = self.gateway.accepted() as u64;
        if output.status.success() {
            ensure!(accepted == EVENTS, "{accepted} of {EVENTS} events were accepted: {said}");
        } else {
            ensure!(accepted == 0, "the agent gave up after {accepted} events: {said}");
            ensure!(said.contains("Input/output error"), "it does not say why: {said}");
        }
        Ok(accepted)
    }

    /// What a sound disk shows of the accepted events afterwards.
    fn examine(&self) -> anyhow::Result<Fates> {
        succeeded(self.gateway.command(&["bench", "fill", "--events", "10", "--more"]).output()?)?;
        let file = self.folder.path().join("export.htgx");
        let _ = fs::remove_file(&file);
        self.gateway.export(&file)?;
        let export = Export::read(&file)?;
        let accepted = read_log(&self.gateway.accepted_log())?;
        // A failure is no damage: there is no reason for another epoch.
        Ok(export.fates(export.epoch()?, &accepted))
    }
}

#[test]
fn no_failed_write_costs_an_accepted_event() -> anyhow::Result<()> {
    let (patient, begin) = (Patient::admit()?, Instant::now());
    let mut dice = ChaCha8Rng::seed_from_u64(seed());
    patient.try_fill(Fault::default())?;
    let writes = patient.faults.counted()?;
    ensure!(writes > EVENTS / 50, "{writes} writes: they are not counted");
    let chosen: Vec<u64> = if long() {
        (1..=writes).collect()
    } else {
        // Most of the writes of a short life are those of its beginning: they get their share.
        (0..FAULTS).map(|n| dice.random_range(1..=if n % 4 == 0 { OPENING } else { writes })).collect()
    };
    let mut refused = 0;
    for (n, at) in chosen.iter().copied().enumerate() {
        let fault = Fault { at, times: if n % 2 == 0 { 1 } else { dice.random_range(2..=MOST) } };
        let accepted = patient.try_fill(fault).with_context(|| format!("{fault:?}"))?;
        ensure!(accepted > 0 || at <= OPENING, "{fault:?}: the spool did not open");
        refused += usize::from(accepted == 0);
        let fates = patient.examine().with_context(|| format!("{fault:?}"))?;
        ensure!(fates == Fates { there: accepted, ..Fates::default() }, "{fault:?}: {fates:?}");
    }
    println!(
        "{} faults in {writes} writes, {:.1?}: {refused} kept the spool from opening, no event was lost",
        chosen.len(),
        begin.elapsed()
    );
    Ok(())
}
