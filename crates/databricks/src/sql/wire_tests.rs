use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// An answer as a server writes it: `call` with the head changed to a reply's, and its one argument as field 0.
fn answer(method: &str, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut bytes = Writer::call(method, fill);
    bytes[3] = 2;
    let field = 4 + 4 + method.len() + 4 + 1;
    bytes[field..field + 2].copy_from_slice(&[0, 0]);
    bytes
}

#[test]
fn what_is_written_is_read() {
    let bytes = answer("M", |w| {
        w.bool(1, true);
        w.i32(2, -5);
        w.i64(1282, i64::MIN);
        w.binary(4, &[0xFF, 0]);
        w.object(5, |w| w.i32(1, 7));
        w.texts(6, &[("a", "b")]);
    });
    let read = reply("M", bytes.clone().into()).unwrap();
    assert_eq!((read.bool(1), read.int(2), read.int(1282)), (Some(true), Some(-5), Some(i64::MIN)));
    assert_eq!(read.binary(4).unwrap().as_ref(), [0xFF, 0]);
    assert_eq!(read.object(5).unwrap().int(1), Some(7));
    assert_eq!(read.map(6).unwrap(), [(Value::Text("a".into()), Value::Text("b".into()))]);
    assert!(reply("N", bytes.clone().into()).unwrap_err().contains("answers"));
    assert!(reply("M", b"<html>".as_slice().into()).is_err());
    let mut failed = bytes;
    failed[3] = 3;
    assert!(reply("M", failed.into()).unwrap_err().contains("failed"));
}

#[test]
fn lists_of_plain_values_and_texts_stay_the_bytes_that_they_came_in() {
    let list = |kind: u8, count: u32, body: &[u8]| {
        let mut bytes = answer("M", |w| w.0.extend([kind::LIST, 0, 1, kind]));
        let end = bytes.split_off(bytes.len() - 2);
        bytes.extend(count.to_be_bytes());
        bytes.extend(body);
        bytes.extend(end);
        reply("M", bytes.into())
    };
    let read = list(kind::I16, 2, &[0, 1, 0, 2]).unwrap();
    assert_eq!(read.list(1), Some(&List::Fixed { width: 2, bytes: Bytes::from_static(&[0, 1, 0, 2]) }));
    let read = list(kind::TEXT, 2, &[0, 0, 0, 1, b'x', 0, 0, 0, 0]).unwrap();
    assert_eq!(read.list(1).unwrap().texts().collect::<Vec<_>>(), ["x", ""]);
    // Lengths that are larger than what follows.
    assert!(list(kind::I64, 0x4000_0000, &[]).unwrap_err().contains("are left"));
    assert!(list(kind::TEXT, 2, &[0x7F, 0, 0, 0]).is_err());
    assert!(list(kind::STRUCT, u32::MAX, &[]).is_err());
    assert!(list(kind::STRUCT, 600_000, &[0; 600_000]).unwrap_err().contains("fields"));
    assert!(list(kind::LIST, 1, &[kind::LIST, 0, 0, 0, 1].repeat(40)).unwrap_err().contains("deep"));
}

proptest! {
    #[test]
    fn nothing_that_comes_brings_the_reader_down(noise in vec(any::<u8>(), 0..300)) {
        let head = answer("M", |w| w.bool(1, true));
        drop(reply("M", Bytes::from([&head[..13], &noise].concat())));
        drop(reply("M", noise.into()));
    }

    #[test]
    fn an_answer_with_a_wrong_byte_is_read_or_refused(at in 0_usize..200, byte: u8) {
        let mut bytes = answer("M", |w| {
            w.texts(1, &[("key", "value"), ("other", "text")]);
            w.object(2, |w| { w.binary(1, &[1; 16]); w.object(2, |w| w.i64(1, 5)); });
            w.0.extend([kind::LIST, 0, 3, kind::TEXT, 0, 0, 0, 1, 0, 0, 0, 2, b'a', b'b']);
        });
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(read) = reply("M", bytes.into()) {
            prop_assert!(read.list(3).is_none_or(|list| list.texts().count() < 200));
        }
    }
}
