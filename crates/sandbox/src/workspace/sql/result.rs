//! A result, stored in pieces of a fixed number of rows, and the forms in which it is returned.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use lz4_flex::frame::FrameEncoder;

use super::query::Sink;
use super::service::RESULT_MAX;
use super::statement::Refused;
use super::thrift::Out;

/// A complete result.
#[derive(Debug)]
pub struct Collected {
    pub schema: SchemaRef,
    pub pieces: Vec<Piece>,
    pub rows: u64,
    /// The size of the pieces in memory, in bytes.
    pub bytes: usize,
    piece_rows: usize,
}

#[derive(Debug)]
pub struct Piece {
    pub first_row: u64,
    pub batch: RecordBatch,
}

impl Collected {
    pub fn new(piece_rows: usize) -> Self {
        let schema = SchemaRef::new(arrow::datatypes::Schema::empty());
        Self { schema, pieces: Vec::new(), rows: 0, bytes: 0, piece_rows: piece_rows.max(1) }
    }

    /// Drops rows at the end, if there are more than these.
    pub fn cut(&mut self, rows: u64) {
        if rows == 0 || rows >= self.rows {
            return;
        }
        self.rows -= rows;
        self.pieces.retain(|piece| piece.first_row < self.rows);
        if let Some(last) = self.pieces.last_mut() {
            let left = usize::try_from(self.rows - last.first_row).unwrap_or(usize::MAX);
            last.batch = last.batch.slice(0, left.min(last.batch.num_rows()));
        }
    }

    /// The index of the piece that holds a row.
    pub fn piece_of(&self, row: u64) -> usize {
        self.pieces.partition_point(|piece| piece.first_row + piece.batch.num_rows() as u64 <= row)
    }

    /// The schema as an IPC message.
    pub fn schema_message(&self) -> Result<Vec<u8>, ArrowError> {
        Ok(StreamWriter::try_new(Vec::new(), &self.schema)?.get_ref().clone())
    }

    /// A batch as an IPC message, without the schema.
    pub fn message(&self, batch: &RecordBatch, lz4: bool) -> Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        let schema = writer.get_ref().len();
        writer.write(batch)?;
        pack(&writer.get_ref()[schema..], lz4)
    }

    /// A batch as a result file, which is a complete stream.
    pub fn file(&self, batch: &RecordBatch, lz4: bool) -> Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        writer.write(batch)?;
        pack(&writer.into_inner()?, lz4)
    }

    /// The fields of `GetResultSetMetadata` except its status.
    pub fn metadata(&self, links: bool, lz4: bool) -> Result<Vec<(i16, Out)>, ArrowError> {
        let columns = self.schema.fields().iter().zip(1..).map(|(field, position)| {
            let (kind, decimal) = kind(field.data_type());
            let mut plain = vec![(1, Out::I32(kind))];
            if let Some((precision, scale)) = decimal {
                let number = |name: &str, value: i32| (name.to_owned(), Out::Struct(vec![(1, Out::I32(value))]));
                let qualifiers = Out::Map(vec![number("precision", precision.into()), number("scale", scale.into())]);
                plain.push((2, Out::Struct(vec![(1, qualifiers)])));
            }
            let entry = Out::Struct(vec![(1, Out::Struct(plain))]);
            Out::Struct(vec![
                (1, Out::text(field.name())),
                (2, Out::Struct(vec![(1, Out::Structs(vec![entry]))])),
                (3, Out::I32(position)),
            ])
        });
        let columns = Out::Structs(columns.collect());
        Ok(vec![
            (2, Out::Struct(vec![(1, columns)])),
            (1281, Out::I32(if links { 3 } else { 0 })),
            (1282, Out::Bool(lz4)),
            (1283, Out::Text(self.schema_message()?)),
        ])
    }
}

impl Sink for Collected {
    fn begin(&mut self, schema: SchemaRef) -> Result<(), Refused> {
        self.schema = schema;
        Ok(())
    }

    fn batch(&mut self, batch: RecordBatch) -> Result<(), Refused> {
        for at in (0..batch.num_rows()).step_by(self.piece_rows) {
            let batch = batch.slice(at, self.piece_rows.min(batch.num_rows() - at));
            let (first_row, rows) = (self.rows, batch.num_rows() as u64);
            self.pieces.push(Piece { first_row, batch });
            self.rows += rows;
        }
        self.bytes += batch.get_array_memory_size();
        if self.bytes > RESULT_MAX {
            let text = format!("the sandbox keeps a result of {RESULT_MAX} bytes at most");
            return Err(Refused::new("UNSUPPORTED_FEATURE", "0A000", text));
        }
        Ok(())
    }
}

fn pack(bytes: &[u8], lz4: bool) -> Result<Vec<u8>, ArrowError> {
    if !lz4 {
        return Ok(bytes.to_vec());
    }
    let mut frame = FrameEncoder::new(Vec::new());
    frame.write_all(bytes)?;
    frame.finish().map_err(|error| ArrowError::IpcError(error.to_string()))
}

/// The protocol's number of a type; for a decimal also precision and scale.
fn kind(data_type: &DataType) -> (i32, Option<(u8, i8)>) {
    let kind = match data_type {
        DataType::Boolean => 0,
        DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32 => 3,
        DataType::Int64 => 4,
        DataType::Float32 => 5,
        DataType::Float64 => 6,
        DataType::Timestamp(..) => 8,
        DataType::Binary => 9,
        DataType::List(_) => 10,
        DataType::Map(..) => 11,
        DataType::Struct(_) => 12,
        DataType::Decimal128(precision, scale) => return (15, Some((*precision, *scale))),
        DataType::Null => 16,
        DataType::Date32 => 17,
        _ => 7,
    };
    (kind, None)
}
