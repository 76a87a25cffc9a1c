//! The parent of a list request: a name in which `-` stands for all resources of a collection.

use std::fmt;
use std::marker::PhantomData;

use super::{DataSourceName, NameError, ResourceName, segment};

/// One resource or, where `-` stands for an id, all that match: `dataSources/-/schemas/-`.
#[derive(Clone, PartialEq, Eq)]
pub struct Parent<N> {
    segments: Vec<Option<String>>,
    name: PhantomData<fn() -> N>,
}

impl<N: ResourceName> Parent<N> {
    /// Parses a parent; the error says which part does not fit the shape of `N`.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let fault = |reason| NameError { name: name.to_owned(), shape: N::SHAPE, reason };
        let mut segments = Vec::new();
        for (segment, collection) in segment::split(name, N::COLLECTIONS).map_err(fault)?.iter().zip(N::COLLECTIONS) {
            if *segment == "-" {
                segments.push(None);
            } else {
                segment::check_segment(collection, segment).map_err(fault)?;
                segments.push(Some((*segment).to_owned()));
            }
        }
        Ok(Self { segments, name: PhantomData })
    }

    /// The one resource that is meant; `None` if a segment is `-`.
    pub fn exact(&self) -> Option<N> {
        if self.segments.iter().any(Option::is_none) { None } else { N::parse(&self.to_string()).ok() }
    }

    /// Whether this parent means the resource.
    pub fn matches(&self, name: &N) -> bool {
        let name = name.to_string();
        segment::split(&name, N::COLLECTIONS).is_ok_and(|segments| {
            segments.iter().zip(&self.segments).all(|(segment, wanted)| wanted.as_ref().is_none_or(|w| w == segment))
        })
    }

    /// The one data source that the list is limited to; `None` if it is `-`, or if `N` belongs to no data source.
    pub fn data_source(&self) -> Option<DataSourceName> {
        let root = *N::COLLECTIONS.first()?;
        let id = self.segments.first()?.as_ref()?;
        DataSourceName::parse(&format!("{root}/{id}")).ok()
    }
}

impl<N: ResourceName> fmt::Display for Parent<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (collection, segment)) in N::COLLECTIONS.iter().zip(&self.segments).enumerate() {
            let slash = if at > 0 { "/" } else { "" };
            write!(f, "{slash}{collection}/{}", segment.as_deref().unwrap_or("-"))?;
        }
        Ok(())
    }
}

impl<N: ResourceName> fmt::Debug for Parent<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
