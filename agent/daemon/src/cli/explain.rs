//! `explain`: why events were concluded. Enters: a recording. Leaves: per garment, in the order of time, a line
//! for each event that says what was seen. Scans are no conclusions, and what scanners send is never recorded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use hangtag_agent_core::infer::rule::Rule;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::event::{Event, Evidence, What};
use hangtag_protocol::id::Seq;
use indexmap::IndexMap;

use super::out::out;
use super::replay::conclude;
use crate::config::Config;

pub(super) fn run(config: &Config, path: &Path, only: Option<Epc>) -> anyhow::Result<()> {
    // In the order in which they were first heard of.
    let mut garments = IndexMap::<Epc, Vec<(Seq, Event)>>::new();
    let mut whose = BTreeMap::<Seq, Epc>::new();
    conclude(config, path, None, |seq, event, _| {
        let of = match event.what {
            What::Retracted { seq } => whose.get(&seq).copied(),
            What::PickedUp(_)
            | What::PutDown(_)
            | What::CarriedIn(_)
            | What::TriedOn(_)
            | What::CarriedOut(_)
            | What::Coverage(_)
            | What::Scanned(_) => event.garment().map(|(epc, ..)| epc),
        };
        if let Some(epc) = of {
            whose.insert(seq, epc);
        }
        if let Some(epc) = of
            && only.is_none_or(|only| only == epc)
        {
            garments.entry(epc).or_default().push((seq, event));
        }
        Ok(())
    })?;
    let mut out = std::io::BufWriter::new(out());
    if garments.is_empty() {
        let whom = only.map_or_else(|| "any garment".to_owned(), |epc| epc.to_string());
        writeln!(out, "nothing was concluded of {whom}")?;
    }
    for (epc, events) in garments {
        let product = epc.sgtin().map_or_else(String::new, |sgtin| format!("  GTIN {}", sgtin.gtin()));
        writeln!(out, "{epc}{product}")?;
        for (seq, event) in events {
            writeln!(out, "  {}", sentence(seq, &event))?;
        }
    }
    Ok(out.flush()?)
}

fn sentence(seq: Seq, event: &Event) -> String {
    let mut text = format!("{}  #{:<5} {}", time(event.at), seq.0, event.kind().name());
    if let Some((_, zone, visit, evidence)) = event.garment() {
        let _ = write!(text, " {zone}");
        if let Some(visit) = visit {
            let _ = write!(text, " (visit #{})", visit.0);
        }
        let _ = write!(text, ", {} %: {}", event.confidence, why(event, evidence));
    } else if let What::Retracted { seq } = event.what {
        let why = why(event, Evidence::default());
        let _ = write!(text, " #{}, {} %: {why}", seq.0, event.confidence);
    }
    text
}

/// Milliseconds since the recording's boot, as hours, minutes and seconds.
fn time(at: Uptime) -> String {
    let tenths = at.0 / 100;
    let (seconds, minutes, hours) = (tenths / 10 % 60, tenths / 600 % 60, tenths / 36_000);
    format!("{hours:>3}:{minutes:02}:{seconds:02}.{}", tenths % 10)
}

fn why(event: &Event, Evidence { reads, margin_db, unrest, dwell_ds }: Evidence) -> String {
    let stay = format!("{}.{} s", dwell_ds / 10, dwell_ds % 10);
    let Some(rule) = Rule::of(event) else { return "by a rule that this version does not have".to_owned() };
    match rule {
        Rule::Elsewhere => {
            format!("after {stay} at rest it is read elsewhere, {margin_db} dB above any other zone")
        }
        Rule::PhaseMoves => {
            format!("after {stay} at rest the phases of its {reads} latest reads change as a moving tag's do")
        }
        Rule::LevelMoves => format!(
            "after {stay} at rest the level of its {reads} latest reads changes, and its neighbours' do not"
        ),
        Rule::SensorMoves => {
            format!("after {stay} at rest the sensor on it moved, and it looks so or lies otherwise")
        }
        Rule::SensorAlone => format!("after {stay} at rest the sensor on it moved, and nothing else says so"),
        Rule::CalmAgain => format!("after {stay} in a hand its {reads} latest reads are calm where it was"),
        Rule::CalmElsewhere => format!(
            "after {stay} in a hand its {reads} latest reads are calm here, {margin_db} dB above any other zone"
        ),
        Rule::BoothWins => {
            format!("{reads} reads of late, {margin_db} dB above any other zone")
        }
        Rule::Worn => {
            format!("in the booth for {stay}, restless or shadowed by a body for {unrest} % of the last 32 s")
        }
        Rule::FloorWins => {
            format!("after {stay} in the booth the floor reads it, {margin_db} dB above any other zone")
        }
        Rule::HadLeft => "it had left when its silence was taken for a body's shadow".to_owned(),
        Rule::HadNotLeft => "it had not left: a body hid it, and it is heard again where it was".to_owned(),
        Rule::NextDoor => "the booth next door has heard it far better for long".to_owned(),
        Rule::Parked => "it hangs there for hours as it did at first: nobody brought it".to_owned(),
        Rule::Left => format!("after {stay} the booth does not read it any more, or the one next door does"),
    }
}
