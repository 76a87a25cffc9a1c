//! What the names of a log's files say. Pure.

use url::Url;

/// A file of the log, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// Last segment of its path, percent-decoded.
    pub name: String,
    /// Version, if it is a commit.
    pub commit: Option<u64>,
    /// Version, if it is a checkpoint or a part of one.
    pub checkpoint: Option<u64>,
}

impl LogFile {
    pub(crate) fn of(location: &Url) -> Self {
        let last = location.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
        let name = crate::place::decoded(last);
        let (number, rest) = name.split_at_checked(20).unwrap_or(("", &name));
        let version = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten();
        // Staged commits (`N.uuid.json`) have a version too.
        let commit =
            version.filter(|_| rest.ends_with(".json") && !rest.contains(".checkpoint.") && !is_compacted(rest));
        let checkpoint = version.filter(|_| rest.starts_with(".checkpoint."));
        Self { commit, checkpoint, name }
    }

    /// Whether it only repeats what commits say: checksums and compacted commits. The log is read without them, so that none
    /// of them has to be trusted.
    pub(crate) fn repeats(&self) -> bool {
        self.name.ends_with(".crc") || is_compacted(&self.name)
    }
}

fn is_compacted(name: &str) -> bool {
    name.ends_with(".compacted.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        let of = |name: &str| LogFile::of(&Url::parse(&format!("file:///t/_delta_log/{name}")).expect("a place"));
        assert_eq!(
            (of("00000000000000000007.json").commit, of("00000000000000000007.json").checkpoint),
            (Some(7), None)
        );
        for checkpoint in [
            "00000000000000000010.checkpoint.parquet",
            "00000000000000000010.checkpoint.0000000001.0000000002.parquet",
            "00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json",
        ] {
            assert_eq!((of(checkpoint).commit, of(checkpoint).checkpoint), (None, Some(10)), "{checkpoint}");
        }
        let compacted = of("00000000000000000001.00000000000000000002.compacted.json");
        assert!(compacted.repeats() && compacted.commit.is_none());
        assert!(of("00000000000000000001.crc").repeats());
        assert_eq!((of("_last_checkpoint").commit, of("notes.json").commit), (None, None));
    }
}
