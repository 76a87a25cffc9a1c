//! Selects the source partitions that a job takes: those it names and, of these, those its filter keeps. Values are compared by
//! the type of their column. Pure. Never guesses: a value or name it cannot interpret becomes a blocker.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use mms_delta::{TableTotals, Totals};
use mms_expr::{Expr, Kind, Literal, Row, Schema, Value, folded};
use mms_mapping::{SourceTable, SparkType, canonical_text};
use mms_proto::FindingReason;
use mms_proto::name::{PartitionId, Segment};
use mms_proto::types::v1::Severity;

use super::finding::Note;

/// How many partitions one finding lists.
const TOLD: usize = 10;

/// The selected partitions of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Whether each source partition is selected, indexed by the partition's number. None if all are.
    partitions: Option<Vec<bool>>,
}

impl Chosen {
    /// Selects by partition names and a filter; either may be empty, and both empty select all. Findings are added to `notes`.
    pub fn of(
        names: &[String],
        filter: &str,
        source: &SourceTable,
        totals: &TableTotals,
        notes: &mut Vec<Note>,
    ) -> Self {
        if names.is_empty() && filter.is_empty() {
            return Self::default();
        }
        let columns = Columns::of(source);
        let mut taken = vec![false; totals.numbers()];
        let mut rows = Vec::new();
        for (number, partition) in totals.partitions() {
            match columns.canonical(&partition.values) {
                Ok(values) => rows.push((number, values)),
                Err(why) => notes.push(blocker(
                    FindingReason::PartitionValueUnsupported,
                    why,
                    "correct the value at the source",
                )),
            }
        }
        if !names.is_empty() {
            let wanted = columns.wanted(names, notes);
            let there: BTreeSet<&Values> = rows.iter().map(|(_, values)| values).collect();
            let gone: Vec<&str> =
                wanted.iter().filter(|(values, _)| !there.contains(values)).map(|(_, name)| *name).collect();
            if !gone.is_empty() {
                let text = format!("{} of the named partitions are not in the table: {}", gone.len(), shown(&gone));
                notes.push(blocker(FindingReason::PartitionUnknown, text, "correct the names, or leave them out"));
            }
            rows.retain(|(_, values)| wanted.contains_key(values));
        }
        if !filter.is_empty() {
            match columns.bound(filter) {
                Ok(expr) => rows.retain(|(_, values)| expr.eval(&Partition { columns: &columns, values }).is_true()),
                Err(why) => {
                    notes.push(blocker(FindingReason::PartitionFilterInvalid, why, "correct partition_filter"));
                    return Self { partitions: Some(taken) };
                }
            }
            if rows.is_empty() {
                let text = format!("`{filter}` keeps none of the table's {} partitions", totals.partitions().len());
                let remedy = "correct partition_filter, or leave the table out";
                notes.push(blocker(FindingReason::PartitionFilterKeepsNone, text, remedy));
            }
        }
        for (number, _) in &rows {
            if let Some(found) = taken.get_mut(*number) {
                *found = true;
            }
        }
        let chosen = Self { partitions: Some(taken) };
        if !rows.is_empty() {
            notes.push(columns.told(&rows, totals));
        }
        chosen
    }

    /// Whether a source partition is selected.
    pub fn takes(&self, number: usize) -> bool {
        self.partitions.as_ref().is_none_or(|taken| taken.get(number).copied().unwrap_or(false))
    }

    /// Files, bytes and rows of the selected partitions.
    pub fn totals(&self, all: &TableTotals) -> Totals {
        if self.partitions.is_none() {
            return all.all();
        }
        let taken = all.partitions().into_iter().filter(|(number, _)| self.takes(*number));
        taken.fold(Totals::EMPTY, |sum, (_, partition)| Totals {
            files: sum.files + partition.totals.files,
            bytes: sum.bytes.saturating_add(partition.totals.bytes),
            rows: sum.rows.zip(partition.totals.rows).map(|(sum, rows)| sum.saturating_add(rows)),
        })
    }

    /// How many partitions are selected.
    pub fn count(&self, all: &TableTotals) -> u64 {
        match &self.partitions {
            None => all.partitions().len() as u64,
            Some(taken) => taken.iter().filter(|taken| **taken).count() as u64,
        }
    }
}

fn blocker(reason: FindingReason, text: impl Into<String>, remedy: &str) -> Note {
    Note::blocker(reason, text, remedy)
}

/// Joins at most `TOLD` names for a message.
fn shown(names: &[&str]) -> String {
    let more = if names.len() > TOLD { ", and so on" } else { "" };
    format!("{}{more}", names[..names.len().min(TOLD)].join(", "))
}

/// The canonical values of a partition, in the order of the table's partition columns. None is NULL.
type Values = Vec<Option<String>>;

/// The partition columns of a table.
struct Columns<'a> {
    /// Name, case-folded name and type, outermost first.
    all: Vec<(&'a str, String, &'a SparkType)>,
    /// Case-folded names of the other columns.
    others: BTreeSet<String>,
}

impl<'a> Columns<'a> {
    fn of(source: &'a SourceTable) -> Self {
        let find = |name: &String| source.columns.iter().find(|column| folded(&column.name) == folded(name));
        let all: Vec<_> = source
            .partition_columns
            .iter()
            .filter_map(find)
            .map(|column| (column.name.as_str(), folded(&column.name), &column.data_type))
            .collect();
        let others = source.columns.iter().map(|column| folded(&column.name));
        let others = others.filter(|name| !all.iter().any(|(_, own, _)| own == name)).collect();
        Self { all, others }
    }

    fn find(&self, name: &str) -> Option<(usize, &SparkType)> {
        let own = folded(name);
        self.all.iter().position(|(_, folded, _)| *folded == own).map(|at| (at, self.all[at].2))
    }

    fn canonical(&self, values: &[(String, Option<String>)]) -> Result<Values, String> {
        let mut found = vec![None; self.all.len()];
        for (column, value) in values {
            let Some((at, kind)) = self.find(column) else { return Err(self.unknown(column)) };
            // The Delta log may also write NULL as an empty text.
            let Some(text) = value.as_deref().filter(|text| !text.is_empty()) else { continue };
            let text = canonical_text(kind, text).map_err(|problem| format!("`{column}` is {text:?}: {problem}"))?;
            found[at] = Some(text);
        }
        Ok(found)
    }

    /// Parses partition names into their values. A name that cannot be parsed becomes a blocker.
    fn wanted<'n>(&self, names: &'n [String], notes: &mut Vec<Note>) -> BTreeMap<Values, &'n str> {
        let mut wanted = BTreeMap::new();
        let mut wrong = Vec::new();
        for name in names {
            let values = PartitionId::parse_segment(name).and_then(|id| match id.levels().len() == self.all.len() {
                true => self.canonical(id.levels()),
                false => {
                    Err(format!("`{name}` has {} levels, and the table has {}", id.levels().len(), self.all.len()))
                }
            });
            match values {
                Ok(values) => {
                    wanted.insert(values, name.as_str());
                }
                Err(why) => wrong.push(why),
            }
        }
        let remedy = "correct the names, or leave them out";
        notes.extend(wrong.into_iter().take(TOLD).map(|why| blocker(FindingReason::PartitionUnknown, why, remedy)));
        wanted
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<&str> = self.all.iter().map(|(name, ..)| *name).collect();
        let why = if self.others.contains(&folded(name)) { "a column, but no partition column" } else { "no column" };
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("`{name}` is {why} of the table; its partition columns: {known}")
    }

    /// Parses and checks a filter, and brings its literals into canonical form so that they compare with the values.
    fn bound(&self, filter: &str) -> Result<Expr, String> {
        let mut expr: Expr = filter.parse().map_err(|error: mms_expr::ExprError| error.to_string())?;
        let mut unknown = None;
        expr.fields(&mut |field| {
            if unknown.is_none() && self.find(field).is_none() {
                unknown = Some(self.unknown(field));
            }
        });
        unknown.map_or(Ok(()), Err)?;
        expr.check(self).map_err(|error| error.to_string())?;
        expr.try_each_literal(&mut |field, _, literal| self.bind_literal(field, literal))?;
        Ok(expr)
    }

    /// Brings a text literal into the canonical form of its column's type, in which dates and timestamps sort as texts.
    fn bind_literal(&self, field: &str, literal: &mut Literal) -> Result<(), String> {
        let (Literal::Text(text), Some((_, kind))) = (literal, self.find(field)) else { return Ok(()) };
        let example = match kind {
            SparkType::Date => "2024-01-31",
            _ => "2024-01-31 23:59:59",
        };
        let canonical = canonical_text(kind, text);
        *text = canonical.map_err(|_| format!("`{field}` is {kind}, which {text:?} is not: write '{example}'"))?;
        Ok(())
    }

    /// A note that lists the selected partitions for people who read the plan.
    fn told(&self, rows: &[(usize, Values)], totals: &TableTotals) -> Note {
        let text = |values: &Values| {
            let level = |((name, ..), value): (&(&str, String, &SparkType), &Option<String>)| match value {
                Some(value) => format!("{name}={value}"),
                None => format!("{name} is NULL"),
            };
            self.all.iter().zip(values).map(level).collect::<Vec<_>>().join("/")
        };
        let names: Vec<String> = rows.iter().take(TOLD + 1).map(|(_, values)| text(values)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = format!("{} of {} partitions are taken: {}", rows.len(), totals.partitions().len(), shown(&names));
        Note::new(Severity::Note, FindingReason::PartitionsChosen, text, "")
    }
}

impl Schema for Columns<'_> {
    fn kind(&self, field: &str) -> Option<Kind> {
        use SparkType as T;
        self.find(field).map(|(_, kind)| match kind {
            T::Byte | T::Short | T::Integer | T::Long => Kind::Integer,
            T::Float | T::Double | T::Decimal { .. } => Kind::Number,
            T::Boolean => Kind::Boolean,
            _ => Kind::Text,
        })
    }

    fn names(&self) -> Vec<String> {
        self.all.iter().map(|(name, ..)| (*name).to_owned()).collect()
    }
}

/// One partition as the row that a filter is evaluated on.
struct Partition<'a> {
    columns: &'a Columns<'a>,
    values: &'a Values,
}

impl Row for Partition<'_> {
    fn value(&self, field: &str) -> Value<'_> {
        use SparkType as T;
        let Some((at, kind)) = self.columns.find(field) else { return Value::Null };
        let Some(text) = self.values.get(at).and_then(Option::as_deref) else { return Value::Null };
        match kind {
            T::Byte | T::Short | T::Integer | T::Long => text.parse().map_or(Value::Null, Value::Integer),
            T::Float | T::Double => text.parse().map_or(Value::Null, Value::Number),
            T::Decimal { .. } => Value::Decimal(Cow::Borrowed(text)),
            T::Boolean => Value::Boolean(text == "true"),
            _ => Value::Text(Cow::Borrowed(text)),
        }
    }
}

#[cfg(test)]
#[path = "chosen_tests.rs"]
mod tests;
