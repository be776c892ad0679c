//! One program for all targets. Enters: `HANGTAG_FUZZ`, the name of a target; libFuzzer's own arguments. Leaves: a
//! file with the input that broke a property, if one was found.

#![no_main]

use std::env::var;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = var("HANGTAG_FUZZ").unwrap_or_default();
    let names: Vec<&str> = hangtag_fuzz::TARGETS.iter().map(|target| target.name).collect();
    match hangtag_fuzz::target(&name) {
        Some(target) => target.run,
        None => panic!("HANGTAG_FUZZ={name}: must be one of {}", names.join(", ")),
    }
});

fuzz_target!(|bytes: &[u8]| RUN(bytes));
