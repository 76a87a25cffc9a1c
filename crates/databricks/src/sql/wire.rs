//! Thrift's binary protocol, as far as HiveServer2 needs it: writes a message field by field, and reads one into a tree of
//! fields by number. Pure. It knows no message: those are in `message`.
//!
//! Whatever the wire says is checked before it is trusted: no length exceeds the bytes that are left, lists of plain values
//! and of texts stay the bytes that they came in, and what takes more memory than its bytes is counted ([`NODES_MAX`],
//! [`DEPTH_MAX`]).

use bytes::Bytes;

/// Most fields, entries and structs of one message; each takes about 50 bytes.
const NODES_MAX: usize = 500_000;
/// Deepest nesting of structs and lists.
const DEPTH_MAX: usize = 32;
/// Version and kind of a message in the strict form.
const VERSION: u32 = 0x8001_0000;
const CALL: u32 = 1;
const REPLY: u32 = 2;
const EXCEPTION: u32 = 3;

/// Kinds of values on the wire.
mod kind {
    pub const STOP: u8 = 0;
    pub const BOOL: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const DOUBLE: u8 = 4;
    pub const I16: u8 = 6;
    pub const I32: u8 = 8;
    pub const I64: u8 = 10;
    pub const TEXT: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const MAP: u8 = 13;
    pub const SET: u8 = 14;
    pub const LIST: u8 = 15;
}

/// Writes one call.
pub struct Writer(Vec<u8>);

impl Writer {
    /// A call of `method`, whose arguments are one struct, which `fill` writes.
    pub fn call(method: &str, fill: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut writer = Self(Vec::with_capacity(256));
        writer.0.extend((VERSION | CALL).to_be_bytes());
        writer.bytes(method.as_bytes());
        writer.0.extend(0_i32.to_be_bytes());
        writer.object(1, fill);
        writer.0.push(kind::STOP);
        writer.0
    }

    fn head(&mut self, kind: u8, id: i16) {
        self.0.push(kind);
        self.0.extend(id.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // Only statements and handles are written, which are far shorter than 31 bits can count.
        self.0.extend(i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
        self.0.extend(bytes);
    }

    pub fn bool(&mut self, id: i16, value: bool) {
        self.head(kind::BOOL, id);
        self.0.push(u8::from(value));
    }

    pub fn i32(&mut self, id: i16, value: i32) {
        self.head(kind::I32, id);
        self.0.extend(value.to_be_bytes());
    }

    pub fn i64(&mut self, id: i16, value: i64) {
        self.head(kind::I64, id);
        self.0.extend(value.to_be_bytes());
    }

    pub fn binary(&mut self, id: i16, value: &[u8]) {
        self.head(kind::TEXT, id);
        self.bytes(value);
    }

    pub fn object(&mut self, id: i16, fill: impl FnOnce(&mut Self)) {
        self.head(kind::STRUCT, id);
        fill(self);
        self.0.push(kind::STOP);
    }

    pub fn texts(&mut self, id: i16, entries: &[(&str, &str)]) {
        self.head(kind::MAP, id);
        self.0.extend([kind::TEXT, kind::TEXT]);
        self.0.extend(i32::try_from(entries.len()).unwrap_or(i32::MAX).to_be_bytes());
        for (key, value) in entries {
            self.bytes(key.as_bytes());
            self.bytes(value.as_bytes());
        }
    }
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    /// Whole numbers of every width.
    Int(i64),
    Double(f64),
    Text(Bytes),
    Struct(Struct),
    List(List),
    Map(Vec<(Value, Value)>),
}

/// A list that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum List {
    /// Plain values of `width` bytes each, big-endian, one after the other.
    Fixed { width: usize, bytes: Bytes },
    /// Texts or bytes, each after its length.
    Texts { count: usize, bytes: Bytes },
    /// Everything else.
    Items(Vec<Value>),
}

impl List {
    /// The texts of a list of texts, without copying them.
    pub fn texts(&self) -> impl Iterator<Item = Bytes> {
        let mut rest = match self {
            Self::Texts { bytes, .. } => bytes.clone(),
            Self::Fixed { .. } | Self::Items(_) => Bytes::new(),
        };
        // The lengths were checked when the list was read.
        std::iter::from_fn(move || {
            let (length, _) = rest.split_at_checked(4)?;
            let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
            (rest.len() - 4 >= length).then(|| {
                let text = rest.slice(4..4 + length);
                rest = rest.slice(4 + length..);
                text
            })
        })
    }
}

/// The fields of a struct, by their numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Struct(Vec<(i16, Value)>);

impl Struct {
    pub fn get(&self, id: i16) -> Option<&Value> {
        self.0.iter().find(|(found, _)| *found == id).map(|(_, value)| value)
    }

    pub fn int(&self, id: i16) -> Option<i64> {
        match self.get(id)? {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub fn bool(&self, id: i16) -> Option<bool> {
        match self.get(id)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn binary(&self, id: i16) -> Option<&Bytes> {
        match self.get(id)? {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }

    pub fn text(&self, id: i16) -> Option<String> {
        self.binary(id).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    pub fn object(&self, id: i16) -> Option<&Self> {
        match self.get(id)? {
            Value::Struct(value) => Some(value),
            _ => None,
        }
    }

    pub fn list(&self, id: i16) -> Option<&List> {
        match self.get(id)? {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The structs of a list of structs; None if its items are something else.
    pub fn objects(&self, id: i16) -> Option<Vec<&Self>> {
        match self.list(id)? {
            List::Items(items) => {
                items.iter().map(|item| if let Value::Struct(item) = item { Some(item) } else { None }).collect()
            }
            // An empty list may be of any kind.
            List::Fixed { bytes, .. } | List::Texts { bytes, .. } => bytes.is_empty().then(Vec::new),
        }
    }

    pub fn map(&self, id: i16) -> Option<&[(Value, Value)]> {
        match self.get(id)? {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The only field of a union.
    pub fn only(&self) -> Option<(i16, &Value)> {
        self.0.first().map(|(id, value)| (*id, value))
    }
}

/// Why a message cannot be read.
pub type Malformed = String;

/// The answer to a call of `method`: what its reply's field 0 holds.
pub fn reply(method: &str, body: Bytes) -> Result<Struct, Malformed> {
    let mut reader = Reader { rest: body, nodes: 0 };
    let head = reader.u32()?;
    let name = reader.text()?;
    reader.u32()?;
    if head & 0xFFFF_0000 != VERSION {
        return Err(format!("it does not begin as a Thrift message: {head:#010x}"));
    }
    if name != method.as_bytes() {
        return Err(format!("it answers {:?}", String::from_utf8_lossy(&name).chars().take(60).collect::<String>()));
    }
    let answer = reader.object(0)?;
    match head & 0xFF {
        REPLY => {}
        EXCEPTION => return Err(format!("the server failed: {}", answer.text(1).unwrap_or_default())),
        other => return Err(format!("it is a message of kind {other}")),
    }
    match answer.0.into_iter().next() {
        Some((0, Value::Struct(answer))) => Ok(answer),
        _ => Err("the reply holds no answer".to_owned()),
    }
}

struct Reader {
    rest: Bytes,
    nodes: usize,
}

impl Reader {
    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.rest.len() {
            return Err(format!("it says {length} bytes where {} are left", self.rest.len()));
        }
        Ok(self.rest.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.take(N)?;
        bytes.as_ref().try_into().map_err(|_| "it ends early".to_owned())
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.array().map(i32::from_be_bytes)?;
        usize::try_from(length).map_err(|_| format!("it has a length of {length}"))
    }

    fn text(&mut self) -> Result<Bytes, Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    fn node(&mut self, depth: usize) -> Result<(), Malformed> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(format!("it has more than {NODES_MAX} fields"));
        }
        if depth > DEPTH_MAX {
            return Err(format!("it nests more than {DEPTH_MAX} deep"));
        }
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<Struct, Malformed> {
        let mut fields = Vec::new();
        loop {
            let [kind] = self.array()?;
            if kind == kind::STOP {
                return Ok(Struct(fields));
            }
            let id = self.array().map(i16::from_be_bytes)?;
            fields.push((id, self.value(kind, depth + 1)?));
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Value, Malformed> {
        self.node(depth)?;
        Ok(match kind {
            kind::BOOL => Value::Bool(self.array::<1>()? != [0]),
            kind::BYTE => Value::Int(self.array().map(i8::from_be_bytes)?.into()),
            kind::I16 => Value::Int(self.array().map(i16::from_be_bytes)?.into()),
            kind::I32 => Value::Int(self.array().map(i32::from_be_bytes)?.into()),
            kind::I64 => Value::Int(self.array().map(i64::from_be_bytes)?),
            kind::DOUBLE => Value::Double(self.array().map(f64::from_be_bytes)?),
            kind::TEXT => Value::Text(self.text()?),
            kind::STRUCT => Value::Struct(self.object(depth)?),
            kind::LIST | kind::SET => Value::List(self.list(depth)?),
            kind::MAP => {
                let [key, value] = self.array()?;
                let mut entries = Vec::new();
                for _ in 0..self.length()? {
                    entries.push((self.value(key, depth + 1)?, self.value(value, depth + 1)?));
                }
                Value::Map(entries)
            }
            other => return Err(format!("it holds a value of kind {other}")),
        })
    }

    fn list(&mut self, depth: usize) -> Result<List, Malformed> {
        let [kind] = self.array()?;
        let count = self.length()?;
        let fixed = |width: usize| count.checked_mul(width).ok_or_else(|| format!("it has a list of {count}"));
        let width = match kind {
            kind::BOOL | kind::BYTE => 1,
            kind::I16 => 2,
            kind::I32 => 4,
            kind::I64 | kind::DOUBLE => 8,
            kind::TEXT => {
                let mut ahead = Self { rest: self.rest.clone(), nodes: 0 };
                for _ in 0..count {
                    ahead.text()?;
                }
                let bytes = self.take(self.rest.len() - ahead.rest.len())?;
                return Ok(List::Texts { count, bytes });
            }
            _ => {
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.value(kind, depth + 1)?);
                }
                return Ok(List::Items(items));
            }
        };
        Ok(List::Fixed { width, bytes: self.take(fixed(width)?)? })
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
