//! Deletes the tables, scans and claims of data sources that no longer exist, or whose id now names another data source. Must
//! leave a deleted data source alone as long as it can be restored.

use mms_store::{Key, Read, Scope, Store, Table, Tx};
use prost::Message;

use crate::core::Core;
use crate::error::{CatalogError, Result};
use crate::record::Summary;
use crate::store::{APPLIED, CLAIMS, CLAIMS_BY_TABLE, PARTITIONS, SCANS, SCHEMAS, SUMMARIES, TABLES, VERSIONS};

/// Records deleted in one commit.
const AT_ONCE: usize = 1000;
/// A data source must be unknown to the registry for this long before its records are deleted, so that pointing the catalog at a
/// wrong registry for a while loses nothing.
const GRACE_MS: i64 = 24 * 3600 * 1000;

/// Makes the records under an id belong to the data source of this uid: deletes those of another one first.
pub async fn adopt(store: &Store, id: &str, uid: &str) -> Result<()> {
    let known = store.read(|read| summary(read, id))?;
    if !is_of(&known, uid) {
        tracing::info!(
            data_source = id,
            "the id names another data source now: the records of the earlier one are deleted"
        );
        forget(store, id, &known.uid).await?;
    }
    let (id, uid) = (id.to_owned(), uid.to_owned());
    store
        .commit(move |tx| {
            let mut known = summary(tx, &id)?;
            if known.uid != uid {
                known.uid = uid;
                tx.put(&SUMMARIES, &id, &known)?;
            }
            Ok(())
        })
        .await
}

fn summary(read: &impl Read, id: &str) -> Result<Summary> {
    Ok(read.get(&SUMMARIES, &id.to_owned())?.unwrap_or_default())
}

/// Whether the records belong to the data source of this uid. Records without a uid were written before uids were kept.
pub fn is_of(known: &Summary, uid: &str) -> bool {
    known.uid.is_empty() || known.uid == uid
}

/// What to do with the records of a data source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// Store this time as when the data source was first missing; 0: it is there.
    Note(i64),
    Goes,
}

fn fate(known: &Summary, uid: Option<&str>, now_ms: i64) -> Fate {
    match (uid.is_some_and(|uid| is_of(known, uid)), known.gone_since_ms) {
        (true, 0) => Fate::Stays,
        (true, _) => Fate::Note(0),
        (false, 0) => Fate::Note(now_ms),
        (false, since) if now_ms - since > GRACE_MS => Fate::Goes,
        (false, _) => Fate::Stays,
    }
}

/// Compares all known data sources with the registry, and deletes the records of those that have been missing for longer than
/// `GRACE_MS`.
pub async fn gone(core: &Core) -> Result<()> {
    for page in core.store.pages(&SUMMARIES, Scope::all(), AT_ONCE) {
        for (id, known) in page? {
            let uid = core.peers.uid(&id).await?;
            match fate(&known, uid.as_deref(), core.now_ms()) {
                Fate::Stays => {}
                Fate::Note(since) => {
                    let note = move |tx: &mut Tx<'_>| {
                        let now = summary(tx, &id)?;
                        if now.uid == known.uid {
                            tx.put(&SUMMARIES, &id, &Summary { gone_since_ms: since, ..now })?;
                        }
                        Ok::<_, CatalogError>(())
                    };
                    core.store.commit(note).await?;
                }
                Fate::Goes => {
                    tracing::info!(data_source = id, "the data source no longer exists: its records are deleted");
                    forget(&core.store, &id, &known.uid).await?;
                }
            }
        }
    }
    Ok(())
}

/// Deletes all records of the data source of this uid. Stops when another one has adopted the id meanwhile: its records stay.
async fn forget(store: &Store, id: &str, uid: &str) -> Result<()> {
    loop {
        let (own, uid) = (id.to_owned(), uid.to_owned());
        let done = move |tx: &mut Tx<'_>| Ok::<_, CatalogError>(summary(tx, &own)?.uid != uid || some(tx, &own)?);
        if store.commit(done).await? {
            return Ok(());
        }
    }
}

/// Deletes up to `AT_ONCE` records; true when none is left. The summary is deleted last, so that a restart resumes the
/// deletion.
fn some(tx: &mut Tx<'_>, id: &str) -> Result<bool> {
    let (own, mut left) = ((id.to_owned(),), AT_ONCE);
    clear(tx, &PARTITIONS, &Scope::prefix(&own), &mut left)?;
    for (table, _) in tx.page(&TABLES, &Scope::prefix(&own), None, left.max(1))?.items {
        clear(tx, &VERSIONS, &Scope::prefix(&(table.clone(),)), &mut left)?;
        if left == 0 {
            return Ok(false);
        }
        tx.delete(&TABLES, &table)?;
        left -= 1;
    }
    clear(tx, &SCHEMAS, &Scope::prefix(&own), &mut left)?;
    clear(tx, &SCANS, &Scope::prefix(&own), &mut left)?;
    clear(tx, &APPLIED, &Scope::prefix(&own), &mut left)?;
    if left > 0 {
        for claim in tx.index_keys(&CLAIMS, &CLAIMS_BY_TABLE, &Scope::prefix(&own), None, left)?.items {
            tx.delete(&CLAIMS, &claim)?;
            left -= 1;
        }
    }
    if left == 0 {
        return Ok(false);
    }
    tx.delete(&SUMMARIES, &own.0)?;
    Ok(true)
}

fn clear<K: Key, R: Message + Default>(
    tx: &mut Tx<'_>,
    table: &'static Table<K, R>,
    scope: &Scope<K>,
    left: &mut usize,
) -> Result<()> {
    if *left > 0 {
        for (key, _) in tx.page(table, scope, None, *left)?.items {
            tx.delete(table, &key)?;
            *left -= 1;
        }
    }
    Ok::<_, CatalogError>(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TableKey;
    use crate::{record, rollup, target};

    fn table(id: &str, number: usize) -> TableKey {
        (id.to_owned(), "s".to_owned(), format!("t{number}"))
    }

    /// A store in which data sources `a` and `b` have tables, and `a` has claimed a target.
    async fn known() -> Store {
        let store = Store::in_memory(crate::store::schema()).unwrap();
        for (id, count) in [("a", AT_ONCE + 7), ("b", 3)] {
            store
                .commit(move |tx| {
                    for number in 0..count {
                        rollup::save_table(tx, &table(id, number), record::Table::default())?;
                    }
                    target::claim(tx, "p.s.t", &table("a", 0)).map(drop)
                })
                .await
                .unwrap();
        }
        store
    }

    fn tables(store: &Store, id: &str) -> usize {
        let scope = Scope::prefix(&(id.to_owned(),));
        store.read(|read| Ok::<_, CatalogError>(read.page(&TABLES, &scope, None, AT_ONCE)?.items.len())).unwrap()
    }

    #[tokio::test]
    async fn everything_of_one_source_goes_and_its_targets_are_free() {
        let store = known().await;
        let taken = |store: &Store| store.read(|read| target::taken_by(read, "p.s.t", &table("b", 0))).unwrap();
        assert_eq!(taken(&store), Some(table("a", 0)));
        forget(&store, "a", "of-another").await.unwrap();
        assert_eq!(tables(&store, "a"), AT_ONCE, "a page of what its new owner has");
        forget(&store, "a", "").await.unwrap();
        assert_eq!((tables(&store, "a"), tables(&store, "b"), taken(&store)), (0, 3, None));
        assert_eq!(store.read(|read| summary(read, "a")).unwrap(), Summary::default());
    }

    #[test]
    fn only_what_is_missing_for_a_day_goes() {
        let known = |since| Summary { uid: "u".to_owned(), gone_since_ms: since, ..Summary::default() };
        assert_eq!(fate(&known(0), Some("u"), 5), Fate::Stays);
        assert_eq!(fate(&known(3), Some("u"), 5), Fate::Note(0));
        for missing in [None, Some("another")] {
            assert_eq!(fate(&known(0), missing, 5), Fate::Note(5));
            assert_eq!(fate(&known(5), missing, 5 + GRACE_MS), Fate::Stays);
            assert_eq!(fate(&known(5), missing, 6 + GRACE_MS), Fate::Goes);
        }
    }

    #[tokio::test]
    async fn an_id_that_names_another_source_brings_nothing_of_the_old_one() {
        let store = known().await;
        adopt(&store, "b", "uid-1").await.unwrap();
        adopt(&store, "b", "uid-1").await.unwrap();
        assert_eq!(tables(&store, "b"), 3, "what was there before uids were kept stays");
        adopt(&store, "b", "uid-2").await.unwrap();
        assert_eq!(tables(&store, "b"), 0);
        assert_eq!(store.read(|read| summary(read, "b")).unwrap().uid, "uid-2");
    }
}
