//! DATA: reads every unit that is not published yet, writes it to a session of its own, and publishes it.

use std::sync::Arc;

use mms_maxcompute::tunnel::Codec;
use mms_proto::scheduler::v1 as pb;
use mms_proto::types::v1::{TargetIdentity, TargetUnit};

use crate::context::{Published, Report, Run};
use crate::ends::{Ends, Sessions};
use crate::error::Result;
use crate::publish::{self, Written};
use crate::source::{Origin, Source, shape};
use crate::target::Target;
use crate::upload;
use crate::values::TUNNEL_YEARS;
use crate::way::Way;

/// Lines of the task's log after which units are moved without further lines.
const LINES_MAX: usize = 90;

/// Moves the remaining units into the table of this identity. None: it was told to wind down and stopped between two units.
pub async fn run(
    run: &Run,
    (sessions, ends): (&Arc<Sessions>, &Arc<Ends>),
    target: &Target,
    identity: &TargetIdentity,
    published: &mut Published,
) -> Result<Option<Report>> {
    let shape = shape(&run.spec)?;
    let source = Source {
        times: shape.time_columns(),
        origin: Origin::open(run, (sessions, ends), &shape).await?,
        shape,
        tunnel: target.project.tunnel().await?,
        storage: target.project.storage_api().await?,
    };
    let mut lines = vec![format!(
        "reading {}, publishing {} units through the tunnel, as long as no timestamp lies outside {TUNNEL_YEARS}",
        source.origin.told(),
        run.spec.units.len() - published.len().min(run.spec.units.len()),
    )];
    let (mut codec, mut outcomes, mut way) = (None, Vec::new(), Way::default());
    let left: Vec<&TargetUnit> = run.spec.units.iter().filter(|unit| !published.contains_key(&unit.index)).collect();
    for (number, unit) in left.iter().copied().enumerate() {
        if run.wind_down.is_cancelled() {
            return Ok(None);
        }
        let before = totals(published);
        run.progress.set(before.rows, before.bytes);
        run.progress.set_units(published.len());
        let written = upload::write(run, &source, target, unit, before, &mut way).await?;
        if lines.len() < LINES_MAX {
            lines.push(describe(unit, &written));
            lines.extend(written.notes.iter().map(|note| format!("unit {}: {note}", unit.index)));
        }
        let (now, line) = run.settings.codecs.told(source.tunnel.endpoint());
        if codec != Some(now) && lines.len() < LINES_MAX {
            lines.push(line);
        }
        codec = Some(now);
        let untold = publish::publish(run, target, identity, unit, written).await?;
        let done = if number + 1 < left.len() {
            untold.tell(run).await?
        } else {
            let (done, outcome) = untold.told_with(run);
            outcomes.push(outcome);
            done
        };
        published.insert(unit.index, done);
    }
    if codec.is_some() {
        lines.push(run.settings.codecs.told(source.tunnel.endpoint()).1);
        lines.dedup();
    }
    lines.extend(source.origin.renewals());
    let all = totals(published);
    run.progress.set(all.rows, all.bytes);
    run.progress.set_units(published.len());
    let done =
        pb::StepDone { step: pb::TaskStep::Data as i32, rows: all.rows, bytes: all.bytes, ..pb::StepDone::default() };
    Ok(Some(Report { outcomes, ..Report::of(done, lines) }))
}

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
    let packed = written.blocks.iter().filter(|block| block.codec != Codec::None).count();
    let (unit, rows, blocks) = (unit.index, written.rows, written.blocks.len());
    let way = &written.way;
    format!("unit {unit}: {rows} rows in {blocks} blocks, {packed} of them compressed, {wire} bytes sent {way}")
}
