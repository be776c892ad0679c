//! `decode`: batches as JSON. Enters: one MQTT payload, as bytes or in hexadecimal, or a file that `spool export`
//! wrote. Leaves: for each batch a header line, then a line per event; and every place that cannot be read.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write, stdin};
use std::path::Path;

use anyhow::{Context as _, bail};
use hangtag_protocol::batch::Batch;
use hangtag_protocol::columns;
use hangtag_protocol::id::Seq;
use hangtag_protocol::line::EventLine;
use serde_json::json;

use super::out::{complain, nobody_reads, out};
use crate::spool::export::{Batches, MAGIC};

/// Every file is tried, whatever is wrong with the others.
pub(super) fn run(paths: &[impl AsRef<Path>], sizes: bool) -> anyhow::Result<()> {
    let mut bad = 0;
    for path in paths.iter().map(AsRef::as_ref) {
        match decode(path, sizes) {
            Err(why) if nobody_reads(&why) => return Err(why),
            Err(why) => {
                complain(format_args!("{}: {why:#}", path.display()));
                bad += 1;
            }
            Ok(()) => {}
        }
    }
    if bad > 0 {
        bail!("{bad} of {} files could not be read whole", paths.len());
    }
    Ok(())
}

fn decode(path: &Path, sizes: bool) -> anyhow::Result<()> {
    let mut input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).context("cannot open it")?))
    };
    let mut out = BufWriter::new(out());
    let mut bytes = Vec::new();
    (&mut input).take(MAGIC.len() as u64).read_to_end(&mut bytes).context("cannot read it")?;
    if bytes == MAGIC {
        export(path, input, sizes, &mut out)?;
    } else {
        input.read_to_end(&mut bytes).context("cannot read it")?;
        let payload = from_hex(&bytes).unwrap_or(bytes);
        print(&payload, sizes, &mut out)?;
    }
    Ok(out.flush()?)
}

/// All batches of an export. A bad one does not hide those behind it.
fn export(path: &Path, input: impl Read, sizes: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let mut batches = Batches::new(input)?;
    let (mut count, mut bad) = (0, 0);
    while let Some((at, payload)) = batches.next()? {
        count += 1;
        if let Err(why) = print(&payload, sizes, out) {
            if nobody_reads(&why) {
                return Err(why);
            }
            out.flush()?;
            complain(format_args!("{}: byte {at}: {why:#}", path.display()));
            bad += 1;
        }
    }
    if bad > 0 {
        bail!("{bad} of {count} batches cannot be read");
    }
    Ok(())
}

fn print(payload: &[u8], sizes: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let (header, body) = Batch::decode_header(payload)
        .with_context(|| format!("neither a batch nor an export, {} bytes", payload.len()))?;
    let gateway = header.gateway;
    let mut line = json!({
        "format": header.format, "replayed": header.replayed,
        "tenant": gateway.tenant, "store": gateway.store, "gateway": gateway.gateway,
        "epoch": header.epoch, "first": header.first, "count": header.count, "bytes": payload.len(),
    });
    let batch = Batch::decode_body(header, body).with_context(|| format!("header {line}; body"))?;
    line["oldest_held"] = json!(batch.oldest_held);
    line["lost"] = json!(batch.lost);
    line["anchors"] = batch
        .anchors
        .iter()
        .map(|a| json!({"boot": a.boot.to_string(), "uptime": a.uptime, "wall": a.wall, "error_ms": a.error_ms}))
        .collect();
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

/// Hexadecimal, in lines and groups as its writer likes: `xxd -p` breaks it every 30 bytes.
fn from_hex(bytes: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    hex::decode(digits).ok()
}
