//! A processor that fails. Enters: QEMU's socket for debuggers, the image. Leaves: a program counter that points
//! nowhere, or to where the image panics, with a place of its own for the reason.

use std::path::Path;

use anyhow::Context as _;
use object::elf::FileHeader32;
use object::read::elf::ElfFile;
use object::{LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _};

use super::debugger::{Debugger, PC, STATUS};

/// Where nothing is: neither memory nor anything that answers.
const NOWHERE: u32 = 0xdead_beee;
/// What rustc makes of an index that is out of bounds, as its name stands in the image.
const OUT_OF_BOUNDS: &str = "9panicking18panic_bounds_check";
const INDEX: u32 = 7;
const LENGTH: u32 = 3;
/// The bits of the status by which some instructions to come are left out.
const CONDITIONS: u32 = 0x0600_fc00;
/// A file of the image that panics, as rustc names it.
const FILE: &str = "src/main.rs";

/// Stops the processor, sets its program counter and lets it go on.
pub(super) fn jump_to_nowhere(socket: &Path) -> anyhow::Result<()> {
    let mut debugger = Debugger::attach(socket)?;
    debugger.set(PC, NOWHERE)?;
    debugger.leave()
}

/// Makes the processor call what is called where an index is out of bounds, with the place of another panic of the
/// image; returns what the panic says.
pub(super) fn panic(socket: &Path, image: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let elf = ElfFile::<FileHeader32<LittleEndian>>::parse(&*bytes)?;
    let function = elf
        .symbols()
        .find(|symbol| symbol.name().is_ok_and(|name| name.contains(OUT_OF_BOUNDS)))
        .context("no index of the image is ever checked")?;
    let (place, line) = place(&elf)?.with_context(|| format!("nothing panics in {FILE}"))?;
    let mut debugger = Debugger::attach(socket)?;
    let status = debugger.register(STATUS)?;
    let function = u32::try_from(function.address())?;
    // The lowest bit of an address of code says only that it is Thumb.
    for (register, value) in
        [(0, INDEX), (1, LENGTH), (2, place), (STATUS, status & !CONDITIONS), (PC, function & !1)]
    {
        debugger.set(register, value)?;
    }
    debugger.leave()?;
    let file = FILE.trim_start_matches("src/");
    Ok(format!("{file}:{line}: index out of bounds: the len is {LENGTH} but the index is {INDEX}"))
}

/// Where a [`Location`](core::panic::Location) in a file lies in the image, and its line: address and length of the
/// file's name, line, column.
fn place(elf: &ElfFile<'_, FileHeader32<LittleEndian>>) -> anyhow::Result<Option<(u32, u32)>> {
    let section = elf.section_by_name(".rodata").context("the image has no constants")?;
    let (base, data) = (u32::try_from(section.address())?, section.data()?);
    let word = |at: usize| Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?));
    let found = (0..data.len()).step_by(4).find_map(|at| {
        let [name, length, line] = [word(at)?, word(at + 4)?, word(at + 8)?];
        let from = usize::try_from(name.checked_sub(base)?).ok()?;
        let name = data.get(from..)?.get(..usize::try_from(length).ok()?)?;
        (name == FILE.as_bytes()).then_some((base + u32::try_from(at).ok()?, line))
    });
    Ok(found)
}
