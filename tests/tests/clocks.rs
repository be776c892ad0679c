//! The wall clock as a shop's gateway sees it: it starts in 1970, it is an hour off, it is set while the
//! agent runs, and sometimes it is never set. When something happened is right in central all the same, as
//! far as the agent says how right; and what happened has nothing to do with it.

use std::collections::BTreeMap;
use std::time::Duration;

use hangtag_protocol::clock::UNKNOWN_ERROR;
use hangtag_tests::emulator::carousel::Carousel;
use hangtag_tests::harness::broker::Mosquitto;
use hangtag_tests::harness::clock::{Machine, kernel_started_ms};
use hangtag_tests::harness::gateway::{Gateway, STOPS_WITHIN};
use hangtag_tests::harness::judge::{judge, wait_complete};
use hangtag_tests::harness::process::{Process, wait_for};
use hangtag_tests::harness::site::Site;
use hangtag_tests::harness::{folder, free_port, skip};
use rusqlite::Connection;

/// How long something that happens within seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far off a clock that a time service keeps may be, as the agent tells it.
const KEPT_ERROR_MS: i64 = 1_000;
const HOUR_MS: i64 = 3_600_000;
/// Events between one change of the clock and the next.
const EVENTS: usize = 60;

/// A shop whose gateway is such a machine.
struct Shop {
    _folder: tempfile::TempDir,
    _broker: Mosquitto,
    _carousel: Carousel,
    site: Site,
    gateway: Gateway,
    machine: Machine,
    central: Process,
}

/// An event as central tells it.
struct Row {
    boot: String,
    at: i64,
    wall_ms: Option<i64>,
    error_ms: Option<i64>,
}

impl Shop {
    /// `None` where there can be no such machine, and nothing may be said against that.
    fn open_unless_skipped() -> anyhow::Result<Option<Self>> {
        match Machine::refusal() {
            Some(why) => skip(why).map(|()| None),
            None => Self::open().map(Some),
        }
    }

    fn open() -> anyhow::Result<Self> {
        let folder = folder()?;
        let broker_port = free_port()?;
        let broker = Mosquitto::start(&folder.path().join("mosquitto"), broker_port)?;
        let site = Site::for_test(folder.path(), broker_port)?;
        let gateway = Gateway::create(&site, "agent", &folder.path().join("agent-data"), broker_port, "")?;
        // Nobody vouches for this clock but the time service.
        let config = std::fs::read_to_string(folder.path().join("agent.toml"))?;
        site.write("agent.toml", &config.replace("kept = true", "kept = false"))?;
        let machine = Machine::new(&folder.path().join("machine"))?;
        let central = site.start_central()?;
        let carousel = Carousel::start(&gateway.readers(), 1, 100)?;
        Ok(Self { _folder: folder, _broker: broker, _carousel: carousel, site, gateway, machine, central })
    }

    fn start(&self) -> anyhow::Result<Process> {
        Process::start("hangtag-agent", &mut self.machine.command(&self.gateway.run()), &self.gateway.log())
    }

    /// Lets some more events happen, and waits until central has them.
    fn go_on(&self, agent: &mut Process) -> anyhow::Result<()> {
        let least = self.gateway.accepted() + EVENTS;
        self.gateway.wait_accepted(agent, least)?;
        wait_for("central to have them", PATIENCE, || {
            agent.check()?;
            Ok((self.rows()?.len() >= least).then_some(()))
        })
    }

    fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let database = Connection::open(self.site.database())?;
        database.busy_timeout(Duration::from_secs(5))?;
        let mut rows =
            database.prepare("SELECT boot, uptime, wall_ms, clock_error FROM event ORDER BY seq")?;
        let rows = rows.query_map([], |row| {
            Ok(Row { boot: row.get(0)?, at: row.get(1)?, wall_ms: row.get(2)?, error_ms: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Waits until central knows the time of day of every event of a boot within a second, and judges it.
    fn check_exact(&self, agent: &mut Process, boot: &str) -> anyhow::Result<()> {
        wait_for("central to know when everything happened", PATIENCE, || {
            agent.check()?;
            let rows = self.rows()?;
            let known = |row: &Row| row.error_ms.is_some_and(|error| error <= KEPT_ERROR_MS);
            Ok(rows.iter().filter(|row| row.boot == boot).all(known).then_some(()))
        })?;
        self.check_honest()
    }

    /// No event's time of day is further off than central says.
    fn check_honest(&self) -> anyhow::Result<()> {
        let started = kernel_started_ms();
        let mut furthest = 0;
        for Row { at, wall_ms, error_ms, .. } in self.rows()? {
            let (Some(wall_ms), Some(error_ms)) = (wall_ms, error_ms) else { continue };
            let off = (wall_ms - (started + at)).abs();
            if error_ms != i64::from(UNKNOWN_ERROR) {
                assert!(off <= error_ms, "{off} ms off, and said to be at most {error_ms}");
                furthest = furthest.max(off);
            }
        }
        println!("the time of day is at most {furthest} ms off");
        Ok(())
    }

    /// Ends everything and judges what does not depend on the clock.
    fn close(self, agent: Process) -> anyhow::Result<()> {
        agent.stop(STOPS_WITHIN)?;
        let verdict = wait_complete(PATIENCE, || judge(&self.gateway.accepted_log(), &self.site.database()))?;
        println!("{verdict:?}");
        assert!(verdict.is_exact() && verdict.unlogged == 0, "{verdict:?}");
        self.check_coverage()?;
        self.central.stop(STOPS_WITHIN)
    }

    /// What a reader was doing is told without a hole and without an overlap, whatever the clock did.
    fn check_coverage(&self) -> anyhow::Result<()> {
        let database = Connection::open(self.site.database())?;
        let mut rows = database
            .prepare("SELECT boot, reader, since, uptime FROM event WHERE kind = 'coverage' ORDER BY seq")?;
        let mut rows = rows.query([])?;
        let mut told: BTreeMap<(String, String), i64> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let (since, until): (i64, i64) = (row.get(2)?, row.get(3)?);
            let before = told.insert((row.get(0)?, row.get(1)?), until);
            assert!(since < until, "from {since} to {until}");
            assert!(before.is_none_or(|before| before == since), "{before:?}, then from {since}");
        }
        Ok(())
    }
}

#[test]
fn a_clock_that_starts_in_1970_is_set_later() -> anyhow::Result<()> {
    let Some(shop) = Shop::open_unless_skipped()? else { return Ok(()) };
    shop.machine.set_clock_to_1970()?;
    let mut agent = shop.start()?;
    shop.go_on(&mut agent)?;
    assert!(shop.rows()?.iter().all(|row| row.wall_ms.is_none()), "nobody knows when that was");
    shop.machine.keep_time()?;
    shop.go_on(&mut agent)?;
    shop.check_exact(&mut agent, &Machine::boot(1))?;
    shop.close(agent)
}

#[test]
fn a_clock_that_steps_by_an_hour_moves_no_event() -> anyhow::Result<()> {
    let Some(shop) = Shop::open_unless_skipped()? else { return Ok(()) };
    shop.machine.set_clock(-HOUR_MS)?;
    let mut agent = shop.start()?;
    shop.go_on(&mut agent)?;
    shop.check_honest()?;
    shop.machine.keep_time()?;
    shop.go_on(&mut agent)?;
    shop.check_exact(&mut agent, &Machine::boot(1))?;
    // Somebody sets it by hand, wrongly, and the time service is gone.
    shop.machine.set_synchronised(false)?;
    shop.machine.set_clock(-HOUR_MS)?;
    shop.go_on(&mut agent)?;
    shop.machine.set_clock(HOUR_MS)?;
    shop.go_on(&mut agent)?;
    shop.check_exact(&mut agent, &Machine::boot(1))?;
    shop.close(agent)
}

#[test]
fn a_boot_that_never_saw_a_clock_is_not_dated_by_the_next_one() -> anyhow::Result<()> {
    let Some(shop) = Shop::open_unless_skipped()? else { return Ok(()) };
    shop.machine.set_clock_to_1970()?;
    let mut agent = shop.start()?;
    shop.go_on(&mut agent)?;
    agent.stop(STOPS_WITHIN)?;
    shop.machine.begin_boot(2)?;
    shop.machine.keep_time()?;
    let mut agent = shop.start()?;
    shop.go_on(&mut agent)?;
    shop.check_exact(&mut agent, &Machine::boot(2))?;
    let dated = |row: &&Row| row.boot == Machine::boot(1) && row.wall_ms.is_some();
    assert_eq!(shop.rows()?.iter().filter(dated).count(), 0, "events of the first boot are dated");
    shop.close(agent)
}
