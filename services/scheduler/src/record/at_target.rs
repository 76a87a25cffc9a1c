//! Which table of its name is at a target, as far as this service knows, and what of it counts. Every table that there ever is
//! under a name has a generation; what was published counts only in the generation it was published in, so that a table
//! which is dropped or made anew takes all of it back at once, whoever published it. Pure: no store.

/// One table among all that there ever are of its name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Identity {
    /// The project's own id of it; empty where it tells none.
    #[prost(string, tag = "1")]
    pub table_id: String,
    /// When it was made; none where the project does not tell.
    #[prost(int64, optional, tag = "2")]
    pub create_time_s: Option<i64>,
    /// What whoever made it or took it over chose; empty: nothing.
    #[prost(string, tag = "3")]
    pub nonce: String,
}

impl Identity {
    /// Whether two are one table. What either of them does not tell is no difference.
    pub fn is(&self, other: &Self) -> bool {
        let ids = self.table_id.is_empty() || other.table_id.is_empty() || self.table_id == other.table_id;
        let times = self.create_time_s.zip(other.create_time_s).is_none_or(|(one, other)| one == other);
        ids && times && self.nonce == other.nonce
    }
}

/// What is known of a target table.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AtTarget {
    #[prost(uint64, tag = "1")]
    generation: u64,
    /// None: there is no table, or nobody has seen the one there is.
    #[prost(message, optional, tag = "2")]
    identity: Option<Identity>,
    /// Tasks of live jobs may still count what was published in an earlier generation.
    #[prost(bool, tag = "3")]
    stale: bool,
}

/// What can happen to a target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetEvent {
    /// Who makes it, or writes to it first, has seen this table.
    Seen(Identity),
    /// Somebody misses the table that was written to, and found this one in its place, or none.
    Missed(Option<Identity>),
    /// It is dropped by a job, or is about to be for all that is known.
    Dropped,
    /// What is in it is not what was published.
    Doubted,
    /// No task of a live job counts anything of an earlier generation any more.
    Swept,
}

impl AtTarget {
    /// The present generation; 0 before anybody saw a table.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The table that there is.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether the table that there is is this one.
    pub fn is(&self, found: &Identity) -> bool {
        self.identity().is_some_and(|known| known.is(found))
    }

    /// Whether tasks of live jobs may still count what was published in an earlier generation.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// What happened to it. Each event is taken at any time.
    pub fn apply(&mut self, event: TargetEvent) {
        match event {
            TargetEvent::Seen(found) => match &self.identity {
                Some(known) if known.is(&found) => {}
                Some(_) => self.renew(Some(found)),
                None => {
                    self.generation = self.generation.max(1);
                    self.identity = Some(found);
                }
            },
            // Who misses the table before the one that is known is late: that has been dealt with.
            TargetEvent::Missed(found) => match (&self.identity, found) {
                (None, _) => {}
                (Some(known), Some(found)) if known.is(&found) => {}
                (Some(_), _) => self.renew(None),
            },
            TargetEvent::Dropped => self.renew(None),
            TargetEvent::Doubted => self.renew(self.identity.clone()),
            TargetEvent::Swept => self.stale = false,
        }
    }

    fn renew(&mut self, identity: Option<Identity>) {
        self.generation += 1;
        self.identity = identity;
        self.stale = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(number: u8) -> Identity {
        Identity { table_id: number.to_string(), create_time_s: Some(number.into()), nonce: number.to_string() }
    }

    fn any_event() -> impl Strategy<Value = TargetEvent> {
        prop_oneof![
            (0..3_u8).prop_map(|number| TargetEvent::Seen(identity(number))),
            proptest::option::of(0..3_u8).prop_map(|found| TargetEvent::Missed(found.map(identity))),
            Just(TargetEvent::Dropped),
            Just(TargetEvent::Doubted),
            Just(TargetEvent::Swept),
        ]
    }

    proptest! {
        /// Another table never has the generation of the one before, and what came before is swept before it is forgotten.
        #[test]
        fn a_generation_has_one_table(events in proptest::collection::vec(any_event(), 0..40)) {
            let mut at = AtTarget::default();
            let mut of: Vec<(u64, Identity)> = Vec::new();
            for event in events {
                let before = at.clone();
                at.apply(event.clone());
                prop_assert!(at.generation() >= before.generation());
                let renewed = at.generation() > before.generation() && before.generation() > 0;
                prop_assert!(!renewed || at.is_stale());
                prop_assert!(at.is_stale() || !before.is_stale() || event == TargetEvent::Swept);
                if let Some(identity) = at.identity() {
                    let known = of.iter().find(|(generation, _)| *generation == at.generation());
                    prop_assert!(known.is_none_or(|(_, known)| known.is(identity)));
                    of.push((at.generation(), identity.clone()));
                }
            }
        }
    }

    #[test]
    fn who_is_late_takes_nothing_back() {
        let mut at = AtTarget::default();
        at.apply(TargetEvent::Seen(identity(1)));
        at.apply(TargetEvent::Missed(None));
        at.apply(TargetEvent::Missed(None));
        assert_eq!((at.generation(), at.identity(), at.is_stale()), (2, None, true));
        at.apply(TargetEvent::Seen(identity(2)));
        at.apply(TargetEvent::Missed(Some(identity(2))));
        assert_eq!((at.generation(), at.identity()), (2, Some(&identity(2))));
    }

    #[test]
    fn what_is_not_told_is_no_difference_but_the_nonce_is() {
        let whole = identity(1);
        assert!(whole.is(&Identity { table_id: String::new(), create_time_s: None, nonce: "1".to_owned() }));
        assert!(!whole.is(&Identity { nonce: String::new(), ..whole.clone() }));
        assert!(!whole.is(&Identity { create_time_s: Some(2), ..whole.clone() }));
    }
}
