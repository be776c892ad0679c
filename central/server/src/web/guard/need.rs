//! What each path asks of who comes. Enters: a path as the router has it. Leaves: what one must be allowed to. A path that
//! is not named here is the administrators': whoever adds one cannot leave it open by forgetting it.

use super::super::tables;
use crate::access::Scope;

/// What one must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Anybody.
    Nothing,
    /// Somebody who is known, whatever they may.
    Known,
    /// Somebody who may that.
    May(Scope),
    /// An administrator.
    Administrator,
}

/// Where somebody signs in, and out.
pub(super) const SIGN_IN: &str = "/sign-in";
pub(super) const SIGN_OUT: &str = "/sign-out";
/// Where monitors ask; strangers learn only whether central is well.
pub(super) const HEALTH: &str = "/health";

/// What a path asks for.
pub(super) fn of(path: &str) -> Need {
    match path {
        SIGN_IN | SIGN_OUT | HEALTH => Need::Nothing,
        "/" | "/live" | "/api/v1/measures/{table}" => Need::May(Scope::Measures),
        path if is_table(path) => Need::May(Scope::Measures),
        "/api/v1/events" => Need::May(Scope::Events),
        "/api/v1/pos/{store}/{about}" => Need::May(Scope::Pos),
        // They say what can be asked, and nothing of any shop.
        "/api/v1/openapi.json" | "/api/v1/schema/{name}/{version}" => Need::Known,
        _ => Need::Administrator,
    }
}

/// Whether a path is that of a table's file.
fn is_table(path: &str) -> bool {
    let name = path.strip_prefix('/').and_then(|path| path.strip_suffix(".csv"));
    name.is_some_and(|name| tables::NAMES.contains(&name))
}

/// Whether programs ask there, who want a problem (RFC 9457) and no page.
pub(super) fn is_for_programs(path: &str) -> bool {
    path.starts_with("/api/") || path == HEALTH || path == "/live"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_named_is_the_administrators() {
        assert_eq!(of("/"), Need::May(Scope::Measures));
        assert_eq!(of("/hours.csv"), Need::May(Scope::Measures));
        assert_eq!(of("/api/v1/anything"), Need::Administrator);
        assert_eq!(of("/sign-in/"), Need::Administrator);
        assert_eq!(of("/people.csv"), Need::Administrator);
    }
}
