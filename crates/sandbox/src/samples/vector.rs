//! Deletion vectors in the binary form of the Delta protocol. Pure.

use roaring::RoaringTreemap;

/// The magic number of the portable roaring format.
const MAGIC: u32 = 1_681_511_377;
/// The version of the file format.
const FILE_VERSION: u8 = 1;
/// The offset of the only vector in a file: after the version byte.
pub(crate) const FILE_OFFSET: i32 = 1;

const Z85: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The vector itself: magic number and bitmap.
pub(crate) fn serialise(rows: &RoaringTreemap) -> Vec<u8> {
    let mut bytes = MAGIC.to_le_bytes().to_vec();
    rows.serialize_into(&mut bytes).expect("writing to memory does not fail");
    bytes
}

/// A file with one vector: version, length, vector, checksum. Length and checksum are big-endian.
pub(crate) fn file(vector: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(vector);
    let length = u32::try_from(vector.len()).expect("a sample's vector is far below 4 GiB");
    let mut bytes = vec![FILE_VERSION];
    bytes.extend(length.to_be_bytes());
    bytes.extend(vector);
    bytes.extend(crc.sum().to_be_bytes());
    bytes
}

/// Base85 in the alphabet of ZeroMQ, padded with zeros to a multiple of four bytes.
pub(crate) fn z85(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(4) * 5);
    for chunk in bytes.chunks(4) {
        let mut block = [0; 4];
        block[..chunk.len()].copy_from_slice(chunk);
        let value = u32::from_be_bytes(block);
        for power in [85_u32.pow(4), 85_u32.pow(3), 85_u32.pow(2), 85, 1] {
            text.push(char::from(Z85[(value / power % 85) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z85_is_that_of_its_specification() {
        assert_eq!(z85(&[0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]), "HelloWorld");
    }

    #[test]
    fn the_vector_is_that_of_the_protocol() {
        // The protocol's own example: rows 3, 4, 7, 11, 18 and 29, inline.
        let rows = [3, 4, 7, 11, 18, 29].into_iter().collect();
        assert_eq!(z85(&serialise(&rows)), "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L");
    }
}
