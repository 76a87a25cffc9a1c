//! From the numbers and bytes of a file to the table's values: every step exact, or refused with the value and its place.
//! Pure. Nothing here may round, cut, wrap or guess; a library's cast is not used.

mod bytes;
pub(crate) mod calendar;
mod nested;
mod numbers;
mod time;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::DataType;

use calendar::Calendars;
pub(crate) use nested::not_null;

/// One column of a table, field of a struct, element of a list, key or value of a map: what it is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The table's name of it.
    pub name: String,
    /// Whether the table lets it be NULL.
    pub nullable: bool,
    /// Its place among what is read of its parent; none if the file does not have it.
    pub at: Option<usize>,
    pub node: Node,
}

/// How values lie in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// Not at all: they are NULL, as the Delta protocol has it.
    Absent,
    Leaf(Carry),
    /// In the table's order.
    Struct(Vec<Member>),
    List(Box<Member>),
    Map(Box<Member>, Box<Member>),
}

/// How the values of a leaf become those of the table's type.
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
    /// 96 bits: nanoseconds of a day, and a Julian day.
    Int96,
    Text,
    Bytes,
    /// The file says that there is no value at all.
    AlwaysNull,
}

/// What an integer says of itself: the bits it lies in, and those that it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Integer {
    pub stored: u8,
    pub bits: u8,
    pub signed: bool,
}

/// What a timestamp counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// A value that cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What leads to it below the column, by the table's names.
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

/// Carries `array`, read as the node says, as the table's type.
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
        // A clock without a zone is younger than the Gregorian calendar in Spark: no file of it is in another.
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

/// The reader gave something else than its schema says: a defect, which must not become a value.
fn unexpected(array: &ArrayRef, to: &DataType) -> Fault {
    Fault::new(format!("it was read as {}, from which no {to} is made", array.data_type()))
}

#[cfg(test)]
mod tests;
