//! The secrets that this process uses, masked by value: no text of a server may repeat one. They are found verbatim,
//! percent-encoded in any mixture, in hex, and in Base64 at any offset.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;
use secrecy::zeroize::Zeroizing;

use super::MASK;

/// Minimum length in bytes: shorter ones would hide words that are not secrets.
const SHORTEST: usize = 8;
/// Maximum number of secrets; the least recently remembered are dropped.
const MOST: usize = 1024;
/// Maximum number of bytes that are searched; no more of a server's text is ever shown.
const LONGEST_TEXT: usize = 64 << 10;
/// How often a text may be percent-encoded for secrets in it to be found.
const LEVELS: usize = 2;

struct Secret {
    plain: Zeroizing<Vec<u8>>,
    /// The secret's forms in Base64, standard and URL alphabet; the field below has its hex form, in lower case.
    forms: Vec<Zeroizing<Vec<u8>>>,
    hex: Zeroizing<Vec<u8>>,
}

static KNOWN: RwLock<VecDeque<Arc<Secret>>> = RwLock::new(VecDeque::new());

/// Masks this secret from now on wherever a server's text is shown. Secrets shorter than 8 bytes are not masked.
pub fn remember(secret: &str) {
    let plain = secret.trim().as_bytes();
    if plain.len() < SHORTEST {
        return;
    }
    let mut known = KNOWN.write();
    if let Some(at) = known.iter().position(|other| *other.plain == plain) {
        if let Some(again) = known.remove(at) {
            known.push_back(again);
        }
        return;
    }
    if known.len() == MOST {
        known.pop_front();
    }
    let forms = (0..3).flat_map(|shift| base64(plain, shift)).map(Zeroizing::new).collect();
    let hex = plain.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
    known.push_back(Arc::new(Secret { plain: Zeroizing::new(plain.to_vec()), forms, hex: Zeroizing::new(hex) }));
}

/// Masks a secret that is given percent-encoded, as in a URL.
pub fn remember_encoded(secret: &str) {
    let bytes: Vec<_> = secret.bytes().map(|byte| (byte, 0, 0)).collect();
    let plain: Vec<u8> = decode(&bytes).into_iter().map(|(byte, ..)| byte).collect();
    match String::from_utf8(plain) {
        Ok(plain) => remember(&plain),
        Err(_) => remember(secret),
    }
}

/// The text with every known secret masked.
pub(super) fn mask(text: &str) -> String {
    let known: Vec<_> = KNOWN.read().iter().cloned().collect();
    if known.is_empty() || text.len() < SHORTEST {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(LONGEST_TEXT);
    let (text, cut) = (&text[..end], text.len() > end);
    let mut hidden = vec![false; text.len()];
    // Each byte with its range in the text.
    let mut bytes: Vec<(u8, usize, usize)> = text.bytes().enumerate().map(|(at, byte)| (byte, at, at + 1)).collect();
    for _ in 0..=LEVELS {
        let plain: Vec<u8> = bytes.iter().map(|(byte, ..)| *byte).collect();
        let lower = plain.to_ascii_lowercase();
        for secret in &known {
            let shapes = std::iter::once(&secret.plain).chain(&secret.forms).map(|shape| (shape, &plain));
            for (shape, within) in shapes.chain([(&secret.hex, &lower)]) {
                for at in find(within, shape) {
                    let (_, from, _) = bytes[at];
                    let (.., to) = bytes[at + shape.len() - 1];
                    hidden[from..to].fill(true);
                }
            }
        }
        let decoded = decode(&bytes);
        if decoded.len() == bytes.len() {
            break;
        }
        bytes = decoded;
    }
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for (at, c) in text.char_indices() {
        match (hidden[at], inside) {
            (true, false) => out.push_str(MASK),
            (false, _) => out.push(c),
            (true, true) => {}
        }
        inside = hidden[at];
    }
    if cut {
        out.push('…');
    }
    out
}

/// The positions at which a secret occurs in a text.
fn find(text: &[u8], secret: &[u8]) -> Vec<usize> {
    let Some(first) = secret.first() else { return Vec::new() };
    let begins = text.iter().enumerate().filter(|(_, byte)| *byte == first).map(|(at, _)| at);
    begins.filter(|at| text[*at..].starts_with(secret)).collect()
}

/// Removes one level of percent-encoding.
fn decode(bytes: &[(u8, usize, usize)]) -> Vec<(u8, usize, usize)> {
    let digit = |at: usize| bytes.get(at).and_then(|(byte, ..)| char::from(*byte).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&(byte, from, to)) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                let (.., to) = bytes[at + 2];
                out.push(((high * 16 + low) as u8, from, to));
                at += 3;
            }
            _ => {
                out.push((byte, from, to));
                at += 1;
            }
        }
    }
    out
}

/// The part of a text's Base64 that does not depend on what surrounds it, if the text begins `shift` bytes into a group of three.
/// Returned in both alphabets if they differ.
fn base64(plain: &[u8], shift: usize) -> Vec<Vec<u8>> {
    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = vec![false; 8 * shift];
    bits.extend(plain.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)));
    // Only groups of six bits that belong entirely to the secret.
    let first = (8 * shift).div_ceil(6);
    let groups = bits.chunks_exact(6).skip(first);
    let standard: Vec<u8> =
        groups.map(|group| STANDARD[group.iter().fold(0, |value, bit| value << 1 | usize::from(*bit))]).collect();
    let url = standard.iter().map(|c| match c {
        b'+' => b'-',
        b'/' => b'_',
        other => *other,
    });
    let url: Vec<u8> = url.collect();
    if url == standard { vec![standard] } else { vec![standard, url] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(plain: &[u8]) -> String {
        let mut padded = plain.to_vec();
        padded.extend([0; 2]);
        // In whole groups of three, so that the last characters are those of a real encoder.
        padded.truncate(plain.len().div_ceil(3) * 3);
        let groups = padded.chunks(3).flat_map(|three| base64(three, 0).remove(0)).collect();
        String::from_utf8(groups).unwrap()
    }

    proptest! {
        #[test]
        fn a_secret_never_survives_in_any_form(
            secret in "[A-Za-z0-9+/=&%.~-]{12,40}", before in "[a-z :]{0,7}", after in "[a-z ]{0,7}", form in 0..6, level in 0..2,
            which in proptest::collection::vec(any::<bool>(), 40),
        ) {
            remember(&secret);
            let written = match form {
                0 => secret.clone(),
                1 => secret.bytes().zip(&which).map(|(c, all)| {
                    if *all || c == b'%' { format!("%{c:02x}") } else { char::from(c).to_string() }
                }).collect(),
                2 => secret.bytes().map(|c| format!("{c:02X}")).collect(),
                3 => encode(secret.as_bytes()),
                4 => encode(format!("user:{secret}:x").as_bytes()),
                _ => encode(format!("me:{secret}").as_bytes()).replace('+', "-").replace('/', "_"),
            };
            let written = if level == 1 { written.replace('%', "%25") } else { written };
            let shown = mask(&format!("{before}{written}{after}"));
            prop_assert!(shown.contains(MASK), "{written} -> {shown}");
            prop_assert!(!shown.contains(&secret) && !shown.contains(&written), "{written} -> {shown}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        remember("short");
        remember("a-secret-of-some-length");
        let text = "Größe %41 of short things: a-secret";
        assert_eq!(mask(text), text);
        assert_eq!(mask("[a-secret-of-some-length]"), "[***]");
    }
}
