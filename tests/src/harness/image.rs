//! File systems in files: ext4 on a loop device, as on a gateway's SD card. Enters: a size, a folder to
//! mount it at. Leaves: a mounted file system that can be full, read-only, or cut off from its power. Needs
//! root.
//!
//! A power cut is a copy of the image taken from under the mounted file system: it holds what the device
//! had been given by then, and nothing of what the kernel still had in memory. A cache within the device
//! that loses what it had confirmed is not modelled.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::gateway::succeeded;
use super::process::wait_for;

/// Where images and what else is written often may lie: in memory, if there is room, or in the folder for
/// temporary files.
#[must_use]
pub fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    if room >= 2 << 30 { memory.into() } else { std::env::temp_dir() }
}

/// Why file systems in files cannot be mounted here; `None` when they can.
#[must_use]
pub fn refusal() -> Option<String> {
    let attempt = || -> anyhow::Result<()> {
        let folder = tempfile::tempdir_in(scratch())?;
        let image = Image::create(&folder.path().join("attempt.img"), 8)?;
        image.mount(&folder.path().join("attempt"))?.unmount()
    };
    attempt().err().map(|why| format!("no file system can be mounted over a loop device: {why:#}"))
}

/// A file that holds an ext4 file system.
#[derive(Clone, Debug)]
pub struct Image {
    file: PathBuf,
}

impl Image {
    /// Makes an empty file system of so many MiB, which takes room only as it is filled.
    ///
    /// # Errors
    /// When the file cannot be made, or `mkfs.ext4` fails.
    pub fn create(file: &Path, mib: u64) -> anyhow::Result<Self> {
        fresh(file).and_then(|made| made.set_len(mib << 20)).context("making an image")?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(file))?;
        Ok(Self { file: file.to_owned() })
    }

    /// Copies it as it is at this moment, mounted or not.
    ///
    /// # Errors
    /// When reading or writing fails.
    pub fn copy(&self, file: &Path) -> anyhow::Result<Self> {
        copy_sparse(&self.file, file).with_context(|| format!("copying {}", self.file.display()))?;
        Ok(Self { file: file.to_owned() })
    }

    /// Mounts it at a folder, which is made when it is missing.
    ///
    /// # Errors
    /// When `mount` fails: not root, no loop devices.
    pub fn mount(&self, at: &Path) -> anyhow::Result<Mount> {
        std::fs::create_dir_all(at)?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.file).arg(at))?;
        Ok(Mount { at: at.to_owned() })
    }
}

/// A mounted file system. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Makes it fail, as an error of the card does: from here on it is read-only, for files that are open
    /// too, and until it is unmounted.
    ///
    /// # Errors
    /// When `mount` fails.
    pub fn abort(&self) -> anyhow::Result<()> {
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.at))
    }

    /// Takes all room that is left, and what an agent then gives up: its ballast, of this path. Returns the file
    /// that takes it.
    ///
    /// # Errors
    /// When the file cannot be made, or the ballast is not given up in time.
    pub fn fill_up(&self, ballast: &Path, within: Duration) -> anyhow::Result<PathBuf> {
        self.fill()?;
        wait_for("the agent to give its ballast up", within, || Ok((!ballast.exists()).then_some(())))?;
        Ok(self.fill()?)
    }

    /// Takes all room that is left, with a file that it returns; it grows when there is more room later.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn fill(&self) -> io::Result<PathBuf> {
        let path = self.at.join("filler");
        let mut file = File::options().create(true).append(true).open(&path)?;
        let mut size = 1 << 20;
        while size > 0 {
            // What cannot be written as a large piece may still be written as a small one.
            if file.write_all(&vec![0x55; size]).is_err() {
                size /= 2;
            }
        }
        Ok(path)
    }

    /// Unmounts it: what was not written yet is written before.
    ///
    /// # Errors
    /// When somebody still uses it.
    pub fn unmount(self) -> anyhow::Result<()> {
        let done = run(Command::new("umount").arg(&self.at));
        if done.is_ok() {
            std::mem::forget(self);
        }
        done
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A failed test may have left a program in it: it goes when that program does.
        if let Err(why) = run(Command::new("umount").arg("-l").arg(&self.at)) {
            eprintln!("{}: {why:#}", self.at.display());
        }
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().display().to_string();
    // Debian has some of these in /usr/sbin, which is not on every PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    succeeded(output).map(drop).with_context(|| name)
}

/// A new file, even where one is: a loop device may still be letting go of the old one.
fn fresh(path: &Path) -> std::io::Result<File> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why),
        _ => File::create(path),
    }
}

/// Copies data and leaves holes.
fn copy_sparse(from: &Path, to: &Path) -> anyhow::Result<()> {
    let (source, target) = (File::open(from)?, fresh(to)?);
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(source.as_fd(), SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(why) => return Err(why.into()),
        };
        let end = rustix::fs::seek(source.as_fd(), SeekFrom::Hole(data))?;
        let (mut from, mut to) = (data, data);
        while from < end {
            let count = usize::try_from(end - from)?;
            let copied =
                rustix::fs::copy_file_range(&source, Some(&mut from), &target, Some(&mut to), count)?;
            anyhow::ensure!(copied > 0, "the image shrank");
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, SeekFrom};

    #[test]
    fn a_copy_has_the_same_data_and_the_same_holes() {
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let mut file = File::create(&from).unwrap();
        for at in [0, 5_000_000, 9_999_990] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(b"here I am").unwrap();
        }
        file.set_len(20_000_000).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
    }
}
