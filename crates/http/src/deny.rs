//! Owns [`DeniedHost`]: an entry of the operator's list of what this process must never connect to. Pure: it never resolves a
//! name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::{HostPattern, HttpError};

/// One entry of the operator's list: a range of addresses (`10.1.0.0/16`), a single address, or a name as in the allowed hosts of
/// a network connection (`host`, `*.suffix`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedHost(Entry);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// The addresses that share the first so many bits with this one.
    Range(IpAddr, u8),
    Name(HostPattern),
}

impl DeniedHost {
    /// Whether this entry contains the address.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        match (&self.0, address) {
            (Entry::Range(IpAddr::V4(range), bits), IpAddr::V4(address)) => {
                same_start(&range.octets(), &address.octets(), *bits)
            }
            (Entry::Range(IpAddr::V6(range), bits), IpAddr::V6(address)) => {
                same_start(&range.octets(), &address.octets(), *bits)
            }
            _ => false,
        }
    }

    /// Whether this entry names the host.
    pub(crate) fn names(&self, host: &str) -> bool {
        matches!(&self.0, Entry::Name(pattern) if pattern.fits(host))
    }
}

fn same_start(one: &[u8], other: &[u8], bits: u8) -> bool {
    let (whole, rest) = (usize::from(bits / 8), bits % 8);
    let rest_is_same = |a: &u8, b: &u8| rest == 0 || (a ^ b) >> (8 - rest) == 0;
    one[..whole] == other[..whole] && one.iter().zip(other).nth(whole).is_none_or(|(a, b)| rest_is_same(a, b))
}

impl FromStr for DeniedHost {
    type Err = HttpError;

    fn from_str(text: &str) -> Result<Self, HttpError> {
        let refuse = || HttpError::Config {
            what: format!("denied host {text:?}: write an address, a range such as 10.1.0.0/16, host or *.suffix"),
        };
        let trimmed = text.trim();
        if let Some((address, bits)) = trimmed.split_once('/') {
            let (address, bits): (IpAddr, u8) =
                (address.parse().map_err(|_| refuse())?, bits.parse().map_err(|_| refuse())?);
            let most = if address.is_ipv4() { 32 } else { 128 };
            return if bits <= most { Ok(Self(Entry::Range(address, bits))) } else { Err(refuse()) };
        }
        if let Ok(address) = trimmed.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self(Entry::Range(address, if address.is_ipv4() { 32 } else { 128 })));
        }
        let pattern: HostPattern = trimmed.parse().map_err(|_| refuse())?;
        // What is denied is the address that a name leads to, which has no port.
        if pattern.has_port() { Err(refuse()) } else { Ok(Self(Entry::Name(pattern))) }
    }
}

impl fmt::Display for DeniedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Entry::Range(address, bits) => write!(f, "{address}/{bits}"),
            Entry::Name(pattern) => pattern.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn denied(text: &str) -> DeniedHost {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_ends_where_its_bits_end() {
        let covers = |range: &str, address: &str| denied(range).covers(address.parse().unwrap());
        assert!(covers("10.1.0.0/16", "10.1.255.255") && !covers("10.1.0.0/16", "10.2.0.0"));
        assert!(covers("10.1.2.128/25", "10.1.2.200") && !covers("10.1.2.128/25", "10.1.2.100"));
        assert!(covers("10.1.2.3", "10.1.2.3") && !covers("10.1.2.3", "10.1.2.4"));
        assert!(covers("0.0.0.0/0", "8.8.8.8") && !covers("0.0.0.0/0", "::1"));
        assert!(covers("fd12:3::/32", "fd12:3::9") && !covers("fd12:3::/32", "fd12:4::9"));
    }

    #[test]
    fn names_are_those_of_allowed_hosts() {
        assert!(
            denied("*.corp.example").names("db.corp.example") && denied("db.corp.example").names("DB.corp.example.")
        );
        assert!(!denied("*.corp.example").names("corp.example.evil") && !denied("10.0.0.0/8").names("10.0.0.1"));
        for wrong in ["", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "host:443", "a b", "10.0.0.0/"] {
            assert!(wrong.parse::<DeniedHost>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_range_covers_an_address_when_its_bits_are_the_same(range: u32, address: u32, bits in 0..=32_u8) {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let entry = denied(&format!("{}/{bits}", std::net::Ipv4Addr::from(range)));
            let covered = entry.covers(IpAddr::V4(address.into()));
            prop_assert_eq!(covered, range & mask == address & mask);
        }
    }
}
