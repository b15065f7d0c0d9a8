//! Memory that a process needs to start and not to live.

use std::fs;

/// Lets go of the program's pages that only the start has needed: arguments, configuration formats, descriptors. They count as
/// resident until the kernel is told. What runs on comes back from the page cache, a few pages at a time.
pub fn forget_start() {
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    let program = program.to_string_lossy();
    for (start, length) in maps.lines().filter_map(|line| unwritten(line, &program)) {
        release(start, length);
    }
}

/// Address and length of a mapping of the program that was never written to: its code, and the constants before it. Constants that
/// hold addresses are written at the start and then protected: they are mapped from a later part of the file and stay.
fn unwritten(line: &str, program: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_whitespace();
    let (range, access, offset) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.nth(2)? != program {
        return None;
    }
    let from_start = usize::from_str_radix(offset, 16).ok()? == 0;
    if !(access == "r-xp" || access == "r--p" && from_start) {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[allow(unsafe_code, reason = "no safe wrapper for madvise")]
fn release(start: usize, length: usize) {
    let address = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the mapping is of a file, private and without the right to write, so each page is read again as it was. A failure
    // leaves everything as it is.
    let _ = unsafe { libc::madvise(address, length, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_released() {
        let of = |line| unwritten(line, "/usr/bin/meltemi");
        assert_eq!(of("1000-3000 r--p 00000000 fe:00 7 /usr/bin/meltemi"), Some((0x1000, 0x2000)));
        assert_eq!(of("3000-9000 r-xp 00002000 fe:00 7 /usr/bin/meltemi"), Some((0x3000, 0x6000)));
        assert_eq!(of("9000-a000 r--p 00008000 fe:00 7 /usr/bin/meltemi"), None);
        assert_eq!(of("a000-b000 rw-p 00009000 fe:00 7 /usr/bin/meltemi"), None);
        assert_eq!(of("1000-3000 r--p 00000000 fe:00 7 /usr/lib/libc.so.6"), None);
        assert_eq!(of("b000-c000 rw-p 00000000 00:00 0 "), None);
    }

    #[test]
    fn the_program_runs_on() {
        forget_start();
        assert_eq!(format!("{:?}", vec![1, 2]), "[1, 2]");
    }
}
