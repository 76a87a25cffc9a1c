//! The tables of TPC-H, streamed from their generator: the default data of the demo.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{DatePart, cast, date_part};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use super::{DeltaWriter, SampleError, SampleTable, TableSpec, table_dir};

/// The schema (folder) that holds them.
const SCHEMA: &str = "tpch";
/// Warehouses usually partition orders by year, and TPC-H has no such column, so this one is added.
const ORDER_YEAR: &str = "o_orderyear";

/// Writes all eight tables under `<root>/tpch`: `orders` partitioned by year, `lineitem` by ship mode, `customer` by
/// market segment, the others unpartitioned. At scale 1 there are 8.7 million rows. `written_ms` is the time of the
/// first commits, in milliseconds since the epoch.
///
/// # Errors
/// The folder cannot be written, or holds such tables already.
pub fn tpch(root: &Path, scale: f64, written_ms: i64) -> Result<Vec<SampleTable>, SampleError> {
    let writer = TableSet { root, written_ms };
    Ok(vec![
        writer.write("region", &[], RegionArrow::new(RegionGenerator::new(scale, 1, 1)), Ok)?,
        writer.write("nation", &[], NationArrow::new(NationGenerator::new(scale, 1, 1)), Ok)?,
        writer.write("supplier", &[], SupplierArrow::new(SupplierGenerator::new(scale, 1, 1)), Ok)?,
        writer.write("customer", &["c_mktsegment"], CustomerArrow::new(CustomerGenerator::new(scale, 1, 1)), Ok)?,
        writer.write("part", &[], PartArrow::new(PartGenerator::new(scale, 1, 1)), Ok)?,
        writer.write("partsupp", &[], PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1)), Ok)?,
        writer.write("orders", &[ORDER_YEAR], OrderArrow::new(OrderGenerator::new(scale, 1, 1)), with_order_year)?,
        writer.write("lineitem", &["l_shipmode"], LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)), Ok)?,
    ])
}

struct TableSet<'a> {
    root: &'a Path,
    written_ms: i64,
}

impl TableSet<'_> {
    fn write(
        &self,
        name: &str,
        partition_columns: &[&str],
        batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
        shape: impl Fn(RecordBatch) -> Result<RecordBatch, ArrowError>,
    ) -> Result<SampleTable, SampleError> {
        let mut batches = batches.map(|batch| shape(plain(&batch?)?)).peekable();
        let schema = match batches.peek() {
            Some(Ok(first)) => first.schema(),
            // The stream below returns the error.
            Some(Err(_)) | None => Arc::new(Schema::empty()),
        };
        let spec = TableSpec {
            partition_columns: partition_columns.iter().map(|&c| c.to_owned()).collect(),
            ..TableSpec::new(schema, self.written_ms)
        };
        let mut table = DeltaWriter::create(&table_dir(self.root, SCHEMA, name), spec)?;
        table.append(batches)?;
        Ok(SampleTable { schema: SCHEMA.to_owned(), name: name.to_owned(), rows: table.rows() })
    }
}

/// Converts texts to Delta's type: the generator returns string views.
fn plain(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let (fields, columns): (Vec<_>, Vec<_>) = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| match field.data_type() {
            DataType::Utf8View => {
                let field = Field::new(field.name(), DataType::Utf8, field.is_nullable());
                cast(column, &DataType::Utf8).map(|column| (Arc::new(field), column))
            }
            _ => Ok((field.clone(), column.clone())),
        })
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn with_order_year(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let date = batch.column(schema.index_of("o_orderdate")?);
    let year: ArrayRef = date_part(date, DatePart::Year)?;
    let mut fields: Vec<_> = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(ORDER_YEAR, DataType::Int32, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(year);
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, columns)
}
