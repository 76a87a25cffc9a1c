//! Parses what a shared access signature says about itself. Whether it is accepted, only the storage can tell.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The fields of a shared access signature.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sas {
    /// Whether the text is a whole URL rather than a query string.
    pub is_url: bool,
    /// Whether there is a signature at all.
    pub signed: bool,
    /// Start of validity in Unix milliseconds, if it is given.
    pub begins_ms: Option<i64>,
    /// End of validity in Unix milliseconds, if it is given.
    pub ends_ms: Option<i64>,
    /// The permissions, one letter each; `None` if a policy of the container defines them.
    pub permissions: Option<String>,
}

impl Sas {
    /// Parses a signature, with or without a leading question mark.
    pub fn read(text: &str) -> Self {
        let text = text.trim();
        let mut read = Self { is_url: text.contains("://"), ..Self::default() };
        let query = text.split_once('?').map_or(text, |(_, query)| query);
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "sig" => read.signed = !value.is_empty(),
                "st" => read.begins_ms = moment_ms(value),
                "se" => read.ends_ms = moment_ms(value),
                "sp" => read.permissions = Some(value.to_owned()),
                _ => {}
            }
        }
        read
    }

    /// The rights that reading needs and that the signature does not grant, of Read and List.
    pub fn lacks(&self) -> Vec<&'static str> {
        let Some(permissions) = &self.permissions else { return Vec::new() };
        [('r', "Read"), ('l', "List")]
            .into_iter()
            .filter(|(letter, _)| !permissions.contains(*letter))
            .map(|(_, right)| right)
            .collect()
    }
}

fn moment_ms(text: &str) -> Option<i64> {
    let text = text.replace("%3A", ":").replace("%3a", ":");
    // Azure also accepts times without seconds, and dates alone.
    let minutes = text.strip_suffix('Z').map(|minutes| format!("{minutes}:00Z"));
    let moment = text.parse::<Timestamp>().ok().or_else(|| minutes?.parse().ok());
    let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    moment.or_else(day).map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_signature_are_read_in_every_form() {
        let midnight = Some(1_735_689_600_000);
        for text in
            ["?sv=2023-11-03&se=2025-01-01T00%3A00%3A00Z&sig=x", "se=2025-01-01T00:00Z&sig=x", "se=2025-01-01&sig=x"]
        {
            assert_eq!(Sas::read(text).ends_ms, midnight, "{text}");
        }
        assert_eq!(Sas::read("st=2025-01-01&sig=x"), Sas { signed: true, begins_ms: midnight, ..Sas::default() });
        assert_eq!(Sas::read("sv=1&sig=x").ends_ms, None);
        assert_eq!(Sas::read("se=soon&sig=x").ends_ms, None);
    }

    #[test]
    fn a_url_and_missing_rights_are_seen() {
        let url = Sas::read("https://a.blob.core.windows.net/c?sp=rl&sig=x");
        assert!(url.is_url && url.signed && url.lacks().is_empty());
        assert_eq!(Sas::read("sp=w&sig=x").lacks(), ["Read", "List"]);
        assert_eq!(Sas::read("sp=rw&sig=").lacks(), ["List"]);
        assert!(Sas::read("si=policy&sig=x").lacks().is_empty(), "a policy says it");
    }
}
