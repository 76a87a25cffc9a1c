//! Compares, at a start, the database that was found with what the manifest and the newest export know of it. Pure.
//!
//! sled cuts its log at the first thing that it cannot read and opens with what is left, which includes an older
//! sentinel. So whatever the identity says, a database that holds less than was acknowledged must be noticed here.

use prost::Message;

use crate::tally::Tally;

/// What is known of a store's content at one moment.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Summary {
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// The id of that incarnation; empty where it is not known.
    #[prost(bytes = "vec", tag = "2")]
    pub incarnation_id: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    /// `None` in an export of a release that did not count.
    #[prost(message, optional, tag = "4")]
    pub tally: Option<Tally>,
}

impl Summary {
    /// The order of summaries of one store: later is greater.
    pub fn moment(&self) -> (u64, u64) {
        (self.incarnation, self.revision)
    }
}

/// What is wrong with the database `found`, given that `witness` knows `known` of it; `None` if nothing is.
pub(crate) fn fault(found: &Summary, known: &Summary, witness: &str) -> Option<String> {
    if found.moment() < known.moment() {
        return Some(format!(
            "the database is at revision {} of incarnation {}, but {witness} knows revision {} of incarnation {}: its \
             log lost its end, or an older database was put in its place",
            found.revision, found.incarnation, known.revision, known.incarnation
        ));
    }
    if found.incarnation == known.incarnation
        && !known.incarnation_id.is_empty()
        && found.incarnation_id != known.incarnation_id
    {
        return Some(format!(
            "the database and {witness} are both of incarnation {}, but of two copies of the store",
            found.incarnation
        ));
    }
    if found.moment() != known.moment() {
        return None;
    }
    let (is, was) = (found.tally.as_ref()?, known.tally.as_ref()?);
    let difference = is.difference(was)?;
    Some(format!("the database is at revision {} as {witness} says, but {difference}", found.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(incarnation: u64, revision: u64, records: u8) -> Summary {
        let mut tally = Tally::default();
        (0..records).for_each(|n| tally.add(&[b"docs\0r".as_slice(), &[n]].concat(), b"x"));
        Summary { incarnation, incarnation_id: vec![1], revision, tally: Some(tally) }
    }

    #[test]
    fn only_a_database_with_less_than_is_known_is_at_fault() {
        let found = summary(2, 10, 3);
        // Older knowledge, also of an earlier incarnation that had more revisions, and knowledge without a tally.
        for known in [summary(2, 9, 9), summary(1, 99, 9), summary(2, 10, 3), Summary { tally: None, ..found.clone() }]
        {
            assert_eq!(fault(&found, &known, "it"), None, "{known:?}");
        }
        assert_eq!(fault(&found, &Summary { incarnation_id: Vec::new(), ..found.clone() }, "it"), None);
        for (known, says) in [
            (summary(2, 11, 3), "revision 11"),
            (summary(3, 1, 3), "incarnation 3"),
            (summary(2, 10, 4), "3 records of 4"),
            (Summary { incarnation_id: vec![2], ..summary(2, 10, 3) }, "two copies"),
            (Summary { incarnation_id: vec![2], ..summary(2, 5, 3) }, "two copies"),
        ] {
            let fault = fault(&found, &known, "it").unwrap();
            assert!(fault.contains(says), "{fault}");
        }
    }
}
