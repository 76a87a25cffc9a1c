//! What a job or timer moves, as options of a command or as a whole JobSpec in a file. Owns how both are written;
//! checks nothing that the service checks.

use std::path::PathBuf;

use clap::Args;
use mms_proto::scheduler::v1::job_spec::Scope;
use mms_proto::scheduler::v1::{DroppedPolicy, IncrementalMode, JobSpec, MigrationContent, PartitionsScope};
use mms_proto::types::v1::{SourceTable, TableOptions};

use crate::{names, scope, spec};

/// The tables to move, or a whole spec.
#[derive(Debug, Args)]
pub struct Asked {
    /// Only this schema; can be repeated.
    #[arg(long = "schema", value_name = "SCHEMA", conflicts_with = "tables")]
    schemas: Vec<String>,
    /// Only this table, SCHEMA.TABLE, the schema up to the first dot; can be repeated.
    #[arg(long = "table", value_name = "TABLE", value_parser = scope::source_table)]
    tables: Vec<SourceTable>,
    /// Only this partition, SCHEMA.TABLE/KEY=VALUE,..., keys and values percent-encoded; can be repeated.
    #[arg(long = "partition", value_name = "PARTITION", value_parser = partition, conflicts_with_all = ["schemas", "tables"])]
    partitions: Vec<(SourceTable, String)>,
    /// Only the partitions of a table for which an expression is true, "SCHEMA.TABLE: EXPRESSION"; can be repeated.
    #[arg(long = "partition-filter", value_name = "FILTER", value_parser = filter)]
    filters: Vec<(SourceTable, String)>,
    /// Also move tables that are already at the target.
    #[arg(long)]
    force: bool,
    /// Of tables that were moved before only the target partitions that changed since.
    #[arg(long, conflicts_with = "force")]
    changed: bool,
    /// Drop target partitions whose source is gone. Needs role ADMIN.
    #[arg(long, conflicts_with_all = ["partitions", "filters"])]
    drop_gone: bool,
    /// Write nothing: count the rows at the target and compare them with the source.
    #[arg(long, conflicts_with_all = ["changed", "drop_gone", "force"])]
    verify_only: bool,
    /// A whole JobSpec, YAML or JSON; `-` is stdin.
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with_all = ["schemas", "tables", "partitions", "filters", "force", "changed", "drop_gone", "verify_only"]
    )]
    file: Option<PathBuf>,
}

impl Asked {
    /// The spec for a source (`dataSources/…`).
    pub fn spec(self, source: &str) -> anyhow::Result<JobSpec> {
        if let Some(file) = self.file {
            return Ok(spec::read_as::<JobSpec>(&file)?.message);
        }
        let named = self.partitions.iter().map(|(table, partition)| names::partition(source, table, partition));
        let scope = match self.partitions.is_empty() {
            true => scope::of(&self.schemas, &self.tables),
            false => Scope::Partitions(PartitionsScope { partitions: named.collect::<anyhow::Result<_>>()? }),
        };
        let options = self.filters.into_iter().map(|(table, partition_filter)| TableOptions {
            table: Some(table),
            partition_filter,
            ..TableOptions::default()
        });
        let mut spec =
            JobSpec { scope: Some(scope), force: self.force, table_options: options.collect(), ..JobSpec::default() };
        if self.changed {
            spec.set_incremental(IncrementalMode::ChangedUnits);
        }
        if self.drop_gone {
            spec.set_dropped_policy(DroppedPolicy::Drop);
        }
        if self.verify_only {
            spec.set_content(MigrationContent::VerificationOnly);
        }
        Ok(spec)
    }
}

/// Parses `SCHEMA.TABLE/KEY=VALUE,…`.
fn partition(text: &str) -> Result<(SourceTable, String), String> {
    let (table, partition) = text.split_once('/').ok_or("write SCHEMA.TABLE/KEY=VALUE,KEY=VALUE")?;
    Ok((scope::source_table(table)?, partition.to_owned()))
}

/// Parses `SCHEMA.TABLE: EXPRESSION`.
fn filter(text: &str) -> Result<(SourceTable, String), String> {
    let (table, filter) = text.split_once(':').ok_or("write \"SCHEMA.TABLE: EXPRESSION\"")?;
    Ok((scope::source_table(table.trim())?, filter.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        asked: Asked,
    }

    #[test]
    fn partitions_and_filters_are_as_the_contract_has_them() {
        let spec = |line: &[&str]| {
            Line::try_parse_from([&["x"], line].concat()).unwrap().asked.spec("dataSources/lake").unwrap()
        };
        let Some(Scope::Partitions(scope)) = spec(&["--partition", "s.t 1/y=2024,m=01"]).scope else {
            panic!("a scope")
        };
        assert_eq!(scope.partitions, ["dataSources/lake/schemas/s/tables/t%201/partitions/y=2024,m=01"]);
        let spec = spec(&["--table", "s.t", "--partition-filter", "s.t: y >= 2023"]);
        assert_eq!(spec.table_options[0].partition_filter, "y >= 2023");
        assert!(Line::try_parse_from(["x", "--partition", "s.t"]).is_err());
    }

    #[test]
    fn what_changed_what_is_gone_and_what_is_only_compared_is_as_the_contract_has_it() {
        let spec = |line: &[&str]| {
            Line::try_parse_from([&["x"], line].concat()).map(|line| line.asked.spec("dataSources/lake").unwrap())
        };
        let changed = spec(&["--changed", "--drop-gone"]).unwrap();
        assert_eq!(
            (changed.incremental(), changed.dropped_policy()),
            (IncrementalMode::ChangedUnits, DroppedPolicy::Drop)
        );
        assert_eq!(spec(&["--verify-only"]).unwrap().content(), MigrationContent::VerificationOnly);
        assert_eq!(spec(&[]).unwrap(), JobSpec { scope: Some(scope::of(&[], &[])), ..JobSpec::default() });
        for odd in [["--changed", "--force"], ["--verify-only", "--changed"]] {
            assert!(spec(&odd).is_err(), "{odd:?}");
        }
    }
}
