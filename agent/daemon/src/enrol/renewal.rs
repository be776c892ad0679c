//! Gets the next certificate before this one is over, while the agent runs. Enters: the files, the wall clock. Leaves: other
//! files in their place, which count from the next connection on; how long the certificate is good, for the status.

use std::time::Duration;

use hangtag_agent_core::backoff::Backoff;
use hangtag_protocol::enrol::RENEW;
use hangtag_protocol::status::CertificateHealth;
use hangtag_protocol::topic::Gateway;
use hangtag_tls::{Certificate, Files};
use rcgen::KeyPair;
use tokio::time::sleep;
use tracing::{info, warn};

use super::door::{self, DoorError, Place};
use super::identity::{self, IdentityFault};
use crate::clock;
use crate::health::Health;
use crate::spool::recovery::random;

/// How often the clock and the file are looked at: either may be changed by others.
const LOOK: Duration = Duration::from_secs(60);
/// The first and the longest pause after a failure, as parts of the certificate's life, and within what.
const PAUSE_PARTS: (i64, i64) = (1_000, 50);
const PAUSE_MS: (i64, i64, i64) = (1_000, 60_000, 3_600_000);
const DAY_S: i64 = 86_400;

/// What is renewed.
pub(crate) struct Renewal {
    pub(crate) gateway: Gateway,
    /// The files; nothing is renewed that is not there.
    pub(crate) files: Option<Files>,
    /// Where; without it the files are only looked at.
    pub(crate) door: Option<Place>,
    pub(crate) health: Health,
}

/// Why there is no next certificate.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error("{0}")]
    Door(#[from] DoorError),
    #[error("{0}")]
    Files(#[from] IdentityFault),
}

/// Renews for ever.
pub(crate) async fn run(renewal: Renewal) {
    let Renewal { gateway, files, door, health } = renewal;
    let Some((files, identity)) = files.and_then(|files| Some((files.clone(), files.identity?))) else {
        return std::future::pending().await;
    };
    // Gateways that were enrolled on the same day must not all come at once.
    let spread = random().unwrap_or(0);
    let mut tried: Option<(String, Backoff)> = None;
    let mut fault = None;
    loop {
        let now = clock::wall().0 / 1_000;
        let mut pause = LOOK;
        match Certificate::read(&identity.certificate) {
            Ok(certificate) => {
                health.certified(Some(CertificateHealth {
                    days_left: certificate.left(now).div_euclid(DAY_S),
                    fault: fault.clone(),
                }));
                let due = due(&certificate, spread);
                match &door {
                    Some(door) if now >= due => match renew(&gateway, &files, door).await {
                        Ok(next) => {
                            info!(
                                serial = next.serial,
                                days = next.left(now) / DAY_S,
                                "renewed the certificate"
                            );
                            (tried, fault) = (None, None);
                            // What is there now is looked at at once.
                            pause = Duration::ZERO;
                        }
                        Err(why) => {
                            let why = why.to_string();
                            let backoff = match tried.take() {
                                Some((serial, backoff)) if serial == certificate.serial => backoff,
                                _ => backoff(&certificate),
                            };
                            let (_, backoff) = tried.insert((certificate.serial.clone(), backoff));
                            pause = Duration::from_millis(backoff.next_ms(random().unwrap_or(0)));
                            let days_left = certificate.left(now).div_euclid(DAY_S);
                            warn!(why, days_left, next_in = ?pause, "the certificate is not renewed");
                            fault = Some(why);
                        }
                    },
                    Some(_) => pause = LOOK.min(Duration::from_secs((due - now).unsigned_abs())),
                    None => {}
                }
            }
            Err(why) => {
                // The uplink says so too, when it connects.
                health.certified(Some(CertificateHealth { days_left: 0, fault: Some(why.to_string()) }));
            }
        }
        sleep(pause).await;
    }
}

/// When two thirds of a certificate's life are over, and up to a thirtieth later: seconds since 1970.
fn due(certificate: &Certificate, spread: u64) -> i64 {
    let life = certificate.until - certificate.from;
    let late = (u128::from(spread) * u128::from(life.unsigned_abs() / 30)) >> u64::BITS;
    let late = i64::try_from(late).unwrap_or(0);
    certificate.from + life / 3 * 2 + late
}

fn backoff(certificate: &Certificate) -> Backoff {
    let life_ms = (certificate.until - certificate.from).saturating_mul(1_000);
    let (least, middle, most) = PAUSE_MS;
    let first = (life_ms / PAUSE_PARTS.0).clamp(least, middle);
    let limit = (life_ms / PAUSE_PARTS.1).clamp(least, most);
    Backoff::new(first.unsigned_abs(), limit.unsigned_abs())
}

async fn renew(gateway: &Gateway, files: &Files, door: &Place) -> Result<Certificate, RenewalError> {
    let key = KeyPair::generate().map_err(IdentityFault::Make)?;
    let application = identity::application(gateway, &key, None)?;
    let granted = door::ask(door, files, RENEW, &application).await?;
    Ok(identity::renew(files, gateway, &key, &granted)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(from: i64, until: i64) -> Certificate {
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let mut certificate = Certificate::parse(own.der()).unwrap();
        (certificate.from, certificate.until) = (from, until);
        certificate
    }

    #[test]
    fn gateways_come_between_two_thirds_and_a_thirtieth_more_of_the_life_each_at_its_own_time() {
        let year = certificate(1_000, 1_000 + 360 * DAY_S);
        assert_eq!(due(&year, 0), 1_000 + 240 * DAY_S);
        assert_eq!(due(&year, u64::MAX / 2) / DAY_S, 246);
        assert_eq!(due(&year, u64::MAX) / DAY_S, 252);
        let minute = certificate(0, 60);
        assert_eq!((due(&minute, 0), due(&minute, u64::MAX)), (40, 41));
    }

    #[test]
    fn pauses_fit_the_life() {
        let (mut long, mut short) = (backoff(&certificate(0, 365 * DAY_S)), backoff(&certificate(0, 60)));
        assert_eq!((long.next_full_ms(), short.next_full_ms()), (60_000, 1_000));
        for _ in 0..12 {
            long.next_full_ms();
            short.next_full_ms();
        }
        assert_eq!((long.next_full_ms(), short.next_full_ms()), (3_600_000, 1_200));
    }
}
