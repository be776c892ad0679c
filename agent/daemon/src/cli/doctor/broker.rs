//! Whether the broker can be reached, believes this gateway and lets it do its work. Enters: the configuration. Leaves:
//! findings, one per step: name, way, certificates, session, subscription, a trial message. It comes under a name of its
//! own, so that a running agent keeps its session.

use std::time::Duration;

use hangtag_tls::{Certificate, Files, TlsError, Tunnel};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::Chart;
use crate::clock;
use crate::config::{Config, Mqtt};
use crate::uplink::trial::{self, Step};

/// How long a name server, and then the broker, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A certificate that ends so soon, in days, should have been renewed.
const SOON_DAYS: i64 = 7;

pub(super) async fn look(config: &Config, chart: &mut Chart) {
    let mqtt = &config.mqtt;
    if !name(mqtt, chart).await {
        return;
    }
    if let Some(files) = &mqtt.tls {
        dates(files, chart);
    }
    let tunnel = match &mqtt.tls {
        Some(files) => match Tunnel::open(&mqtt.host, mqtt.port, files).await {
            Ok(tunnel) => {
                chart.ok("tls", format!("{} shows a certificate that is believed", place(mqtt)));
                Some(tunnel)
            }
            Err(why) => return chart.fault(check_of(&why), why.to_string(), advice(&why, mqtt)),
        },
        None => {
            if !way(mqtt, chart).await {
                return;
            }
            if !is_here(&mqtt.host) {
                let what =
                    format!("everybody on the way to {} can read and change what goes there", mqtt.host);
                chart.warning("tls", what, "have the broker speak TLS, and write [mqtt.tls]");
            }
            None
        }
    };
    let tried = trial::run(config.gateway, mqtt, tunnel.as_ref().map(Tunnel::socket)).await;
    match tried {
        Ok(()) => {
            chart.ok("broker", format!("{} takes this gateway's messages and subscription", place(mqtt)));
        }
        Err((step, mut why)) => {
            // The broker says what it thinks of a certificate after the handshake, and then hangs up.
            if let Some(tunnel) = tunnel
                && let Some(fault) = tunnel.why().await
            {
                if !matches!(fault, TlsError::Ended(_)) {
                    return chart.fault(check_of(&fault), fault.to_string(), advice(&fault, mqtt));
                }
                why = fault.to_string();
            }
            refused(step, &why, mqtt, chart);
        }
    }
}

/// How long this gateway's own certificate is good. What is wrong with the file itself is told when it is used.
fn dates(files: &Files, chart: &mut Chart) {
    let Some(identity) = &files.identity else { return };
    let Ok(certificate) = Certificate::read(&identity.certificate) else { return };
    let days = (certificate.until - clock::wall().0 / 1_000) / 86_400;
    let (check, what) = ("certificate", format!("{} is good for {days} days", certificate.name));
    if days < SOON_DAYS {
        let mend = "the agent renews it by itself from central's enrolment door: journalctl -u hangtag-agent says why not; \
                    else enrol this gateway anew";
        chart.warning(check, what, mend);
    } else {
        chart.ok(check, what);
    }
}

/// Whether the name has an address.
async fn name(mqtt: &Mqtt, chart: &mut Chart) -> bool {
    let found = timeout(PATIENCE, lookup_host((mqtt.host.as_str(), mqtt.port))).await;
    let why = match found {
        Ok(Ok(addresses)) => {
            let mut all: Vec<String> = addresses.map(|address| address.ip().to_string()).collect();
            all.dedup();
            if !all.is_empty() {
                chart.ok("dns", format!("{} is {}", mqtt.host, all.join(", ")));
                return true;
            }
            "it has no address".to_owned()
        }
        Ok(Err(why)) => why.to_string(),
        Err(_) => format!("no name server answers within {} s", PATIENCE.as_secs()),
    };
    chart.fault(
        "dns",
        format!("{}: {why}", mqtt.host),
        "see mqtt.host for a slip, `resolvectl status` or /etc/resolv.conf for the name server, and `ip route` for a \
         way to it",
    );
    false
}

/// Whether somebody listens there.
async fn way(mqtt: &Mqtt, chart: &mut Chart) -> bool {
    let reached = timeout(PATIENCE, TcpStream::connect((mqtt.host.as_str(), mqtt.port))).await;
    let why = match reached {
        Ok(Ok(_)) => {
            chart.ok("network", format!("{} answers", place(mqtt)));
            return true;
        }
        Ok(Err(why)) => why.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    chart.fault("network", format!("cannot reach {}: {why}", place(mqtt)), unreachable(mqtt));
    false
}

fn refused(step: Step, why: &str, mqtt: &Mqtt, chart: &mut Chart) {
    let place = place(mqtt);
    let (check, what, mend) = match step {
        Step::Login => (
            "broker",
            format!("cannot make up who to log in as: {why}"),
            "mend mqtt.password_file; the service's user hangtag-agent must be able to read it",
        ),
        Step::Connect => (
            "broker",
            format!("{place} takes no session: {why}"),
            "see the broker's log; it must speak MQTT 5 and know this user or certificate",
        ),
        Step::Subscribe => (
            "acl",
            format!("{place} refuses the subscription to this gateway's watermark: {why}"),
            "let this gateway read its own .../ack in the broker's ACL: without it nothing is ever settled",
        ),
        Step::Publish => (
            "acl",
            format!("{place} refuses a message of this gateway: {why}"),
            "let this gateway write its own .../events, .../status and .../reply in the broker's ACL; its tenant, store \
             and gateway must be those that the broker knows it by",
        ),
    };
    chart.fault(check, what, mend);
}

fn check_of(why: &TlsError) -> &'static str {
    match why {
        TlsError::Unreachable(..) | TlsError::Silent(..) => "network",
        _ => "tls",
    }
}

fn advice(why: &TlsError, mqtt: &Mqtt) -> String {
    match why {
        TlsError::Unreachable(..) | TlsError::Silent(..) => unreachable(mqtt),
        TlsError::File(..) => "put the right file there: mode 0600 for a key, owner hangtag-agent".into(),
        TlsError::Stranger(..) => {
            "compare mqtt.tls.ca with the authority of the broker, mqtt.host with the names in its certificate, and \
             this machine's clock with a watch"
                .into()
        }
        TlsError::Refused(..) => "enrol this gateway anew, or have its certificate renewed".into(),
        _ => format!("see whether port {} is the one that speaks TLS, and the broker's log", mqtt.port),
    }
}

fn unreachable(mqtt: &Mqtt) -> String {
    format!("see whether the broker runs, and whether a firewall lets TCP port {} out", mqtt.port)
}

fn place(mqtt: &Mqtt) -> String {
    format!("{} port {}", mqtt.host, mqtt.port)
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}
