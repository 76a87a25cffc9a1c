//! Enums in records: kept by number. A number that this version does not know makes a damaged record, never another
//! value. Two ways lead here: fields of type [`Known`], and plain numbers that [`Table::whole`](crate::Table::whole)
//! checks with [`known`].

use std::fmt::{self, Debug, Formatter};

use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, int32, skip_field};
use prost::{DecodeError, Message};

/// An enum that a [`Known`] can hold: one with numbers, of the contract or of a service.
pub trait Numbered: Copy + Default + Debug + PartialEq + Into<i32> + TryFrom<i32> + Send + Sync {}

impl<E: Copy + Default + Debug + PartialEq + Into<i32> + TryFrom<i32> + Send + Sync> Numbered for E {}

/// The value of an enum in a record. Encoded as a message with one number, so that a record can have it as a field; the
/// number is always written, also 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Known<E>(E);

impl<E: Numbered> Known<E> {
    /// The number of the value, as the contract's messages have it.
    pub fn number(self) -> i32 {
        self.0.into()
    }
}

impl<E> From<E> for Known<E> {
    fn from(value: E) -> Self {
        Self(value)
    }
}

impl<E> std::ops::Deref for Known<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

impl<E: PartialEq> PartialEq<E> for Known<E> {
    fn eq(&self, other: &E) -> bool {
        self.0 == *other
    }
}

impl<E: Debug> Debug for Known<E> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const NUMBER: u32 = 1;

/// A stored number that the enum does not have in this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{number} is not a value of {what} that this version knows")]
pub struct Unknown {
    number: i32,
    what: &'static str,
}

fn value<E: TryFrom<i32>>(number: i32) -> Result<E, Unknown> {
    let name = std::any::type_name::<E>();
    E::try_from(number).map_err(|_| Unknown { number, what: name.rsplit("::").next().unwrap_or(name) })
}

/// Checks that a plain number in a record is one of an enum's. 0 passes: it is the number of a field that was never
/// set.
pub fn known<E: TryFrom<i32>>(number: i32) -> Result<(), Unknown> {
    if number == 0 { Ok(()) } else { value::<E>(number).map(drop) }
}

impl<E: Numbered> Message for Known<E> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        int32::encode(NUMBER, &self.number(), buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != NUMBER {
            return skip_field(wire_type, tag, buf, context);
        }
        let mut number = 0;
        int32::merge(wire_type, &mut number, buf, context)?;
        #[allow(deprecated, reason = "prost has no other way for a message of one's own to refuse what it reads")]
        let refused = |unknown: Unknown| DecodeError::new(unknown.to_string());
        self.0 = value(number).map_err(refused)?;
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        int32::encoded_len(NUMBER, &self.number())
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Read, Schema, Store, StoreError, Table};

    #[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
    enum Step {
        Schema = 0,
        Data = 1,
        Look = 2,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Record {
        #[prost(message, required, tag = "1")]
        state: Known<Step>,
        #[prost(message, optional, tag = "2")]
        decision: Option<Known<Step>>,
        #[prost(message, repeated, tag = "3")]
        steps: Vec<Known<Step>>,
    }

    /// The same record with arbitrary numbers.
    #[derive(Clone, PartialEq, Message)]
    struct Numbers {
        #[prost(message, optional, tag = "1")]
        state: Option<Number>,
        #[prost(message, optional, tag = "2")]
        decision: Option<Number>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Number {
        #[prost(int32, tag = "1")]
        number: i32,
    }

    #[test]
    fn a_value_comes_back_and_an_unknown_number_is_a_damaged_record() {
        let steps = vec![Step::Data.into(), Step::Look.into()];
        let decision = Some(Step::Schema.into());
        let record = Record { state: Step::Look.into(), decision, steps };
        assert_eq!(Record::decode(&*record.encode_to_vec()).expect("whole"), record);
        for (state, decision) in [(99, 1), (1, 99), (-1, 1), (1, -1)] {
            let numbers =
                Numbers { state: Some(Number { number: state }), decision: Some(Number { number: decision }) };
            let refused = Record::decode(&*numbers.encode_to_vec());
            assert!(refused.is_err_and(|error| error.to_string().contains("that this version knows")));
        }
    }

    static NUMBERS: Table<(), Number> = Table::new("numbers", 1).whole(|record| known::<Step>(record.number));

    #[tokio::test]
    async fn a_plain_number_that_is_unknown_is_a_damaged_record_too() {
        let store = Store::in_memory(Schema::new("test")).expect("opened");
        for (number, whole) in [(0, true), (2, true), (99, false)] {
            store.commit(move |tx| tx.put(&NUMBERS, &(), &Number { number })).await.expect("stored");
            match store.read(|read| read.get(&NUMBERS, &())) {
                Ok(found) => assert!(whole && found == Some(Number { number })),
                Err(error) => assert!(!whole && matches!(error, StoreError::Corrupt { .. }), "{error}"),
            }
        }
    }
}
