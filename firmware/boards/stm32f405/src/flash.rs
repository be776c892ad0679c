//! Where the configuration is kept. Enters and leaves: bytes, by embedded-storage's traits. On the chip that is
//! its flash; in QEMU, which ignores writes to it, RAM that outlives a reset of the system, but no loss of power.

use core::mem::MaybeUninit;
use core::ops::Range;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use stm32f4xx_hal::flash::FlashExt as _;
use stm32f4xx_hal::pac::FLASH;

/// The chip's flash, or what stands for it.
pub enum Flash {
    /// The flash itself.
    Chip(FLASH),
    /// RAM, of which each half is an area.
    Ram(&'static mut [u8; RAM]),
}

impl Flash {
    /// What is there.
    pub fn new(flash: FLASH, emulated: bool) -> Self {
        if emulated {
            // SAFETY: `flash` is there once, so that this runs once; every pattern of bits is bytes.
            Self::Ram(unsafe { &mut *(&raw mut STAND_IN).cast() })
        } else {
            Self::Chip(flash)
        }
    }

    /// Where in it the configuration is kept.
    pub fn areas(&self) -> [Range<u32>; 2] {
        match self {
            // Sectors 1 and 2 (`memory.x`).
            Self::Chip(_) => [0x4000..0x8000, 0x8000..0xC000],
            Self::Ram(_) => [0..HALF, HALF..2 * HALF],
        }
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        match self {
            Self::Chip(flash) => {
                let from = offset as usize;
                let there =
                    flash.read().get(from..from + bytes.len()).ok_or(NorFlashErrorKind::OutOfBounds)?;
                bytes.copy_from_slice(there);
            }
            Self::Ram(ram) => bytes.copy_from_slice(within(&mut ram[..], offset, bytes.len())?),
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Chip(flash) => flash.len(),
            Self::Ram(_) => RAM,
        }
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 1;
    // Both areas end at multiples of it, on the chip and in RAM.
    const ERASE_SIZE: usize = HALF as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        match self {
            Self::Chip(flash) => {
                let erased = NorFlash::erase(&mut flash.unlocked(), from, to);
                // The data cache does not see that the flash changed (RM0090, 3.5.4).
                flash.acr().modify(|_, w| w.dcen().clear_bit());
                flash.acr().modify(|_, w| w.dcrst().set_bit());
                flash.acr().modify(|_, w| w.dcrst().clear_bit());
                flash.acr().modify(|_, w| w.dcen().set_bit());
                erased.map_err(|_| NorFlashErrorKind::Other)
            }
            Self::Ram(ram) => {
                within(&mut ram[..], from, to.saturating_sub(from) as usize)?.fill(0xFF);
                Ok(())
            }
        }
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        match self {
            Self::Chip(flash) => {
                let written = NorFlash::write(&mut flash.unlocked(), offset, bytes);
                written.map_err(|_| NorFlashErrorKind::Other)
            }
            Self::Ram(ram) => {
                for (to, byte) in within(&mut ram[..], offset, bytes.len())?.iter_mut().zip(bytes) {
                    *to &= byte;
                }
                Ok(())
            }
        }
    }
}

fn within(ram: &mut [u8], offset: u32, length: usize) -> Result<&mut [u8], NorFlashErrorKind> {
    let from = offset as usize;
    ram.get_mut(from..from + length).ok_or(NorFlashErrorKind::OutOfBounds)
}

const HALF: u32 = 512;
const RAM: usize = 2 * HALF as usize;

#[unsafe(link_section = ".uninit.configuration")]
static mut STAND_IN: MaybeUninit<[u8; RAM]> = MaybeUninit::uninit();
