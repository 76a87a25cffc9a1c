use bytes::Bytes;
use proptest::prelude::*;

use super::{CRC_BYTES, FrameError, Framer, Parts, Unframer};

/// An encapsulated RecordBatch message of 264 bytes, made by pyarrow.
pub(crate) const PAYLOAD: &str = "\
    ffffffffc800000014000000000000000c0016000600050008000c000c0000000003040018000000380000000000000000000a0018000c00\
    040008000a0000006c0000001000000003000000000000000000000005000000000000000000000000000000000000000000000000000000\
    1800000000000000180000000000000001000000000000002000000000000000100000000000000030000000000000000300000000000000\
    0000000002000000030000000000000000000000000000000300000000000000010000000000000001000000000000000200000000000000\
    0300000000000000050000000000000000000000010000000100000003000000787a7a0000000000";

fn payload() -> Vec<u8> {
    hex::decode(PAYLOAD).unwrap()
}

impl Parts for Vec<u8> {
    fn word(&mut self, word: [u8; CRC_BYTES]) -> std::io::Result<()> {
        self.extend_from_slice(&word);
        Ok(())
    }

    fn payload(&mut self, part: Bytes) -> std::io::Result<()> {
        self.extend_from_slice(&part);
        Ok(())
    }
}

fn frame(payload: &[u8], chunk: u32, step: usize) -> Vec<u8> {
    let (mut framer, mut out) = (Framer::new(chunk), Vec::new());
    for part in payload.chunks(step.max(1)) {
        let mut part = Bytes::copy_from_slice(part);
        while !part.is_empty() {
            framer.push(&mut part, &mut out).unwrap();
        }
    }
    framer.finish(&mut out).unwrap();
    out
}

fn unframe(stream: &[u8], step: usize) -> Result<Vec<u8>, FrameError> {
    let (mut unframer, mut out) = (Unframer::default(), Vec::new());
    for part in stream.chunks(step.max(1)) {
        for piece in unframer.push(part)? {
            out.extend_from_slice(&piece);
        }
    }
    let rest: Bytes = unframer.finish()?;
    out.extend_from_slice(&rest);
    Ok(out)
}

/// The CRCs that PyODPS's writer put after the chunks of the same payload.
#[test]
fn frames_equal_those_of_an_official_client() {
    let payload = payload();
    assert_eq!(payload.len(), 264);
    let build = |size: u32, crcs: &[u32]| {
        let mut stream = size.to_be_bytes().to_vec();
        let mut crcs = crcs.iter();
        for chunk in payload.chunks(size as usize) {
            stream.extend_from_slice(chunk);
            if chunk.len() == size as usize {
                stream.extend_from_slice(&crcs.next().unwrap().to_be_bytes());
            }
        }
        stream.extend_from_slice(&crcs.next().unwrap().to_be_bytes());
        assert_eq!(crcs.next(), None);
        stream
    };
    let whole = 0x0405_fc53;
    for (size, crcs) in [
        (64, vec![0x533f_b8d0, 0xf2b2_cb04, 0x342a_b9e5, 0xa7f8_321d, whole]),
        (263, vec![0x44f0_9187, whole]),
        (264, vec![whole, whole]),
        (65_536, vec![whole]),
    ] {
        let expected = build(size, &crcs);
        assert_eq!(hex::encode(frame(&payload, size, 100)), hex::encode(&expected), "chunks of {size}");
        assert_eq!(unframe(&expected, 7).unwrap(), payload, "chunks of {size}");
    }
}

#[test]
fn nothing_is_framed_as_nothing() {
    assert!(frame(&[], 64, 1).is_empty());
    assert!(unframe(&[], 1).unwrap().is_empty());
}

#[test]
fn damage_is_told() {
    let good = frame(&payload(), 64, 264);
    assert!(matches!(unframe(&good[..good.len() - 2], 50), Err(FrameError::WholeCrc { .. })));
    let mut flipped = good.clone();
    flipped[10] ^= 1;
    assert!(matches!(unframe(&flipped, 50), Err(FrameError::ChunkCrc { chunk: 0, .. })));
    assert_eq!(unframe(&good[..3], 3), Err(FrameError::Truncated));
    assert_eq!(unframe(&[0xff; 8], 8), Err(FrameError::ChunkSize(u32::MAX)));
}

proptest! {
    #[test]
    fn what_is_framed_reads_back(
        payload in prop::collection::vec(any::<u8>(), 0..600),
        chunk in 1_u32..200,
        write in 1_usize..300,
        read in 1_usize..300,
    ) {
        prop_assert_eq!(unframe(&frame(&payload, chunk, write), read).unwrap(), payload);
    }

    #[test]
    fn no_flipped_or_missing_byte_goes_unnoticed(
        payload in prop::collection::vec(any::<u8>(), 1..300),
        chunk in 1_u32..100,
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let good = frame(&payload, chunk, 300);
        // The size word only says where the CRCs are; everything else is covered by them.
        let at = 4 + at.index(good.len() - 4);
        let mut flipped = good.clone();
        flipped[at] ^= flip;
        prop_assert!(unframe(&flipped, 64).is_err());
        prop_assert!(unframe(&good[..at], 64).is_err());
    }
}
