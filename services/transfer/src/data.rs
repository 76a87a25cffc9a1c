//! DATA: every unit that is not published yet is read from its files, written to a session of its own, and published.

use std::sync::Arc;

use mms_delta::{ColumnMapping, ShapeText, TableShape};
use mms_maxcompute::tunnel::Tunnel;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{ColumnMappingMode, TargetUnit};
use mms_storage::ObjectStore;

use crate::ends::Ends;
use crate::error::{Result, TransferError};
use crate::publish::{self, Written};
use crate::run::{Published, Run, Target};
use crate::upload;

/// Moves the units that are left. None: it stopped between two units, as it was told.
pub async fn run(
    run: &Run,
    ends: &Ends,
    target: &Target,
    published: &mut Published,
) -> Result<Option<(pb::StepDone, Vec<String>)>> {
    let shape = shape(&run.spec)?;
    let source = Source {
        store: ends.store(&run.spec.location, run.settings.allow_local_files)?,
        tunnel: target.project.tunnel().await?,
        shape,
    };
    let mut lines = vec![format!(
        "reading from storage, publishing {} units through the tunnel",
        run.spec.units.len() - published.len().min(run.spec.units.len())
    )];
    for unit in &run.spec.units {
        if published.contains_key(&unit.index) {
            continue;
        }
        if run.wind_down.is_cancelled() {
            return Ok(None);
        }
        let before = totals(published);
        run.progress.set(before.rows, before.bytes);
        run.progress.set_units(published.len());
        let written = upload::write(run, &source, target, unit, before).await?;
        if lines.len() < 90 {
            lines.push(describe(unit, &written));
            lines.extend(written.notes.iter().map(|note| format!("unit {}: {note}", unit.index)));
        }
        let done = publish::publish(run, target, unit, written).await?;
        published.insert(unit.index, done);
    }
    let all = totals(published);
    run.progress.set(all.rows, all.bytes);
    run.progress.set_units(published.len());
    let done =
        pb::StepDone { step: pb::TaskStep::Data as i32, rows: all.rows, bytes: all.bytes, ..pb::StepDone::default() };
    Ok(Some((done, lines)))
}

/// How the files of a task's table are read.
fn shape(spec: &pb::TaskSpec) -> Result<TableShape> {
    let Some(pb::task_spec::Format::Delta(delta)) = &spec.format else {
        return Err(TransferError::Plan(
            "the task says no format of the table's files that this worker knows".to_owned(),
        ));
    };
    let column_mapping = match delta.column_mapping() {
        ColumnMappingMode::None => ColumnMapping::None,
        ColumnMappingMode::Name => ColumnMapping::Name,
        ColumnMappingMode::Id => ColumnMapping::Id,
        ColumnMappingMode::Unspecified => {
            return Err(TransferError::Plan("the task does not say how columns of files are found".to_owned()));
        }
    };
    let text = ShapeText {
        root: spec.location.clone(),
        column_mapping,
        partition_columns: delta.partition_columns.clone(),
        schema: delta.schema_json.clone(),
    };
    Ok(TableShape::read(text)?)
}

/// Where rows come from, and the way they go.
pub struct Source {
    /// The store that the table lies in.
    pub store: Arc<dyn ObjectStore>,
    /// The tunnel of the target's project.
    pub tunnel: Tunnel,
    /// What is needed to read its files.
    pub shape: TableShape,
}

/// Sums over published units.
pub fn totals(published: &Published) -> pb::UnitResult {
    let zero = pb::UnitResult::default();
    published.values().fold(zero, |sum, unit| pb::UnitResult {
        unit_index: 0,
        rows: sum.rows + unit.rows,
        bytes: sum.bytes + unit.bytes,
    })
}

fn describe(unit: &TargetUnit, written: &Written) -> String {
    let wire: u64 = written.blocks.iter().map(|block| block.wire_bytes).sum();
    format!("unit {}: {} rows in {} blocks, {wire} bytes sent", unit.index, written.rows, written.blocks.len())
}
