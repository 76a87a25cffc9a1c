//! Reads calls as trees of fields with Apache's Thrift crate, and writes answers with it.

use std::collections::BTreeMap;

use thrift::TConfiguration;
use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TFieldIdentifier, TInputProtocol, TListIdentifier, TMapIdentifier,
    TMessageIdentifier, TMessageType, TOutputProtocol, TStructIdentifier, TType,
};

/// The most entries of a list or map.
const ENTRIES_MAX: usize = 10_000;
const TEXT_MAX: usize = 16 << 20;
const DEPTH_MAX: i32 = 16;

/// The fields of a received struct. Lists and maps are skipped.
pub type Fields = BTreeMap<i16, Field>;

#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    Bool(bool),
    Int(i64),
    Text(Vec<u8>),
    Struct(Fields),
}

/// A call: its method, number and arguments.
pub struct Call {
    pub method: String,
    pub sequence: i32,
    pub arguments: Fields,
}

pub fn read(body: &[u8]) -> thrift::Result<Call> {
    let config =
        TConfiguration::builder().max_container_size(Some(ENTRIES_MAX)).max_string_size(Some(TEXT_MAX)).build()?;
    let mut protocol = TBinaryInputProtocol::with_config(body, true, config);
    let head = protocol.read_message_begin()?;
    if head.message_type != TMessageType::Call {
        return Err(format!("a {:?} is no call", head.message_type).into());
    }
    let mut arguments = fields(&mut protocol, 0)?;
    let Some(Field::Struct(arguments)) = arguments.remove(&1) else {
        return Err("the call has no request".to_owned().into());
    };
    Ok(Call { method: head.name, sequence: head.sequence_number, arguments })
}

fn fields(protocol: &mut impl TInputProtocol, depth: i32) -> thrift::Result<Fields> {
    if depth > DEPTH_MAX {
        return Err("structs nest too deep".to_owned().into());
    }
    protocol.read_struct_begin()?;
    let mut fields = Fields::new();
    loop {
        let head = protocol.read_field_begin()?;
        let field = match head.field_type {
            TType::Stop => return Ok(fields),
            TType::Bool => Field::Bool(protocol.read_bool()?),
            TType::I08 => Field::Int(protocol.read_i8()?.into()),
            TType::I16 => Field::Int(protocol.read_i16()?.into()),
            TType::I32 => Field::Int(protocol.read_i32()?.into()),
            TType::I64 => Field::Int(protocol.read_i64()?),
            TType::String => Field::Text(protocol.read_bytes()?),
            TType::Struct => Field::Struct(self::fields(protocol, depth + 1)?),
            other => {
                protocol.skip(other)?;
                protocol.read_field_end()?;
                continue;
            }
        };
        protocol.read_field_end()?;
        fields.insert(head.id.unwrap_or_default(), field);
    }
}

/// Access to fields by id and type.
pub trait Look {
    fn object(&self, id: i16) -> Option<&Fields>;
    fn int(&self, id: i16) -> Option<i64>;
    fn flag(&self, id: i16) -> bool;
    fn bytes(&self, id: i16) -> Option<&[u8]>;
}

impl Look for Fields {
    fn object(&self, id: i16) -> Option<&Fields> {
        if let Some(Field::Struct(fields)) = self.get(&id) { Some(fields) } else { None }
    }

    fn int(&self, id: i16) -> Option<i64> {
        if let Some(Field::Int(value)) = self.get(&id) { Some(*value) } else { None }
    }

    fn flag(&self, id: i16) -> bool {
        self.get(&id) == Some(&Field::Bool(true))
    }

    fn bytes(&self, id: i16) -> Option<&[u8]> {
        if let Some(Field::Text(bytes)) = self.get(&id) { Some(bytes) } else { None }
    }
}

/// A value of an answer.
#[derive(Debug, Clone)]
pub enum Out {
    Bool(bool),
    I32(i32),
    I64(i64),
    Text(Vec<u8>),
    Struct(Vec<(i16, Out)>),
    /// A list of structs.
    Structs(Vec<Out>),
    /// A map from texts to structs.
    Map(Vec<(String, Out)>),
    /// A map from texts to texts.
    Texts(Vec<(String, String)>),
}

impl Out {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into().into_bytes())
    }

    fn kind(&self) -> TType {
        match self {
            Self::Bool(_) => TType::Bool,
            Self::I32(_) => TType::I32,
            Self::I64(_) => TType::I64,
            Self::Text(_) => TType::String,
            Self::Struct(_) => TType::Struct,
            Self::Structs(_) => TType::List,
            Self::Map(_) | Self::Texts(_) => TType::Map,
        }
    }

    fn write(&self, protocol: &mut impl TOutputProtocol) -> thrift::Result<()> {
        let count = |count: usize| i32::try_from(count).map_err(|_| thrift::Error::from("too many entries".to_owned()));
        match self {
            Self::Bool(value) => protocol.write_bool(*value),
            Self::I32(value) => protocol.write_i32(*value),
            Self::I64(value) => protocol.write_i64(*value),
            Self::Text(value) => protocol.write_bytes(value),
            Self::Struct(fields) => {
                protocol.write_struct_begin(&TStructIdentifier::new("struct"))?;
                for (id, value) in fields {
                    protocol.write_field_begin(&TFieldIdentifier::new("field", value.kind(), *id))?;
                    value.write(protocol)?;
                    protocol.write_field_end()?;
                }
                protocol.write_field_stop()?;
                protocol.write_struct_end()
            }
            Self::Structs(items) => {
                protocol.write_list_begin(&TListIdentifier::new(TType::Struct, count(items.len())?))?;
                items.iter().try_for_each(|item| item.write(protocol))?;
                protocol.write_list_end()
            }
            Self::Map(entries) => {
                let head = TMapIdentifier::new(TType::String, TType::Struct, count(entries.len())?);
                protocol.write_map_begin(&head)?;
                for (key, value) in entries {
                    protocol.write_string(key)?;
                    value.write(protocol)?;
                }
                protocol.write_map_end()
            }
            Self::Texts(entries) => {
                let head = TMapIdentifier::new(TType::String, TType::String, count(entries.len())?);
                protocol.write_map_begin(&head)?;
                for (key, value) in entries {
                    protocol.write_string(key)?;
                    protocol.write_string(value)?;
                }
                protocol.write_map_end()
            }
        }
    }
}

/// Serializes the answer to a call.
pub fn reply(method: &str, sequence: i32, answer: Out) -> thrift::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut protocol = TBinaryOutputProtocol::new(&mut bytes, true);
    protocol.write_message_begin(&TMessageIdentifier::new(method, TMessageType::Reply, sequence))?;
    Out::Struct(vec![(0, answer)]).write(&mut protocol)?;
    protocol.write_message_end()?;
    protocol.flush()?;
    Ok(bytes)
}
