//! The schedule in the configuration. Enters: its table. Leaves: when readers read, or what is wrong with it.

use hangtag_agent_core::intake::{Schedule, Window};

use super::allowed::{time_zone, windows};
use super::sheet::Table;
use crate::hours::Hours;

/// When the readers read.
pub(super) fn hours(table: &mut Table<'_, '_>) -> Option<Option<Hours>> {
    let zone = table.need("time_zone", &time_zone());
    let windows: Option<Vec<String>> = table.need("read", &windows());
    let parsed = windows.as_ref().map(|windows| {
        let parsed = windows.iter().map(|text| (text, text.parse::<Window>()));
        parsed.map(|(text, window)| window.map_err(|why| format!("\"{text}\": {why}"))).collect()
    });
    let schedule = match parsed {
        Some(Ok(windows)) => Some(Schedule::new(windows)),
        Some(Err(why)) => {
            let why: String = why;
            table.wrong("read", why);
            None
        }
        None => None,
    };
    table.end();
    let ((zone, name), schedule) = (zone?, schedule?);
    let text = format!("{} in {name}", windows?.join(", "));
    Some(Some(Hours { schedule, zone, text }))
}
