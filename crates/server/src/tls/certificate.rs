//! Reads from a certificate what the frame needs: when it expires, and its DNS names. Parses only these fields of the
//! DER and judges nothing: the handshake has verified that the certificate is valid and whose it is.

use rustls::pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
const DNS_NAME: u8 = 0x82;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// subjectAltName, 2.5.29.17.
const ALT_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1D, 0x11];

/// When a certificate expires, in seconds since 1970.
pub(super) fn ends(certificate: &CertificateDer<'_>) -> Option<i64> {
    let mut fields = fields(certificate)?;
    // Serial number, algorithm, issuer; then the validity.
    let mut validity = fields.nth(3).filter(|(tag, _)| *tag == SEQUENCE).map(|(_, content)| Items(content))?;
    let (tag, text) = validity.nth(1)?;
    let text = std::str::from_utf8(text).ok()?;
    let (year, rest) = match tag {
        // UTCTime has two digits for the years 1950 to 2049.
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(2 * at..2 * at + 2)?.parse::<i8>().ok();
    let moment = jiff::civil::DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    Some(moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// The DNS names that a certificate is valid for.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let found = || {
        let (_, extensions) = fields(certificate)?.find(|(tag, _)| *tag == EXTENSIONS)?;
        let (_, list) = Items(extensions).next()?;
        let value = Items(list).find_map(|(_, extension)| extension.strip_prefix(ALT_NAME))?;
        let (_, octets) = Items(value).find(|(tag, _)| *tag == OCTETS)?;
        let (_, names) = Items(octets).next()?;
        let names = Items(names).filter(|(tag, _)| *tag == DNS_NAME);
        Some(names.filter_map(|(_, name)| String::from_utf8(name.to_vec()).ok()).collect())
    };
    found().unwrap_or_default()
}

/// The fields of the signed part, from the serial number on.
fn fields<'a>(certificate: &'a CertificateDer<'_>) -> Option<impl Iterator<Item = (u8, &'a [u8])> + 'a> {
    let (_, whole) = Items(certificate.as_ref()).next()?;
    let (_, signed) = Items(whole).next()?;
    Some(Items(signed).filter(|(tag, _)| *tag != VERSION))
}

/// The items of a DER value: tag and content of each. Ends at the first one that is not well-formed.
struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        let (length, rest) = match *length {
            short @ ..0x80 => (usize::from(short), rest),
            long => {
                let (bytes, rest) =
                    rest.split_at_checked(usize::from(long & 0x7F)).filter(|(bytes, _)| bytes.len() <= 4)?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_and_names_are_read() {
        for (year, seconds) in [(2031, 1_927_670_400), (2055, 2_685_052_800)] {
            let names_given = vec!["transfer".to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut params = rcgen::CertificateParams::new(names_given).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 2, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let made = params.self_signed(&key).unwrap();
            assert_eq!(ends(made.der()), Some(seconds), "{year}");
            assert_eq!(names(made.der()), ["transfer", "localhost"]);
        }
        for broken in [&b""[..], &[0x30], &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], &[0x30, 0x02, 0x30, 0x00]] {
            let broken = CertificateDer::from(broken.to_vec());
            assert_eq!((ends(&broken), names(&broken)), (None, Vec::new()));
        }
    }
}
