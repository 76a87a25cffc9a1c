//! Texts and binaries. A text that is not UTF-8 is refused: its bytes would be shown as another text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use arrow::datatypes::DataType;

use super::{Fault, unexpected};

pub(super) fn texts(array: &ArrayRef) -> Result<ArrayRef, Fault> {
    let bytes = array.as_binary_opt::<i32>().ok_or_else(|| unexpected(array, &DataType::Utf8))?.clone();
    let (offsets, values, nulls) = bytes.into_parts();
    let texts = StringArray::try_new(offsets, values, nulls);
    texts.map(|texts| Arc::new(texts) as ArrayRef).map_err(|_| Fault::new("the bytes of a text are not UTF-8"))
}

pub(super) fn binaries(array: &ArrayRef) -> Result<ArrayRef, Fault> {
    if let Some(fixed) = array.as_fixed_size_binary_opt() {
        let bytes: BinaryArray = fixed.iter().collect();
        return Ok(Arc::new(bytes));
    }
    if array.data_type() == &DataType::Binary { Ok(array.clone()) } else { Err(unexpected(array, &DataType::Binary)) }
}
