//! Converts the numbers and bytes of a file to the table's values. Every step is exact, or fails with the value and its
//! place. Pure. Nothing here may round, cut, wrap or guess; no library's cast is used.

mod bytes;
pub(crate) mod calendar;
mod nested;
mod numbers;
mod time;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::DataType;

use calendar::Calendars;
pub(crate) use nested::not_null;

/// A column of a table, a field of a struct, the element of a list, or the key or value of a map, as it is stored in the
/// file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its name in the table.
    pub name: String,
    /// Whether the table allows NULL.
    pub nullable: bool,
    /// Its index among the fields that are read of its parent; None if the file does not have it.
    pub at: Option<usize>,
    pub node: Node,
}

/// How values are stored in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// The file does not have them: they are NULL, by the Delta protocol.
    Absent,
    Leaf(Carry),
    /// Members in the table's order.
    Struct(Vec<Member>),
    List(Box<Member>),
    Map(Box<Member>, Box<Member>),
}

/// How the values of a leaf are converted to the table's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carry {
    Boolean,
    Integer(Integer),
    IntegerToDouble(Integer),
    IntegerToDecimal(Integer),
    Float,
    Double,
    FloatToDouble,
    /// Unscaled numbers, as integers or as big-endian bytes.
    Decimal {
        scale: i8,
    },
    Date,
    DateToClock,
    Instant(Unit),
    Clock(Unit),
    /// 96 bits: nanoseconds of the day, and a Julian day number.
    Int96,
    Text,
    Bytes,
    /// The file says that every value is NULL.
    AlwaysNull,
}

/// How an integer is stored: the width of its storage, and the width that the file declares for its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Integer {
    pub stored: u8,
    pub bits: u8,
    pub signed: bool,
}

/// The unit that a timestamp counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// A value that cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The table's names that lead to it below the column.
    pub path: Vec<String>,
    pub why: String,
}

impl Fault {
    fn new(why: impl Into<String>) -> Self {
        Self { path: Vec::new(), why: why.into() }
    }

    /// The same, seen from the parent.
    fn below(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }
}

/// Converts `array`, which was read as `node` says, to the table's type.
pub(crate) fn carry(array: &ArrayRef, node: &Node, to: &DataType, calendars: &Calendars) -> Result<ArrayRef, Fault> {
    match node {
        Node::Absent => Ok(new_null_array(to, array.len())),
        Node::Leaf(carry) => leaf(array, *carry, to, calendars),
        Node::Struct(members) => nested::structure(array, members, to, calendars),
        Node::List(element) => nested::list(array, element, to, calendars),
        Node::Map(key, value) => nested::map(array, key, value, to, calendars),
    }
}

fn leaf(array: &ArrayRef, carry: Carry, to: &DataType, calendars: &Calendars) -> Result<ArrayRef, Fault> {
    match carry {
        Carry::Boolean | Carry::Float | Carry::Double => as_it_is(array, to),
        Carry::FloatToDouble => numbers::float_to_double(array),
        Carry::Integer(kind) => numbers::integers(array, kind, to),
        Carry::IntegerToDouble(kind) => numbers::integers_to_double(array, kind),
        Carry::IntegerToDecimal(kind) => numbers::integers_to_decimal(array, kind, to),
        Carry::Decimal { scale } => numbers::decimals(array, scale, to),
        Carry::Date => time::dates(array, &calendars.dates),
        Carry::DateToClock => time::dates_to_clocks(array, &calendars.dates),
        Carry::Instant(unit) => time::instants(array, unit, to, &calendars.dates),
        // Spark has written timestamps without a zone only since it uses the Gregorian calendar.
        Carry::Clock(unit) => time::instants(array, unit, to, &calendar::Calendar::Gregorian),
        Carry::Int96 => time::int96(array, to, &calendars.int96),
        Carry::Text => bytes::texts(array),
        Carry::Bytes => bytes::binaries(array),
        Carry::AlwaysNull => {
            if array.null_count() == array.len() {
                Ok(new_null_array(to, array.len()))
            } else {
                Err(Fault::new("the file says that the column is always NULL, and holds values in it"))
            }
        }
    }
}

fn as_it_is(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Fault> {
    if array.data_type() == to { Ok(array.clone()) } else { Err(unexpected(array, to)) }
}

/// The reader returned another type than its schema says. This is a defect of the program, and must not become a value.
fn unexpected(array: &ArrayRef, to: &DataType) -> Fault {
    Fault::new(format!("it was read as {}, from which no {to} is made", array.data_type()))
}

#[cfg(test)]
mod tests;
