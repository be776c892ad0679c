//! `decode`: a batch as JSON. Enters: one MQTT payload, as bytes or in hexadecimal. Leaves: a header
//! line, then a line per event.

use std::io::{Write as _, stdout};
use std::path::Path;

use anyhow::Context as _;
use hangtag_protocol::batch::Batch;
use hangtag_protocol::columns;
use hangtag_protocol::id::Seq;
use hangtag_protocol::line::EventLine;
use serde_json::json;

use super::read_input;

pub(super) fn run(path: &Path, sizes: bool) -> anyhow::Result<()> {
    let bytes = read_input(path)?;
    let payload = from_hex(&bytes).unwrap_or(bytes);
    let (header, body) = Batch::decode_header(&payload)
        .with_context(|| format!("{}: not a batch of {} bytes", path.display(), payload.len()))?;
    let gateway = header.gateway;
    let mut line = json!({
        "format": header.format, "replayed": header.replayed,
        "tenant": gateway.tenant, "store": gateway.store, "gateway": gateway.gateway,
        "epoch": header.epoch, "first": header.first, "count": header.count, "bytes": payload.len(),
    });
    let batch = Batch::decode_body(header, body)
        .with_context(|| format!("{}: header {line}; body", path.display()))?;
    line["oldest_held"] = json!(batch.oldest_held);
    line["lost"] = json!(batch.lost);
    line["anchors"] = batch
        .anchors
        .iter()
        .map(|a| json!({"boot": a.boot.to_string(), "uptime": a.uptime, "wall": a.wall, "error_ms": a.error_ms}))
        .collect();
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    if sizes {
        let packed = columns::pack(header.first, &batch.events);
        for (column, bits) in columns::sizes(header.first, &batch.events) {
            writeln!(out, "{:>9.1} {column}", bits / 8.0)?;
        }
        let rest = payload.len().saturating_sub(packed.len());
        writeln!(out, "{rest:>9} header, anchors, lost ranges, lineage")?;
        return Ok(());
    }
    for (seq, event) in (header.first.0..).zip(&batch.events) {
        writeln!(out, "{}", serde_json::to_string(&EventLine::new(Seq(seq), event))?)?;
    }
    Ok(())
}

fn from_hex(bytes: &[u8]) -> Option<Vec<u8>> {
    hex::decode(std::str::from_utf8(bytes).ok()?.trim()).ok()
}
