//! Checks a footer before the Parquet library parses it: its length, and how deep its schema nests. The library trusts both,
//! and neither a failed allocation nor a stack overflow can be caught.
//!
//! Reads Thrift's compact protocol as far as necessary: the list of schema elements, and how many children each has.

use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::FileBytes;

/// Deepest nesting of a schema that is accepted: Parquet has three levels for each of Spark's.
const DEPTH_MAX: usize = 200;
/// Deepest nesting of Thrift's own structs that is accepted; a footer has six levels.
const STRUCTS_MAX: usize = 16;
/// The last bytes of a file: the footer's length and the magic number.
const TAIL: u64 = 8;

/// Refuses a footer that must not be parsed. Other errors in it are left to the library.
pub(crate) fn check(file: &FileBytes, most: u64) -> Result<(), String> {
    let size = file.len();
    let text = |error: ParquetError| error.to_string();
    let Some(tail_at) = size.checked_sub(TAIL) else { return Ok(()) };
    let tail = file.get_bytes(tail_at, 8).map_err(text)?;
    let Some(length) = tail.first_chunk::<4>().map(|bytes| u64::from(u32::from_le_bytes(*bytes))) else {
        return Ok(());
    };
    let Some(begin) = tail_at.checked_sub(length).filter(|_| tail.ends_with(b"PAR1")) else { return Ok(()) };
    if length > most {
        return Err(format!(
            "its footer has {length} bytes, where a slot may hold {most} for it: raise transfer.slot_memory_bytes, or rewrite \
             the file with fewer columns or row groups"
        ));
    }
    let footer = file.get_bytes(begin, usize::try_from(length).unwrap_or(usize::MAX)).map_err(text)?;
    // The library requests it again.
    file.keep(begin, footer.clone());
    match depth(&footer) {
        Some(depth) if depth > DEPTH_MAX => {
            Err(format!("its schema nests more than {DEPTH_MAX} levels deep, or says so and is damaged"))
        }
        _ => Ok(()),
    }
}

/// How deep a footer's schema nests; `usize::MAX` if an element claims more children than there are elements. None if this is
/// not a footer.
fn depth(footer: &[u8]) -> Option<usize> {
    const SCHEMA: i16 = 2;
    const LIST: u8 = 9;
    let mut reader = Thrift { bytes: footer, at: 0 };
    let mut field = 0;
    loop {
        let kind = reader.field(&mut field)?;
        if (field, kind) == (SCHEMA, LIST) {
            break;
        }
        reader.skip(kind, 0)?;
    }
    let (count, _) = reader.list()?;
    // Children that are still to come, of each open group.
    let mut open: Vec<u64> = Vec::new();
    let mut deepest = 0;
    for element in 0..count {
        let children = reader.children()?;
        if children > count - element - 1 {
            return Some(usize::MAX);
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children > 0 {
            open.push(children);
        }
        deepest = deepest.max(open.len());
        if deepest > DEPTH_MAX {
            break;
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Some(deepest)
}

struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0_u64, 0_u32);
        loop {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
            shift += 7;
        }
    }

    /// Kind of the next field; `field` becomes its id. Kind 0 ends the struct.
    fn field(&mut self, field: &mut i16) -> Option<u8> {
        let head = self.byte()?;
        let (kind, step) = (head & 0x0f, head >> 4);
        if kind != 0 {
            *field = match step {
                0 => {
                    let number = self.number()?;
                    i16::try_from((number >> 1).cast_signed() ^ -((number & 1).cast_signed())).ok()?
                }
                step => field.checked_add(step.into())?,
            };
        }
        Some(kind)
    }

    /// Number of a list's items, and their kind.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
        Some((count, head & 0x0f))
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        let at = self.at.checked_add(usize::try_from(bytes).ok()?)?;
        (at <= self.bytes.len()).then(|| self.at = at)
    }

    fn skip(&mut self, kind: u8, structs: usize) -> Option<()> {
        match kind {
            // A boolean's value is in the field's head.
            1 | 2 => Some(()),
            3 => self.pass(1),
            4..=6 => self.number().map(drop),
            7 => self.pass(8),
            8 => {
                let length = self.number()?;
                self.pass(length)
            }
            9 | 10 if structs < STRUCTS_MAX => {
                let (count, kind) = self.list()?;
                for _ in 0..count {
                    // In a list each boolean has a byte of its own.
                    if matches!(kind, 1 | 2) { self.pass(1)? } else { self.skip(kind, structs + 1)? }
                }
                Some(())
            }
            12 if structs < STRUCTS_MAX => {
                let mut field = 0;
                loop {
                    let kind = self.field(&mut field)?;
                    if kind == 0 {
                        return Some(());
                    }
                    self.skip(kind, structs + 1)?;
                }
            }
            _ => None,
        }
    }

    /// Number of children of the next schema element.
    fn children(&mut self) -> Option<u64> {
        const CHILDREN: i16 = 5;
        const I32: u8 = 5;
        let (mut field, mut children) = (0, 0);
        loop {
            let kind = self.field(&mut field)?;
            if kind == 0 {
                return Some(children);
            }
            if (field, kind) == (CHILDREN, I32) {
                // Zigzag encoding; no schema has a negative number of children.
                let number = self.number()?;
                children = if number & 1 == 0 { number >> 1 } else { u64::MAX };
            } else {
                self.skip(kind, 0)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer that has only a schema: for each element a name, and children if it has any.
    fn footer(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 0x02, 0x19, 0xfc];
        bytes.push(u8::try_from(children.len()).expect("few"));
        for count in children {
            bytes.extend([0x48, 0x01, b'x']);
            if *count > 0 {
                bytes.extend([0x15, count * 2]);
            }
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn depth_is_counted_without_parsing() {
        assert_eq!(depth(&footer(&[2, 0, 0])), Some(1));
        assert_eq!(depth(&footer(&[2, 1, 1, 0, 0])), Some(3));
        assert_eq!(depth(&footer(&[1; 120])), Some(usize::MAX), "the last one's child is not there");
        let mut chain = vec![1; 100];
        chain.push(0);
        assert_eq!(depth(&footer(&chain)), Some(100));
    }

    #[test]
    fn what_is_no_footer_is_left_to_the_library() {
        for broken in [&[][..], &[0x19], &[0xff; 40], &footer(&[2, 0])[..7]] {
            assert!(depth(broken).is_none_or(|depth| depth > DEPTH_MAX), "{broken:?}");
        }
    }
}
