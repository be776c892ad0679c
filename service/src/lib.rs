//! What a program owes to the system that it is installed on. Enters: signs of life of its stages, its command line.
//! Leaves: what systemd is told, and manual pages and completions for a package. Without systemd nothing is told.

mod life;
mod pages;

pub use life::{Heart, Life};
pub use pages::pages;
