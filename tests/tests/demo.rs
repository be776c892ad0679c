//! The demo, as the README says it.

use std::process::Command;

#[test]
fn the_demo_ends_by_itself_and_reports_that_nothing_is_missing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_hangtag-demo"))
        .args(["--for", "150s", "--report"])
        .arg(&report)
        .arg("--keep")
        .arg(folder.path().join("demo"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("http://127.0.0.1:"), "it says where the page is: {said}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report)?)?;
    println!("{report}");
    for (field, expected) in [("missing", 0), ("doubled", 0), ("changed", 0), ("gaps", 0)] {
        assert_eq!(report[field].as_u64(), Some(expected), "{field}: {report}");
    }
    assert_eq!(report["accepted"], report["in_central"], "{report}");
    assert!(report["events_by_kind"]["picked_up"].as_u64() >= Some(5), "{report}");
    assert!(report["try_ons"].as_u64() >= Some(1), "{report}");
    assert_eq!(report["sold"], report["sales_in_central"], "{report}");
    // The first shopper who buys pays after two minutes.
    assert!(report["sold"].as_u64() >= Some(1), "{report}");
    assert!(report["bytes_per_event"].as_f64().is_some_and(|bytes| bytes > 1.0), "{report}");
    assert!(report["memory_kib"]["hangtag-agent"]["most"].as_u64() > Some(0), "{report}");
    Ok(())
}
