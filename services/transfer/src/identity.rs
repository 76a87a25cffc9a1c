//! Tells which table of its name is at the target. Rows go only into the table that this job knows, and a unit counts as
//! published only there: a table that was dropped and made anew has the same name, the same columns and none of the rows.

use mms_mapping::{NONCE_PROPERTY, OWNER_PROPERTY};
use mms_maxcompute::metadata::{TableInfo, TableMarks};
use mms_proto::types::v1::TargetIdentity;

use crate::error::{Result, TransferError};
use crate::target::Target;

/// The table property that names the job which made the table or took it over.
pub const JOB_PROPERTY: &str = "mms.job";

/// The identity of a table as the target describes it.
pub fn of(table: &TableInfo) -> TargetIdentity {
    of_marks(&TableMarks { id: table.id.clone(), created: table.created, properties: table.properties.clone() })
}

/// The identity of a table as its marks tell it.
pub fn of_marks(marks: &TableMarks) -> TargetIdentity {
    TargetIdentity {
        table_id: marks.id.clone().unwrap_or_default(),
        create_time: marks.created.map(|time| prost_types::Timestamp { seconds: time.as_second(), nanos: 0 }),
        nonce: marks.properties.get(NONCE_PROPERTY).cloned().unwrap_or_default(),
    }
}

/// Whether both are the same table. An id or a time that either side does not have is no difference; the nonce is compared
/// always.
pub fn same(one: &TargetIdentity, other: &TargetIdentity) -> bool {
    let ids = one.table_id.is_empty() || other.table_id.is_empty() || one.table_id == other.table_id;
    let times = one.create_time.is_none() || other.create_time.is_none() || one.create_time == other.create_time;
    ids && times && one.nonce == other.nonce
}

/// Whether the id and the creation time that the service tells show that a table is the wanted one, without its nonce.
pub fn proves(wanted: &TargetIdentity, found: &TableInfo) -> bool {
    let told = of(found);
    let id = !wanted.table_id.is_empty() && wanted.table_id == told.table_id;
    id && wanted.create_time.is_some() && wanted.create_time == told.create_time
}

/// Checks that the table is still the one that rows are written to, and still marked as ours.
///
/// # Errors
/// [`TransferError::TargetGone`] with the table that is there now, if any; [`TransferError::Conflict`] if its mark is
/// another's.
pub async fn still(target: &Target, wanted: &TargetIdentity) -> Result<()> {
    let Some(marks) = target.project.table_marks(&target.definition.target).await? else {
        return Err(gone(target, None));
    };
    let found = of_marks(&marks);
    if !same(wanted, &found) {
        return Err(gone(target, Some(found)));
    }
    let (ours, mark) = (target.definition.properties.get(OWNER_PROPERTY), marks.properties.get(OWNER_PROPERTY));
    if ours != mark {
        let mark = mark.map_or("no mark".to_owned(), |mark| format!("the mark `{mark}`"));
        let differences = format!("somebody gave it {mark} while this job wrote to it");
        return Err(TransferError::Conflict { target: target.definition.target.to_string(), differences });
    }
    Ok(())
}

/// The error for a table that does not exist any more, or in whose place another one is (`found`).
pub fn gone(target: &Target, found: Option<TargetIdentity>) -> TransferError {
    let table = &target.definition.target;
    let what = match &found {
        None => format!("{table} does not exist any more"),
        Some(_) => format!("{table} was dropped and made anew"),
    };
    TransferError::TargetGone { what, whole: true, found: found.map(Box::new) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: &str, seconds: Option<i64>, nonce: &str) -> TargetIdentity {
        let create_time = seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
        TargetIdentity { table_id: id.to_owned(), create_time, nonce: nonce.to_owned() }
    }

    #[test]
    fn what_one_side_does_not_tell_is_no_difference_but_the_nonce_is() {
        let table = identity("a", Some(1), "n");
        assert!(same(&table, &table));
        assert!(same(&table, &identity("", None, "n")));
        for other in [identity("b", Some(1), "n"), identity("a", Some(2), "n"), identity("a", Some(1), "")] {
            assert!(!same(&table, &other) && !same(&other, &table), "{other:?}");
        }
    }
}
