//! Positions of watchers. A position is a revision that the disk has, in one incarnation: a restored store gives its
//! revision numbers again, so a revision means nothing in another incarnation.

use crate::store::{Revision, Store};

impl Store {
    /// The position of a watcher that was told everything up to `revision`. The revision must be durable: after a crash
    /// the store would give the number of a lost commit to another one.
    pub fn position(&self, revision: Revision) -> String {
        format!("{}.{revision:x}", self.incarnation().id.simple())
    }

    /// The revision at a position. It is 0, which is before everything, for an empty position and for one of another
    /// incarnation. `None` if the text is no position.
    pub fn revision_at(&self, position: &str) -> Option<Revision> {
        if position.is_empty() {
            return Some(0);
        }
        let (incarnation, revision) = position.split_once('.')?;
        let incarnation = uuid::Uuid::try_parse(incarnation).ok()?;
        let revision = Revision::from_str_radix(revision, 16).ok()?;
        Some(if incarnation == self.incarnation().id { revision } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Schema, Store};

    #[test]
    fn a_position_holds_in_its_incarnation_only() {
        let [here, there] = [(); 2].map(|()| Store::in_memory(Schema::new("positions")).expect("starts"));
        let position = here.position(0x1f);
        assert_eq!(here.revision_at(&position), Some(0x1f));
        assert_eq!(there.revision_at(&position), Some(0), "another life of the data: everything is told anew");
        assert_eq!(here.revision_at(""), Some(0));
        for wrong in ["7", "x.1", &position.replace('.', ".z"), &position[1..]] {
            assert_eq!(here.revision_at(wrong), None, "{wrong}");
        }
    }
}
