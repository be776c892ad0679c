//! Tells a fuzzer where to begin. Enters: nothing, or a target and a folder. Leaves: the names of all targets, or
//! the target's seeds as files.

use std::io::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use hangtag_fuzz::TARGETS;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [] => {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            Ok(())
        }
        [name, folder] => write(name, Path::new(folder)),
        _ => Err("hangtag-fuzz [TARGET FOLDER]".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn write(name: &str, folder: &Path) -> Result<(), String> {
    let target = hangtag_fuzz::target(name).ok_or_else(|| format!("there is no target {name:?}"))?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        let path = folder.join(format!("seed-{number:03}"));
        fs::write(&path, seed).map_err(|why: Error| format!("cannot write {}: {why}", path.display()))?;
    }
    Ok(())
}
