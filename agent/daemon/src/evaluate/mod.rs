//! `evaluate`: how often the agent's own rules are right on recordings of real tags whose labels are
//! known. Enters: a folder. Leaves: for each task the recordings allow, how often the agent's rule and a
//! plain one were right, on the files that numbers were chosen on and on all others, apart.
//!
//! | file | recordings | asks |
//! |---|---|---|
//! | [`moved`] | a tag that lies or is carried; hands over still tags | does it move? |
//! | [`present`] | a box of labels in a stocked shop | is it here, or is it a stray? |
//! | [`worn`] | a tag with an accelerometer on a walking person | does its wearer walk? |
//! | [`package`] | an accelerometer on a package, on a door | is it moved? |
//!
//! Recordings are told by what is in them ([`files`]); a folder may hold several kinds. Nothing is fitted
//! here but the plain rules: the agent's are those of `hangtag_agent_core::infer`, with their constants.

mod files;
mod moved;
mod package;
mod present;
mod score;
mod table;
mod worn;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use files::{Layout, Recording};
use score::Task;

/// Why a folder cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvaluateError {
    /// A file or folder cannot be read.
    #[error("{path}: {why}", path = .path.display())]
    Read { path: PathBuf, why: io::Error },
    /// A row is not what its layout says.
    #[error("{path}: line {line}: {why}", path = .path.display())]
    Line { path: PathBuf, line: u64, why: String },
    /// A recording lacks what its labels are told by.
    #[error("{path}: {why}", path = .path.display())]
    Label { path: PathBuf, why: String },
    /// There is nothing to evaluate.
    #[error("{folder}: no recording of a known layout is in it", folder = .0.display())]
    Nothing(PathBuf),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Write(io::Error),
}

/// Evaluates the recordings in a folder and writes what came of it: tables, or one JSON object per task,
/// rule and split.
///
/// # Errors
/// When a recording is not what it looks like, naming file and line; when there is none.
pub(crate) fn run(folder: &Path, json: bool, out: &mut impl Write) -> Result<(), EvaluateError> {
    let found = files::find(folder)?;
    let of = |layout| -> Vec<&Recording> { found.recordings.iter().filter(|r| r.layout == layout).collect() };
    let mut tasks = Vec::new();
    tasks.extend(moved::carried(&of(Layout::Carried))?);
    tasks.extend(moved::hand(&of(Layout::Hand))?);
    tasks.extend(present::evaluate(&of(Layout::Box))?);
    tasks.extend(worn::evaluate(&of(Layout::Worn))?);
    tasks.extend(package::evaluate(&of(Layout::Acceleration))?);
    if tasks.is_empty() {
        return Err(EvaluateError::Nothing(folder.to_owned()));
    }
    write(&tasks, &found.unknown, json, out).map_err(EvaluateError::Write)
}

fn write(tasks: &[Task], unknown: &[PathBuf], json: bool, out: &mut impl Write) -> io::Result<()> {
    for task in tasks {
        if json {
            for line in task.json() {
                writeln!(out, "{}", line?)?;
            }
        } else {
            writeln!(out, "{task}")?;
        }
    }
    if !json {
        writeln!(out, "tuning: numbers were chosen on these files. reporting: on none of these.")?;
        for path in unknown {
            writeln!(out, "left out, of unknown layout: {}", path.display())?;
        }
    }
    Ok(())
}
