//! Which files of a folder are recordings, and of which layout. Enters: a folder. Leaves: its recordings in
//! the order of their paths, and the names of tables whose layout nobody knows. Files are told by their
//! first line and their place, never by their licence's or author's names.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::EvaluateError;

/// How a recording is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layout {
    /// Captures of a shop with a box of labels in it: `SET/samples_labels/`, `SET/samples_PLACE/`.
    Box,
    /// Reads of one tag at four antennas, still or carried.
    Carried,
    /// Reads of still tags that hands pass over.
    Hand,
    /// Reads of a tag with an accelerometer that somebody wears.
    Worn,
    /// Accelerations of a package or a door.
    Acceleration,
}

/// One recording.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    pub(super) path: PathBuf,
    pub(super) layout: Layout,
}

impl Recording {
    /// The names on its way, the file's last.
    pub(super) fn names(&self) -> Vec<&str> {
        self.path.iter().filter_map(|name| name.to_str()).collect()
    }

    /// The name of the file, or of the folder so many levels above it; empty if there is none.
    pub(super) fn name(&self, above: usize) -> &str {
        self.names().iter().rev().nth(above).copied().unwrap_or_default()
    }
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) recordings: Vec<Recording>,
    /// Tables of an unknown layout, or without rows.
    pub(super) unknown: Vec<PathBuf>,
}

/// The longest first line that is looked at, in bytes.
const LONGEST: u64 = 4_096;

/// Looks through a folder and the folders in it.
///
/// # Errors
/// When one cannot be read.
pub(super) fn find(folder: &Path) -> Result<Found, EvaluateError> {
    let mut found = Found::default();
    look(folder, &mut found)?;
    Ok(found)
}

fn look(folder: &Path, found: &mut Found) -> Result<(), EvaluateError> {
    let failed = |why| EvaluateError::Read { path: folder.to_owned(), why };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            look(&path, found)?;
        } else if path.is_file() {
            match layout(&path)? {
                Some(layout) => found.recordings.push(Recording { path, layout }),
                None if is_table(&path) => found.unknown.push(path),
                None => (),
            }
        }
    }
    Ok(())
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "csv" || extension == "tsv")
}

fn layout(path: &Path) -> Result<Option<Layout>, EvaluateError> {
    let failed = |why| EvaluateError::Read { path: path.to_owned(), why };
    let mut line = Vec::new();
    let file = BufReader::new(File::open(path).map_err(failed)?);
    file.take(LONGEST).read_until(b'\n', &mut line).map_err(failed)?;
    let Ok(line) = str::from_utf8(&line) else { return Ok(None) };
    let names: Vec<&str> = line.trim().split(',').map(str::trim).collect();
    let has = |wanted: &[&str]| wanted.iter().all(|name| names.contains(name));
    let stem = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(if has(&["beam_id", "epc", "frequency", "phase", "rssi", "time"]) {
        Some(Layout::Box)
    } else if has(&["timestamp", "antenna", "rssi", "epc", "phase_angle", "channel_index"]) {
        Some(Layout::Carried)
    } else if has(&["epc", "atendanum", "phase", "RSS", "timestamp"]) {
        Some(Layout::Hand)
    } else if names.first().is_some_and(|name| name.starts_with("acc_x[") || name.starts_with("accX[")) {
        Some(Layout::Acceleration)
    } else if names.len() == 9 && is_trial(stem) && names.iter().all(|n| n.parse::<f64>().is_ok()) {
        Some(Layout::Worn)
    } else {
        None
    })
}

/// Whether a file is named as a trial of the data set UCI 427: `d1p02M`.
fn is_trial(name: &str) -> bool {
    let Some((room, person)) = name.strip_prefix('d').and_then(|rest| rest.split_once('p')) else {
        return false;
    };
    let digits = person.trim_end_matches(['M', 'F']);
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits(room) && all_digits(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_told_by_their_first_line_and_unknown_tables_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("a/box.csv", "epc,rssi,phase,beam_id,frequency,time\n", Some(Layout::Box)),
            (
                "b/c.csv",
                "timestamp,antenna,rssi,epc,phase_angle,channel_index,doppler_frequency\n",
                Some(Layout::Carried),
            ),
            ("b/hand.txt", "epc,atenda,atendanum,phase,RSS,timestamp,timestamp2,\n", Some(Layout::Hand)),
            ("d1p02M", "0,1.1,0.04,0.5,4,-57.5,5.5,920.25,3\n", Some(Layout::Worn)),
            ("door.csv", "gyro_x[dps],gyro_y[dps],gyro_z[dps]\n", None),
            ("mems.csv", "accX[g],accY[g],accZ[g]\n", Some(Layout::Acceleration)),
            ("note.md", "timestamp\n", None),
        ];
        for (name, text, _) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = find(dir.path()).unwrap();
        let layouts: Vec<Layout> = found.recordings.iter().map(|r| r.layout).collect();
        let expected: Vec<Layout> = files.iter().filter_map(|(_, _, layout)| *layout).collect();
        assert_eq!(layouts, expected);
        assert_eq!(found.unknown, [dir.path().join("door.csv")]);
        assert_eq!(found.recordings[0].name(1), "a");
        assert!(matches!(find(&dir.path().join("none")), Err(EvaluateError::Read { .. })));
    }
}
