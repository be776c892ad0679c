//! Manual pages and shell completions, made of the command line. Enters: a command, a folder. Leaves: in that folder
//! `man/` with a page for the command and each of its subcommands, and `completions/` for bash, zsh and fish.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

/// Writes the pages and completions of a program.
///
/// # Errors
/// When a file cannot be written.
pub fn pages(program: Command, folder: &Path) -> io::Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let name = program.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        // It adds to what it is given.
        clap_complete::generate_to(shell, &mut program.clone(), &name, &completions)?;
    }
    // A page about help says nothing. No page bears a date: the same program makes the same bytes.
    clap_mangen::generate_to(program.disable_help_subcommand(true), &man)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page_and_completions() {
        let folder = tempfile::tempdir().unwrap();
        let program = Command::new("shop")
            .version("1.2.3")
            .about("Sells clothes")
            .subcommand(Command::new("open").about("Opens the door").arg(Arg::new("door").long("door")))
            .subcommand(Command::new("secret").hide(true))
            .subcommand(Command::new("till").subcommand(Command::new("count").about("Counts money")));
        pages(program, folder.path()).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path().join("man"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["shop-open.1", "shop-till-count.1", "shop-till.1", "shop.1"]);
        assert!(read("man/shop-open.1").contains("Opens the door"));
        assert!(read("man/shop-till-count.1").contains("Counts money"));
        for file in ["shop.bash", "_shop", "shop.fish"] {
            assert!(read(&format!("completions/{file}")).contains("door"), "{file}");
        }
    }
}
