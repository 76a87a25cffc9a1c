//! Records which table exists at a target, as far as this service knows, and which of its rows count. Every table that
//! is made under a name gets a new generation, and what was published counts only in the generation it was published
//! in. So a table that is dropped, recreated or in doubt invalidates all of it at once, whichever job wrote it. Pure.

/// Identifies one table among all that ever had its name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Identity {
    /// The project's own id of the table; empty if the project does not tell it.
    #[prost(string, tag = "1")]
    pub table_id: String,
    /// When the table was created; None if the project does not tell it.
    #[prost(int64, optional, tag = "2")]
    pub create_time_s: Option<i64>,
    /// The table's property `mms.nonce`: a UUID that whoever made or adopted the table chose. Empty for none.
    #[prost(string, tag = "3")]
    pub nonce: String,
}

impl Identity {
    /// Whether both identify the same table. A part that one of them does not tell matches; the nonce must be equal.
    pub fn is(&self, other: &Self) -> bool {
        let ids = self.table_id.is_empty() || other.table_id.is_empty() || self.table_id == other.table_id;
        let times = self.create_time_s.zip(other.create_time_s).is_none_or(|(one, other)| one == other);
        ids && times && self.nonce == other.nonce
    }
}

/// What is known of the table at a target.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AtTarget {
    #[prost(uint64, tag = "1")]
    generation: u64,
    /// None if there is no table, or if nobody has seen the present one.
    #[prost(message, optional, tag = "2")]
    identity: Option<Identity>,
    /// Tasks of live jobs may still count rows of an earlier generation.
    #[prost(bool, tag = "3")]
    stale: bool,
}

/// What can happen to the table at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetEvent {
    /// A task that makes the table, or is the first to write to it, has seen this one.
    Seen(Identity),
    /// A task misses the table that it wrote to, and has found this one in its place, or none.
    Missed(Option<Identity>),
    /// A job has dropped the table, or may have.
    Dropped,
    /// The table's content is not what was published.
    Doubted,
    /// No task of a live job counts rows of an earlier generation any more.
    Swept,
}

impl AtTarget {
    /// The present generation; 0 before anybody has seen a table.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The present table, if somebody has seen it.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether this is the present table.
    pub fn is(&self, found: &Identity) -> bool {
        self.identity().is_some_and(|known| known.is(found))
    }

    /// Whether tasks of live jobs may still count rows of an earlier generation.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Applies an event. Every event is accepted in every state.
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
            // A task that misses an earlier table than the known one is late: that loss was handled before.
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
        /// Two tables never share a generation, and an earlier generation is swept before it is forgotten.
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
