//! Request ids: a repeated call with the same id is answered as the first was. A request may contain secrets, so only its keyed
//! fingerprint is stored.

use mms_server::requests::{self, Request};
use mms_store::{Read, Tx};
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

use crate::error::{RegistryError, Result};
use crate::secrets::dynamic;
use crate::vault::KeyRing;

/// One call with a request id.
#[derive(Clone)]
pub struct Call {
    call: requests::Call,
    content: Zeroizing<Vec<u8>>,
    now_ms: i64,
}

impl Call {
    /// `method` and `id` identify the call. The id is part of the fingerprinted content too, which makes no difference.
    pub fn new<T: prost::Message + prost::Name>(method: &'static str, id: &str, request: &T, now_ms: i64) -> Self {
        let content = if id.is_empty() { Vec::new() } else { canonical(request) };
        let call = requests::Call { method, id: id.to_owned() };
        Self { call, content: Zeroizing::new(content), now_ms }
    }

    /// The id of the resource that an earlier call with this id created. Fails when that call had other content.
    pub fn replayed(&self, read: &impl Read, vault: &KeyRing) -> Result<Option<String>> {
        // Without the key of the fingerprint the contents cannot be compared: the request id alone decides.
        let same = |seen: &Request| vault.is_of(&seen.key_id, &seen.digest, &self.content).unwrap_or(true);
        Ok(self.call.replayed::<RegistryError>(read, self.now_ms, same)?.map(|seen| seen.resource))
    }

    /// Stores which resource this call created.
    pub fn remember(&self, tx: &mut Tx<'_>, vault: &KeyRing, resource: &str) -> Result<()> {
        if self.call.id.is_empty() {
            return Ok(());
        }
        let (key_id, digest) = vault.fingerprint(&self.content);
        let (resource, time_ms) = (resource.to_owned(), self.now_ms);
        Ok(self.call.remember(tx, &Request { digest, key_id, resource, time_ms, ..Request::default() })?)
    }
}

/// A canonical form: equal contents give equal bytes, whereas protobuf encodes the entries of a map in any order.
fn canonical<T: prost::Message + prost::Name>(request: &T) -> Vec<u8> {
    let value = serde_json::to_value(dynamic(request)).unwrap_or(Value::Null);
    let mut text = String::new();
    write(&value, &mut text);
    text.into_bytes()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in members {
                out.push_str(&Value::from(key.as_str()).to_string());
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            items.iter().for_each(|item| {
                write(item, out);
                out.push(',');
            });
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::registry::v1 as pb;

    #[test]
    fn the_order_of_a_map_is_not_content() {
        let request = |keys: &[&str], value: &str| {
            let sql_parameters = keys.iter().map(|key| ((*key).to_owned(), value.to_owned())).collect();
            let settings = pb::MigrationSettings { sql_parameters, ..pb::MigrationSettings::default() };
            pb::DataSource { settings: Some(settings), ..pb::DataSource::default() }
        };
        let keys: Vec<String> = (0..40).map(|n| format!("flag{n}")).collect();
        let forth: Vec<&str> = keys.iter().map(String::as_str).collect();
        let back: Vec<&str> = forth.iter().rev().copied().collect();
        assert_eq!(canonical(&request(&forth, "1")), canonical(&request(&back, "1")));
        assert_ne!(canonical(&request(&forth, "1")), canonical(&request(&forth, "2")));
    }
}
