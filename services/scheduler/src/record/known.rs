//! How enums are kept: by their number, and a number that this version does not know is a damaged record, never another
//! value. The one place that turns stored numbers into values and back.

use std::fmt::{self, Debug, Formatter};

use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, int32, skip_field};
use prost::{DecodeError, Message};

/// What can be kept in a [`Known`]: an enum with numbers, of the contract or of this service.
pub trait Numbered: Copy + Default + Debug + PartialEq + Into<i32> + TryFrom<i32> + Send + Sync {}

impl<E: Copy + Default + Debug + PartialEq + Into<i32> + TryFrom<i32> + Send + Sync> Numbered for E {}

/// The value of an enum in a record. A message of one number, so that records have it as any other field; the number is
/// always written, also 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Known<E>(E);

impl<E: Numbered> Known<E> {
    /// Its number: for the contract's messages.
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
        let name = std::any::type_name::<E>();
        let unknown = |_| {
            #[allow(deprecated, reason = "prost has no other way for a message of one's own to refuse what it reads")]
            DecodeError::new(format!(
                "{number} is no {} that this version knows",
                name.rsplit("::").next().unwrap_or(name)
            ))
        };
        self.0 = E::try_from(number).map_err(unknown)?;
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
    use crate::record::{JobState, Step};
    use mms_proto::scheduler::v1::TableDecision;

    #[derive(Clone, PartialEq, Message)]
    struct Record {
        #[prost(message, required, tag = "1")]
        state: Known<JobState>,
        #[prost(message, optional, tag = "2")]
        decision: Option<Known<TableDecision>>,
        #[prost(message, repeated, tag = "3")]
        steps: Vec<Known<Step>>,
    }

    /// The same with any numbers.
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
        let steps = vec![Step::Data.into(), Step::Verification.into()];
        let decision = Some(TableDecision::Unspecified.into());
        let record = Record { state: JobState::Paused.into(), decision, steps };
        assert_eq!(Record::decode(&*record.encode_to_vec()).expect("whole"), record);
        for (state, decision) in [(99, 1), (1, 99), (-1, 1), (1, -1)] {
            let numbers =
                Numbers { state: Some(Number { number: state }), decision: Some(Number { number: decision }) };
            let refused = Record::decode(&*numbers.encode_to_vec());
            assert!(refused.is_err_and(|error| error.to_string().contains("that this version knows")));
        }
    }
}
