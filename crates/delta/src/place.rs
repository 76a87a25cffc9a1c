//! Resolves the paths of a log: decoded once, checked to lie under the table's root, and given one normal spelling. A log
//! compares files by the text of their paths; one file may be spelled in several ways.

use std::borrow::Cow;

use mms_storage::{LocalFiles, StorageLocation};
use object_store::path::Path as ObjectPath;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

/// Resolves the paths of one table.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    root: Url,
    /// The root as a path of the store.
    folder: Option<ObjectPath>,
}

/// The path leads out of the table's folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outside;

impl Places {
    pub(crate) fn new(root: Url) -> Self {
        let folder = ObjectPath::from_url_path(root.path()).ok();
        Self { root, folder }
    }

    /// The URL and the store's path of a path of the log.
    pub(crate) fn locate(&self, path: &str) -> Result<(Url, ObjectPath), Outside> {
        let mut url = self.root.join(path).map_err(|_| Outside)?;
        if url.scheme() != self.root.scheme() || url.authority() != self.root.authority() {
            // It may be the same place under another name, as wasbs for abfss.
            let parse = |text: &str| StorageLocation::parse(text, LocalFiles::Allowed).map_err(|_| Outside);
            let (there, here) = (parse(url.as_str())?, parse(self.root.as_str())?);
            if !there.same_store(&here) {
                return Err(Outside);
            }
            url = there.url();
            let trimmed = url.path().trim_end_matches('/').to_owned();
            url.set_path(&trimmed);
        }
        let object = ObjectPath::from_url_path(url.path()).map_err(|_| Outside)?;
        let below = self
            .folder
            .as_ref()
            .is_some_and(|root| object.prefix_match(root).is_some_and(|mut rest| rest.next().is_some()));
        if !below || url.query().is_some() || url.fragment().is_some() {
            return Err(Outside);
        }
        Ok((url, object))
    }

    /// The normal spelling of a path: relative to the root, percent-encoded by one rule. None if it leads out of the table.
    pub(crate) fn place<'a>(&self, path: &'a str) -> Option<Cow<'a, str>> {
        let root = self.folder.as_ref()?;
        if is_plain(path) {
            return Some(Cow::Borrowed(path));
        }
        let (_, object) = self.locate(path).ok()?;
        let parts = object.prefix_match(root)?;
        let parts: Vec<String> = parts.map(|part| utf8_percent_encode(part.as_ref(), KEPT).to_string()).collect();
        Some(Cow::Owned(parts.join("/")))
    }

    /// The same, but a path that leads out of the table is left as it is; it is refused when its file is read.
    pub(crate) fn normal(&self, path: &str) -> String {
        self.place(path).map_or_else(|| path.to_owned(), Cow::into_owned)
    }
}

/// Whether all names in a path are spelled the same with and without encoding, as most are.
fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=');
    path.split('/').all(|name| !matches!(name, "" | "." | "..") && name.bytes().all(plain))
}

/// Characters of a segment that stay as they are; all others are encoded.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'=')
    .remove(b'+')
    .remove(b',')
    .remove(b'@');

/// The path, percent-decoded, for messages.
pub(crate) fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8().map_or_else(|_| path.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(root: &str) -> Places {
        Places::new(Url::parse(root).expect("a root"))
    }

    #[test]
    fn one_place_has_one_spelling() {
        let lake = places("abfss://lake@acct.dfs.core.windows.net/s/t/");
        for path in [
            "p=a%20b/f.parquet",
            "p=a%20b/./f.parquet",
            "x/../p=a%20b/f%2Eparquet",
            "/s/t/p=a%20b/f.parquet",
            "abfss://lake@acct.dfs.core.windows.net/s/t/p=a%20b/f.parquet",
            "wasbs://lake@acct.blob.core.windows.net/s/t/p=a%20b/f.parquet",
        ] {
            assert_eq!(lake.normal(path), "p=a%20b/f.parquet", "{path}");
        }
        let here = places("file:///d/t/");
        for path in ["a.parquet", "/d/t/a.parquet", "file:/d/t/a.parquet", "file:///d/t/a.parquet"] {
            assert_eq!(here.normal(path), "a.parquet", "{path}");
        }
    }

    #[test]
    fn the_normal_spelling_leads_to_the_same_place() {
        let lake = places("abfss://lake@acct.dfs.core.windows.net/s/t/");
        for path in ["a.parquet", "p=%C3%A9/a%2525b", "c%3Ad/e", "k=%7B1%7D/x%20y", "%23/%3F"] {
            let normal = lake.normal(path);
            assert_eq!(lake.locate(&normal).expect("below"), lake.locate(&normal).expect("below"));
            assert_eq!(lake.locate(&normal).map(|found| found.1), lake.locate(path).map(|found| found.1), "{path}");
            assert_eq!(lake.normal(&normal), normal, "{path}");
        }
        assert_eq!(lake.normal("../t2/a"), "../t2/a");
    }

    proptest! {
        #[test]
        fn what_is_plain_is_as_it_is_read(path in "[ab./=%~:+ -]{0,8}") {
            let here = places("file:///d/t/");
            let read = here.locate(&path).ok().map(|(_, object)| object.to_string());
            if is_plain(&path) {
                prop_assert_eq!(&read, &Some(format!("d/t/{path}")));
            }
            prop_assert_eq!(here.place(&path).is_some(), read.is_some(), "{}", path);
        }
    }

    #[test]
    fn names_are_shown_decoded() {
        assert_eq!(decoded("p=a%20b/f%C3%A9.parquet"), "p=a b/fé.parquet");
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%ff"), "%ff");
    }
}
