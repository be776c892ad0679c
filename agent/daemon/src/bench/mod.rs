//! Measures of the agent, taken by the agent: `hangtag-agent bench`. Enters: a folder on the disk to
//! measure, invented events. Leaves: lines `name value unit`, each beside the floor that it is held
//! against.

mod day;
mod dice;
pub(crate) mod fill;
mod keeper;
mod stock;

use crate::config::Config;
use fill::Fill;

/// Fills the spool of a configuration with invented events.
///
/// # Errors
/// When the spool does not open.
pub(crate) async fn fill(config: &Config, fill: Fill) -> anyhow::Result<()> {
    fill::run(config, fill).await
}
