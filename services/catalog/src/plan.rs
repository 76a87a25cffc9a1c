//! Plans the migration of one table: pins the source at a version, maps it to a target definition, collects findings, and
//! prepares the stream of its files by target unit. Never writes to the source or the target; with [`Claim::Take`] it records the
//! claim of the target table in this service's own store.

mod changed;
mod chosen;
mod definition;
mod emit;
pub mod finding;
mod gone;
mod message;
mod past;
mod rules;
mod target;
mod units;

use std::sync::Arc;

use mms_databricks::TableInfo;
use mms_delta::{DeltaError, Snapshot};
use mms_mapping::{NONCE_PROPERTY, SourceTable};
use mms_maxcompute::metadata::{TableInfo as TargetInfo, state_digest};
use mms_maxcompute::name::ProjectName;
use mms_proto::FindingReason;
use mms_proto::catalog::v1 as pb;
use mms_store::Read;

pub use emit::{Files, Out};
pub use rules::Ask;

use crate::convert;
use crate::core::Core;
use crate::error::{CatalogError, Result};
use crate::record::{Schema, Table, Target};
use crate::scan::facts;
use crate::source::Source;
use crate::store::{SCHEMAS, SUMMARIES, TABLES, TableKey};
use crate::survey::Survey;
use crate::target as claims;
use crate::{forget, key};
use chosen::Chosen;
use finding::{Note, blocks};
use units::Units;

/// A planned table, and the files to send after it.
pub struct Planned {
    /// The first message of the answer.
    pub table: pb::PinnedTable,
    /// The files to stream; None when a blocker forbids the move.
    pub files: Option<Files>,
}

/// Whether the plan claims its target table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Does not claim it: the caller only wants to see the plan.
    Look,
    /// Claims it: a job will write rows there.
    Take,
}

/// Plans a table at its newest version, or at `ask.version`.
pub async fn plan(core: &Core, table_key: &TableKey, ask: &Ask, claim: Claim) -> Result<Planned> {
    let name = key::table_name(table_key)?.to_string();
    let (table, schema) = known(core, table_key)?;
    let source = core.sources.get(&table_key.0).await?;
    let known = core.store.read(|read| read.get(&SUMMARIES, &table_key.0))?.unwrap_or_default();
    if !forget::is_of(&known, &source.uid) {
        // The record belongs to a deleted data source that had the same id.
        return Err(CatalogError::NotFound(name));
    }
    let info = match source.prompt.get_table(&source.catalog, &table_key.1, &table_key.2).await {
        Err(error) if error.is_not_found() => return Err(CatalogError::NotFound(format!("{name} at the source"))),
        other => other?,
    };
    let refused = refuse(&info, &source);
    if !refused.is_empty() {
        let findings = refused.iter().map(|note| note.to_pb(&name)).collect();
        let location = info.storage_location.clone().unwrap_or_default();
        let plan = pb::TablePlan { table: name, findings, ..pb::TablePlan::default() };
        let table = pb::PinnedTable { plan: Some(plan), location, ..pb::PinnedTable::default() };
        return Ok(Planned { table, files: None });
    }
    let (source, snapshot) = match source.open(&info, ask.version).await {
        // The data source may have been replaced or its credentials corrected since this session was opened: retry once with a
        // new one.
        Err(CatalogError::Delta(DeltaError::CredentialExpired { .. } | DeltaError::AccessDenied { .. })) => {
            let source = core.sources.instead_of(&table_key.0, &source).await?;
            let snapshot = source.open(&info, ask.version).await?;
            (source, snapshot)
        }
        opened => (source, opened?),
    };
    let survey = core.surveys.for_plan(&snapshot).await?;
    let work = Work { core, name, key: table_key, table, schema, source, info, ask, claim };
    Box::pin(work.finish(snapshot, survey)).await
}

fn known(core: &Core, table_key: &TableKey) -> Result<(Table, Schema)> {
    let name = key::table_name(table_key)?;
    let found = core.store.read(|read| {
        let table = read.get(&TABLES, table_key)?.filter(|table| table.delete_time_ms == 0);
        let schema = read.get(&SCHEMAS, &(table_key.0.clone(), table_key.1.clone()))?;
        Ok::<_, CatalogError>(table.map(|table| (table, schema.unwrap_or_default())))
    })?;
    found.ok_or_else(|| CatalogError::NotFound(name.to_string()))
}

/// Blockers that are known before the files are read: kind, format, row filters and masks, and no access to the storage.
fn refuse(info: &TableInfo, source: &Source) -> Vec<Note> {
    use pb::TableKind as K;
    let mut notes = Vec::new();
    let kind = facts::kind_of(&info.table_type);
    let word = info.table_type.as_str();
    match kind {
        K::Managed | K::External => {}
        K::ShallowClone => notes.push(Note::blocker(
            FindingReason::ShallowCloneUnsupported,
            format!("the table is a {word}: its files lie in other tables' folders"),
            "make a deep clone of it and move that",
        )),
        _ => notes.push(Note::blocker(
            FindingReason::KindUnsupported,
            format!("the table is a {word}, which has no files of its own to read"),
            "create a Delta table from it (CREATE TABLE ... AS SELECT) and move that, or leave it out",
        )),
    }
    let format = info.data_source_format.as_deref().unwrap_or("of no known format");
    if notes.is_empty() && !format.eq_ignore_ascii_case("delta") {
        notes.push(Note::blocker(
            FindingReason::FormatUnsupported,
            format!("the table is {format}, and this version reads DELTA"),
            "convert it (CONVERT TO DELTA, or CREATE TABLE ... AS SELECT), or leave it out",
        ));
    }
    let by_files = notes.is_empty();
    if info.is_governed_by_row() {
        notes.push(Note::blocker(
            FindingReason::RowFilterOrMask,
            "the table has a row filter or a column mask, which reading its files would bypass",
            "move a table created from the rows and values that may be seen, or remove the filter and the masks",
        ));
    }
    if by_files && let Err(why) = source.can_read(info) {
        let text = format!("the table's files cannot be read: {why}");
        let remedy = "add a storage access to the data source for the location, or one without a prefix";
        notes.push(Note::blocker(FindingReason::StorageUnreadable, text, remedy));
    }
    notes
}

/// The inputs of one plan.
struct Work<'a> {
    core: &'a Core,
    name: String,
    key: &'a TableKey,
    table: Table,
    schema: Schema,
    source: Arc<Source>,
    info: TableInfo,
    ask: &'a Ask,
    claim: Claim,
}

impl Work<'_> {
    async fn finish(self, snapshot: Snapshot, survey: Arc<Survey>) -> Result<Planned> {
        let (totals, mut notes) = (&survey.totals, survey.notes.clone());
        let mut source = definition::source_table(self.key, &self.info, &snapshot, totals)
            .map_err(|error| self.unusable(error.to_string()))?;
        let chosen = Chosen::of(&self.ask.partitions, &self.ask.partition_filter, &source, totals, &mut notes);
        source.partition_count = Some(chosen.count(totals));
        let all = chosen.totals(totals);
        let (mapped, there) = self.map(&source, &mut notes).await?;
        let mut units = mapped.partitions.as_ref().map(|mapping| Units::of(mapping, totals, &chosen, &mut notes));
        let mut findings: Vec<_> = mapped.findings.iter().map(|found| finding::mapped(found, &self.name)).collect();
        findings.extend(notes.iter().map(|note| note.to_pb(&self.name)));
        if let Some(definition) = mapped.definition.as_ref().filter(|_| !blocks(&findings))
            && let Some(other) = self.taken(&definition.target.to_string().to_lowercase()).await?
        {
            let other = key::table_name(&other)?;
            let note = Note::blocker(
                FindingReason::TargetTaken,
                format!(
                    "{other} goes to {} too, and a target table takes the rows of one source table only",
                    definition.target
                ),
                "give one of them another target",
            );
            findings.push(note.to_pb(&self.name));
        }
        let target = mapped.definition.as_ref().map(|definition| definition::target(definition, &mapped));
        let free = !blocks(&findings) && target.is_some();
        let target_unchanged = free && self.unchanged(there.as_ref()).await?;
        let mut rules_digest = Vec::new();
        let mut gone = Vec::new();
        if let (true, Some(target), Some(mapping), Some(units)) = (free, &target, &mapped.partitions, &mut units) {
            rules_digest =
                past::rules_digest(target, mapping, &snapshot).map_err(|error| self.unusable(error.to_string()))?;
            let past = past::Past { work: &self, snapshot: &snapshot, totals, mapping, target, rules: &rules_digest };
            let mut notes = Vec::new();
            past.mark(units, target_unchanged, &mut notes).await?;
            gone = past.gone(units, there.as_ref(), &mut notes).await?;
            findings.extend(notes.iter().map(|note| note.to_pb(&self.name)));
        }
        let plan = pb::TablePlan {
            table: self.name.clone(),
            version: Some(convert::version_to(&facts::version_of(&snapshot), snapshot.table_id())),
            target: target.filter(|_| free),
            findings,
            file_count: facts::count(all.files),
            size_bytes: facts::count(all.bytes),
            row_count: all.rows.map(facts::count),
            unit_count: units.as_ref().map_or(0, |units| facts::count(units.len() as u64)),
        };
        let table = pb::PinnedTable {
            plan: Some(plan),
            location: snapshot.shape().root().to_string(),
            format: Some(pb::pinned_table::Format::Delta(definition::delta(&snapshot))),
            target_unchanged,
            rules_digest: rules_digest.into(),
            gone,
            read_path: self.source.read_path as i32,
        };
        Ok(Planned { table, files: units.filter(|_| free).map(|units| Files { snapshot, survey, units }) })
    }

    fn unusable(&self, what: String) -> CatalogError {
        CatalogError::Unusable { data_source: key::source_name(&self.key.0), what }
    }

    async fn map(
        &self,
        source: &SourceTable,
        notes: &mut Vec<Note>,
    ) -> Result<(mms_mapping::TablePlan, Option<TargetInfo>)> {
        let unusable = |what: String| self.unusable(what);
        let target = &self.source.target;
        let schema = Target {
            project: self.schema.target_project.clone(),
            schema: self.schema.target_schema.clone(),
            table: String::new(),
        };
        let project = rules::project(self.ask, &self.table.target, &schema, target);
        let allowed = rules::may_use(project, target);
        if !allowed {
            notes.push(Note::blocker(
                FindingReason::ProjectNotAllowed,
                format!("project {project} is not one of the data source"),
                "name it among the data source's projects, or choose another target",
            ));
        }
        // Projects that the data source does not name are never queried.
        let has_schemas = !allowed || self.source.has_schemas(project).await?;
        let project = ProjectName::new(project).map_err(|error| unusable(error.to_string()))?;
        let settings = &self.source.settings;
        let mut rules = rules::rules(
            &self.source.uid,
            &self.key.1,
            project,
            has_schemas,
            self.ask,
            &self.table.target,
            &schema,
            settings,
            notes,
        )
        .map_err(|error| unusable(error.to_string()))?;
        let mut plan = mms_mapping::plan_table(source, &rules);
        let Some(definition) = plan.definition.as_ref().filter(|_| allowed) else { return Ok((plan, None)) };
        let there = self.source.target(&definition.target).await?;
        if let Some(there) = &there {
            if target::keep_types(&mut rules, definition, there, self.ask.policy) {
                plan = mms_mapping::plan_table(source, &rules);
            }
            if let Some(definition) = &plan.definition {
                target::judge(definition, there, self.ask.policy, notes);
            }
        }
        Ok((plan, there))
    }

    /// Whether the target table is as the last job left it, by the digest of its state. A table that a person marked as migrated
    /// by hand has no digest: it counts as unchanged as long as the target table exists.
    async fn unchanged(&self, there: Option<&TargetInfo>) -> Result<bool> {
        let Some(there) = there else { return Ok(false) };
        let looked = &self.table.target_digest;
        if looked.is_empty() {
            return Ok(self.table.migrated.as_ref().is_some_and(|migrated| migrated.target.is_none()));
        }
        let partitions = self.source.target_partitions(there).await?;
        Ok(state_digest(there, &partitions, NONCE_PROPERTY) == looked.as_slice())
    }

    async fn taken(&self, target: &str) -> Result<Option<TableKey>> {
        let (target, own) = (target.to_owned(), self.key.clone());
        match self.claim {
            Claim::Look => self.core.store.read(|read| claims::taken_by(read, &target, &own)),
            Claim::Take => self.core.store.commit_together(move |tx| claims::claim(tx, &target, &own)).await,
        }
    }
}
