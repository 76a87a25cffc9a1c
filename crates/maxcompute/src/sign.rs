//! Computes the signature of a request. Pure. Two versions sign the same canonical text: V4 derives a key for a day and a region,
//! V2 uses the secret itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::Sha256;

/// The parts of a request that are signed. Values are plain text: what is percent-encoded on the wire is signed decoded.
pub(crate) struct Signable<'r> {
    pub method: &'r str,
    /// The path below the endpoint, decoded, with a leading `/`.
    pub path: &'r str,
    /// The parameters. An empty value is signed, and sent, as the bare name.
    pub query: &'r [(String, String)],
    /// All headers; [`canonical`] leaves out those that are not signed.
    pub headers: &'r [(String, String)],
}

/// The day and region for which a V4 key is derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The UTC day, `yyyymmdd`.
    pub day: String,
    pub region: String,
}

/// The canonical text, whose MAC is the signature.
pub(crate) fn canonical(request: &Signable<'_>) -> String {
    let mut lines = BTreeMap::from([("content-md5".to_owned(), ""), ("content-type".to_owned(), "")]);
    for (name, value) in request.headers {
        let name = name.to_ascii_lowercase();
        if matches!(name.as_str(), "content-md5" | "content-type" | "date") || name.starts_with("x-odps-") {
            lines.insert(name, value);
        }
    }
    for (name, value) in request.query.iter().filter(|(name, _)| name.starts_with("x-odps-")) {
        lines.insert(name.clone(), value);
    }
    let mut text = format!("{}\n", request.method);
    for (name, value) in &lines {
        let named = if name.starts_with("x-odps-") { format!("{name}:{value}\n") } else { format!("{value}\n") };
        text.push_str(&named);
    }
    text.push_str(request.path);
    let mut query: Vec<_> = request.query.iter().collect();
    query.sort();
    for (i, (name, value)) in query.into_iter().enumerate() {
        text.push(if i == 0 { '?' } else { '&' });
        text.push_str(name);
        if !value.is_empty() {
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

/// The value of the Authorization header: V4 with a `scope`, V2 without.
pub(crate) fn authorization(access_id: &str, secret: &SecretString, scope: Option<&Scope>, canonical: &str) -> String {
    let mut header = format!("ODPS {access_id}");
    let mac = match scope {
        Some(scope) => {
            // Writing to a String cannot fail.
            let _written = write!(header, "/{}/{}/odps/aliyun_v4_request", scope.day, scope.region);
            sha1_mac(&v4_key(secret, scope), canonical)
        }
        None => sha1_mac(secret.expose_secret().as_bytes(), canonical),
    };
    format!("{header}:{}", STANDARD.encode(mac))
}

fn v4_key(secret: &SecretString, scope: &Scope) -> Vec<u8> {
    let start = format!("aliyun_v4{}", secret.expose_secret()).into_bytes();
    [scope.day.as_str(), &scope.region, "odps", "aliyun_v4_request"].into_iter().fold(start, |key, part| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
        mac.update(part.as_bytes());
        mac.finalize().into_bytes().to_vec()
    })
}

/// Both versions end in HMAC-SHA1.
fn sha1_mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: (&str, &str) = ("Date", "Thu, 29 Feb 2024 12:34:56 GMT");
    const AGENT: (&str, &str) = ("x-odps-user-agent", "mms/0.1");
    const TUNNEL: (&str, &str) = ("x-odps-tunnel-version", "6");

    struct Case {
        method: &'static str,
        path: &'static str,
        query: &'static [(&'static str, &'static str)],
        headers: &'static [(&'static str, &'static str)],
        canonical: &'static str,
        v2: &'static str,
        /// For cn-hangzhou on the day of [`DATE`].
        v4: &'static str,
    }

    /// Made by PyODPS 0.13.2 for key id LTAItestid and secret testsecret.
    const CASES: &[Case] = &[
        Case {
            method: "POST",
            path: "/projects/proj/instances",
            query: &[("curr_project", "proj")],
            headers: &[DATE, AGENT, ("Content-Type", "application/xml")],
            canonical: "POST\n\napplication/xml\nThu, 29 Feb 2024 12:34:56 GMT\nx-odps-user-agent:mms/0.1\n/projects/proj/instances?curr_project=proj",
            v2: "sRO5/nUaWLVJ+wYLyPF39hyf35g=",
            v4: "182LMP//4v1UuCPM6P/R/Ul0DbY=",
        },
        Case {
            method: "POST",
            path: "/projects/proj/tables/t1",
            query: &[("uploads", ""), ("partition", "pt=20240101"), ("overwrite", "true"), ("curr_project", "proj")],
            headers: &[DATE, TUNNEL, AGENT],
            canonical: "POST\n\n\nThu, 29 Feb 2024 12:34:56 GMT\nx-odps-tunnel-version:6\nx-odps-user-agent:mms/0.1\n/projects/proj/tables/t1?curr_project=proj&overwrite=true&partition=pt=20240101&uploads",
            v2: "NspQj8rUZxiybkE7BNA7jM1wqjA=",
            v4: "HvcLN7zSPLtq3MRjlDalc74ZICM=",
        },
        Case {
            method: "PUT",
            path: "/projects/proj/schemas/s1/tables/t1",
            query: &[("uploadid", "20240229U1"), ("blockid", "7"), ("arrow", ""), ("quotaName", "q1")],
            headers: &[
                ("Authorization-STS-Token", "not signed"),
                ("odps-tunnel-sdk-support-schema-evolution", "true"),
                DATE,
                ("Content-Type", "application/octet-stream"),
                TUNNEL,
                AGENT,
            ],
            canonical: "PUT\n\napplication/octet-stream\nThu, 29 Feb 2024 12:34:56 GMT\nx-odps-tunnel-version:6\nx-odps-user-agent:mms/0.1\n/projects/proj/schemas/s1/tables/t1?arrow&blockid=7&quotaName=q1&uploadid=20240229U1",
            v2: "lcgnI5YIwv1KLyfc5ReRl1ym1NY=",
            v4: "tlSbCYgQR+pmU8fuk6PpdPNsbZ4=",
        },
    ];

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn signatures_equal_those_of_an_official_client() {
        let secret = SecretString::from("testsecret");
        let scope = Scope { day: "20240229".to_owned(), region: "cn-hangzhou".to_owned() };
        for case in CASES {
            let (query, headers) = (owned(case.query), owned(case.headers));
            let text = canonical(&Signable { method: case.method, path: case.path, query: &query, headers: &headers });
            assert_eq!(text, case.canonical);
            assert_eq!(authorization("LTAItestid", &secret, None, &text), format!("ODPS LTAItestid:{}", case.v2));
            assert_eq!(
                authorization("LTAItestid", &secret, Some(&scope), &text),
                format!("ODPS LTAItestid/20240229/cn-hangzhou/odps/aliyun_v4_request:{}", case.v4)
            );
        }
    }

    #[test]
    fn the_v4_key_follows_its_chain() {
        let scope = Scope { day: "20240229".to_owned(), region: "cn-hangzhou".to_owned() };
        let key = v4_key(&"testsecret".into(), &scope);
        assert_eq!(hex::encode(key), "64433a746825c7357026418865b8326ed2fc7b0de82666b2c5ed143441d75c9b");
    }

    #[test]
    fn values_are_signed_as_they_are_meant() {
        let query = owned(&[("partition", "pt=a+b&c/d e")]);
        let text = canonical(&Signable { method: "GET", path: "/p", query: &query, headers: &[] });
        assert_eq!(text, "GET\n\n\n/p?partition=pt=a+b&c/d e");
    }
}
