//! `hangtag-agent evaluate` at its door: the shipped recordings are judged as well as is claimed, and what
//! is wrong with a recording is named. Recordings that may not be shipped are judged where
//! `HANGTAG_RECORDINGS` names a folder that has them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn evaluate(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hangtag-agent"));
    command.arg("evaluate").arg(folder).args(more).output().unwrap()
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings")
}

fn lines(folder: &Path) -> Vec<Value> {
    let output = evaluate(folder, &["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Hits, false alarms and misses of the agent's own rule, which comes first, and of the plain one, on the
/// files for reporting.
fn counts(lines: &[Value], task: &str) -> [[u64; 3]; 2] {
    let of_task = lines.iter().filter(|line| line["task"] == task && line["files"] == "reporting");
    let counts: Vec<[u64; 3]> = of_task
        .map(|line| ["hits", "false_alarms", "misses"].map(|count| line[count].as_u64().unwrap()))
        .collect();
    counts.try_into().unwrap_or_else(|found| panic!("{task}: {found:?}"))
}

fn f1([hits, false_alarms, misses]: [u64; 3]) -> f64 {
    2.0 * hits as f64 / (2 * hits + false_alarms + misses) as f64
}

#[test]
fn shipped_recordings_are_judged_as_well_as_is_claimed() {
    let lines = lines(&shipped());
    let [package, _] = counts(&lines, "package moved");
    assert_eq!(package, [97, 0, 0]);
    let [worn, plain] = counts(&lines, "worn and walking");
    assert!(worn[0] + worn[2] == 45 && f1(worn) > 0.53, "{worn:?}");
    assert!(f1(worn) > f1(plain), "{worn:?} {plain:?}");
    let tuning: Vec<&Value> = lines.iter().filter(|line| line["files"] == "tuning").collect();
    assert_eq!(tuning.len(), 4, "motion.csv and d1p49F, both rules");
    assert!(tuning.iter().all(|line| line["groups"].as_array().unwrap().len() == 1));
}

#[test]
fn the_table_says_which_files_numbers_were_chosen_on() {
    let output = evaluate(&shipped(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for said in ["package moved\n", "Numbers were chosen on", " reporting ", "none of these.\n"] {
        assert!(text.contains(said), "{said:?} in {text}");
    }
}

#[test]
fn a_broken_recording_is_named_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let output = evaluate(folder.path(), &[]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let of = |name: &str| format!("hangtag-agent: {}: ", folder.path().join(name).display());
    assert_eq!(
        refused("d1p02M", "0,1,0,0.5,4,-57.5,5.5,920.25,3\n1,1,0,0.5,4,-157.5,5.5,920.25,3\n"),
        of("d1p02M") + "line 2: RSSI -157.5 is outside -90 to -20\n"
    );
    assert_eq!(
        refused("d1p02M", "5,1,0,0.5,4,-57.5,5.5,920.25,3\n1,1,0,0.5,4,-57.5,5.5,920.25,3\n"),
        of("d1p02M") + "line 2: 1000 ms is earlier than the line before\n"
    );
    assert_eq!(
        refused("motion.csv", "acc_x[mg],acc_y[mg],acc_z[mg]\n1,2,3\n1,up,3\n"),
        of("motion.csv") + "line 3: acc_y[mg] \"up\" is not a number\n"
    );
    assert!(refused("capture.csv", "beam_id,epc,frequency,phase,rssi,time\n").contains("samples_labels"));
    assert!(refused("note.csv", "a,b\n").contains("no recording of a known layout"));
}

#[test]
fn recordings_that_are_not_shipped_are_judged_as_well_as_is_claimed() {
    let Some(folder) = std::env::var_os("HANGTAG_RECORDINGS") else {
        println!("skipped: HANGTAG_RECORDINGS names no folder with recordings that may not be shipped");
        return;
    };
    let lines = lines(Path::new(&folder));
    for (task, least) in [
        ("moved or still", 0.96),
        ("here or a stray, whole captures", 0.97),
        ("here or a stray, their first 3 s", 0.93),
        ("worn and walking", 0.7),
        ("package moved", 0.98),
    ] {
        let [own, plain] = counts(&lines, task);
        assert!(f1(own) >= least && f1(own) >= f1(plain), "{task}: {own:?} {plain:?}");
    }
    let [fires, plain] = counts(&lines, "a hand over still tags");
    assert!(fires[1] == 0 && plain[1] > 0, "{fires:?} {plain:?}");
}
