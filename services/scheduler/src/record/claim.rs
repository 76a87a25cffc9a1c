//! Claims: which job may write a target table and its units. A unit's claim changes by [`UnitClaim::apply`] alone,
//! which lets at most one intent be open on it. Pure.

use super::reason::NotTaken;
use crate::key::JobKey;

/// The job that holds a claim. The claim is valid as long as a job with this uid lives.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Owner {
    #[prost(string, tag = "1")]
    pub data_source: String,
    #[prost(string, tag = "2")]
    pub job: String,
    #[prost(string, tag = "3")]
    pub job_uid: String,
    /// The source table, as "schema.table".
    #[prost(string, tag = "4")]
    pub table: String,
}

impl Owner {
    pub fn key(&self) -> JobKey {
        JobKey { data_source: self.data_source.clone(), job: self.job.clone() }
    }
}

/// Which job may write a target unit, and which commit of it is open.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UnitClaim {
    /// The job that claimed it last.
    #[prost(message, optional, tag = "1")]
    owner: Option<Owner>,
    /// Id of the open intent.
    #[prost(string, optional, tag = "2")]
    open: Option<String>,
}

/// What can happen to the claim of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimEvent<'a> {
    /// A job claims the unit. Whoever raises this has checked that no valid claim of another job exists.
    Taken(Owner),
    /// An intent on the unit is opened.
    Opened(&'a str),
    /// This intent is resolved.
    Closed(&'a str),
}

impl UnitClaim {
    /// The job that claimed it last.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Id of the intent that is open on the unit.
    pub fn open_intent(&self) -> Option<&str> {
        self.open.as_deref()
    }

    /// Applies an event.
    ///
    /// # Errors
    /// If another intent is open. The claim is then unchanged.
    pub fn apply(&mut self, event: ClaimEvent<'_>) -> Result<(), NotTaken> {
        let open = self.open_intent();
        match event {
            ClaimEvent::Taken(owner) => self.owner = Some(owner),
            ClaimEvent::Opened(id) if open.is_none_or(|open| open == id) => self.open = Some(id.to_owned()),
            ClaimEvent::Closed(id) if open == Some(id) => self.open = None,
            ClaimEvent::Opened(_) => return Err(self.not_taken("another intent")),
            ClaimEvent::Closed(_) => return Err(self.not_taken("the end of another intent")),
        }
        Ok(())
    }

    fn not_taken(&self, event: &'static str) -> NotTaken {
        let stands = self.open_intent().map_or_else(|| "free".to_owned(), |open| format!("open for intent {open}"));
        NotTaken { what: "claim of a unit", stands, event }
    }
}

/// A job's claim of a whole target table, whichever of its units the job writes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TableClaim {
    /// The claim is valid as long as a job with this uid lives.
    #[prost(string, tag = "1")]
    pub job_uid: String,
    /// The source table.
    #[prost(string, tag = "2")]
    pub schema: String,
    #[prost(string, tag = "3")]
    pub table: String,
    /// The job may drop the table.
    #[prost(bool, tag = "4")]
    pub replaces: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_intent_is_open_at_most(acts in proptest::collection::vec((0..3_u8, 0..3_u8), 0..40)) {
            let (mut claim, mut open) = (UnitClaim::default(), None);
            for (act, intent) in acts {
                let id = intent.to_string();
                let (event, taken) = match act {
                    0 => (ClaimEvent::Opened(&id), open.is_none_or(|open| open == intent)),
                    1 => (ClaimEvent::Closed(&id), open == Some(intent)),
                    _ => (ClaimEvent::Taken(Owner { job: id.clone(), ..Owner::default() }), true),
                };
                let before = claim.clone();
                match claim.apply(event) {
                    Ok(()) => prop_assert!(taken),
                    Err(_) => prop_assert!(!taken && claim == before),
                }
                open = match (act, taken) { (0, true) => Some(intent), (1, true) => None, _ => open };
                let open = open.map(|open| open.to_string());
                prop_assert_eq!(claim.open_intent(), open.as_deref());
            }
        }
    }
}
