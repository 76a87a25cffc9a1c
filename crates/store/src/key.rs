//! Order-preserving key encodings. Owns how a key becomes bytes: `a < b` exactly when `encode(a) < encode(b)`, and no
//! encoding is a prefix of another of the same type, so tuples are concatenations. Must never change for a type in use.

use std::fmt::Debug;

use uuid::Uuid;

/// A table key or an index key.
///
/// A newtype delegates to what it wraps:
/// ```
/// # use mms_store::Key;
/// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
/// struct JobId(String);
/// impl Key for JobId {
///     fn encode(&self, out: &mut Vec<u8>) {
///         self.0.encode(out)
///     }
///     fn decode(input: &mut &[u8]) -> Option<Self> {
///         String::decode(input).map(JobId)
///     }
/// }
/// ```
pub trait Key: Clone + Ord + Debug + Send + Sync + 'static {
    /// Appends the encoded key.
    fn encode(&self, out: &mut Vec<u8>);
    /// Decodes one key from the front of `input` and advances it; `None` if the bytes are no such key.
    fn decode(input: &mut &[u8]) -> Option<Self>;
}

/// The first components of a tuple key `K`, for scans over everything below them.
pub trait KeyPrefix<K> {
    /// Appends the encoding of the components.
    fn encode_prefix(&self, out: &mut Vec<u8>);
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}

/// Appends bytes with `00` escaped as `00 FF`; the caller appends the terminator `00 00`.
pub(crate) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xFF);
        }
    }
}

impl Key for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) {
        escape(self, out);
        out.extend([0, 0]);
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        let mut bytes = Self::new();
        loop {
            match *take::<1>(input)?.first()? {
                0 => match take::<1>(input)? {
                    [0xFF] => bytes.push(0),
                    [0] => return Some(bytes),
                    _ => return None,
                },
                byte => bytes.push(byte),
            }
        }
    }
}

impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) {
        escape(self.as_bytes(), out);
        out.extend([0, 0]);
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        Self::from_utf8(Vec::<u8>::decode(input)?).ok()
    }
}

macro_rules! integer_key {
    ($($int:ty),*) => {$(
        impl Key for $int {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend(self.to_be_bytes());
            }

            fn decode(input: &mut &[u8]) -> Option<Self> {
                take(input).map(Self::from_be_bytes)
            }
        }
    )*};
}
integer_key!(u8, u16, u32, u64);

impl Key for i64 {
    fn encode(&self, out: &mut Vec<u8>) {
        // The flipped sign bit puts negative numbers below positive ones.
        (self.cast_unsigned() ^ (1 << 63)).encode(out);
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        u64::decode(input).map(|bits| (bits ^ (1 << 63)).cast_signed())
    }
}

impl Key for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        match take(input)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Key for Uuid {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.as_bytes());
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        take(input).map(Self::from_bytes)
    }
}

impl<K: Key> Key for Option<K> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(key) = self {
            key.encode(out);
        }
    }

    fn decode(input: &mut &[u8]) -> Option<Self> {
        if bool::decode(input)? { K::decode(input).map(Some) } else { Some(None) }
    }
}

/// The key of a table with one row.
impl Key for () {
    fn encode(&self, _out: &mut Vec<u8>) {}

    fn decode(_input: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

macro_rules! tuple_key {
    ($($name:ident)+) => {
        impl<$($name: Key),+> Key for ($($name,)+) {
            #[allow(non_snake_case)] // the macro names each component after its type parameter
            fn encode(&self, out: &mut Vec<u8>) {
                let ($($name,)+) = self;
                $($name.encode(out);)+
            }

            fn decode(input: &mut &[u8]) -> Option<Self> {
                Some(($($name::decode(input)?,)+))
            }
        }
    };
}
tuple_key!(A);
tuple_key!(A B);
tuple_key!(A B C);
tuple_key!(A B C D);
tuple_key!(A B C D E);

macro_rules! tuple_prefix {
    ($($name:ident)+ ; $($rest:ident)+) => {
        impl<$($name: Key,)+ $($rest: Key),+> KeyPrefix<($($name,)+ $($rest,)+)> for ($($name,)+) {
            fn encode_prefix(&self, out: &mut Vec<u8>) {
                self.encode(out);
            }
        }
    };
}
tuple_prefix!(A; B);
tuple_prefix!(A; B C);
tuple_prefix!(A; B C D);
tuple_prefix!(A; B C D E);
tuple_prefix!(A B; C);
tuple_prefix!(A B; C D);
tuple_prefix!(A B; C D E);
tuple_prefix!(A B C; D);
tuple_prefix!(A B C; D E);
tuple_prefix!(A B C D; E);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Wide = (String, i64, Option<Vec<u8>>, (u64, bool));

    fn bytes(key: &impl Key) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    fn wide() -> impl Strategy<Value = Wide> {
        // A small alphabet with NUL and FF, so that equal prefixes and escapes are likely.
        let text = proptest::collection::vec(prop_oneof![Just('\0'), Just('a'), Just('\u{ff}')], 0..4)
            .prop_map(String::from_iter);
        let raw = proptest::option::of(proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xFFu8)], 0..4));
        (text, -2i64..2, raw, (0u64..3, any::<bool>()))
    }

    proptest! {
        #[test]
        fn order_is_preserved_and_decoding_inverts(a in wide(), b in wide()) {
            prop_assert_eq!(a.cmp(&b), bytes(&a).cmp(&bytes(&b)));
            let encoded = bytes(&a);
            let mut rest = encoded.as_slice();
            prop_assert_eq!(Wide::decode(&mut rest), Some(a));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn decoding_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Wide::decode(&mut noise.as_slice());
        }
    }
}
