//! Splits the secrets off a message and joins them again, by the secret marks of the contract. Only messages without secrets are
//! stored, watched or shown. A secret is kept under the path of its field, as in `databricks.access_token.token`. An item of a
//! list of messages is identified by its first field, as in `databricks.storage["abfss://…"].azure_sas.sas`: so a secret stays
//! with its item when items are added or removed.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest;
use mms_proto::{descriptor, redact};
use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// The secrets of one message, by path.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, SecretString>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// The secret at a path.
    pub fn get(&self, path: &str) -> Option<&SecretString> {
        self.0.get(path)
    }

    /// All secrets with their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.0.iter().map(|(path, secret)| (path.as_str(), secret))
    }

    /// Whether there is no secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These secrets, completed by those of `older` whose paths are in `places` and have no secret here.
    #[must_use]
    pub fn over(mut self, older: &Self, places: &[String]) -> Self {
        for path in places {
            if let (None, Some(secret)) = (self.0.get(path), older.0.get(path)) {
                self.0.insert(path.clone(), secret.clone());
            }
        }
        self
    }

    /// Only the secrets whose path is wanted.
    #[must_use]
    pub fn only(mut self, wanted: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|path, _| wanted(path));
        self
    }

    /// Replaces each secret by the result of `each`.
    pub fn map<E>(&self, mut each: impl FnMut(&str, &SecretString) -> Result<SecretString, E>) -> Result<Self, E> {
        let mapped = self.0.iter().map(|(path, secret)| Ok((path.clone(), each(path, secret)?)));
        mapped.collect::<Result<_, E>>().map(Self)
    }

    /// Serializes the secrets to the plain bytes that are then sealed.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let plain: BTreeMap<&str, &str> = self.0.iter().map(|(k, v)| (k.as_str(), v.expose_secret())).collect();
        // Reserve enough at once, so that no reallocation leaves a copy in memory: JSON escapes take up to six bytes.
        let room = plain.iter().map(|(path, secret)| 6 * (path.len() + secret.len()) + 8).sum::<usize>() + 2;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *bytes, &plain).expect("texts under texts are JSON");
        bytes
    }

    /// Reads what [`Secrets::to_bytes`] wrote; None when the bytes are not that.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let plain: BTreeMap<String, String> = serde_json::from_slice(bytes).ok()?;
        Some(Self(plain.into_iter().map(|(path, secret)| (path, SecretString::from(secret))).collect()))
    }
}

/// Compares secrets without holding them: files and variables that references name may change without notice.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint(Vec<u8>);

impl Fingerprint {
    /// The fingerprint of resolved secrets.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a Secrets>) -> Self {
        let mut whole = digest::Context::new(&digest::SHA256);
        secrets.into_iter().for_each(|secrets| {
            whole.update(digest::digest(&digest::SHA256, &secrets.to_bytes()).as_ref());
        });
        Self(whole.finish().as_ref().to_vec())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// A message of the contract, accessible through its descriptor.
pub fn dynamic<T: prost::Message + prost::Name>(message: &T) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(descriptor::message::<T>());
    dynamic.transcode_from(message).expect("a generated message fits its own descriptor");
    dynamic
}

/// The generated message of a dynamic one.
pub fn generated<T: prost::Message + Default>(dynamic: &DynamicMessage) -> T {
    dynamic.transcode_to().expect("a descriptor fits its own generated message")
}

/// Splits a message into one without secrets, and the secrets.
pub fn split<T: prost::Message + prost::Name + Default>(message: &T) -> (T, Secrets) {
    let mut dynamic = dynamic(message);
    let mut secrets = Secrets::default();
    walk(&mut dynamic, "", &mut |path, slot| {
        if let Some(secret) = slot.take() {
            secrets.0.insert(path.to_owned(), secret);
        }
    });
    (generated(&dynamic), secrets)
}

/// Puts the secrets back into a message.
pub fn join<T: prost::Message + prost::Name + Default>(message: &T, secrets: &Secrets) -> T {
    let mut dynamic = dynamic(message);
    walk(&mut dynamic, "", &mut |path, slot| *slot = secrets.get(path).cloned());
    generated(&dynamic)
}

/// The paths of all secrets that the message can hold; of a oneof, only those of the member that is set.
pub fn places<T: prost::Message + prost::Name>(message: &T) -> Vec<String> {
    let mut places = Vec::new();
    walk(&mut dynamic(message), "", &mut |path, _| places.push(path.to_owned()));
    places
}

fn walk(message: &mut DynamicMessage, at: &str, each: &mut impl FnMut(&str, &mut Option<SecretString>)) {
    for field in message.descriptor().fields() {
        let path = if at.is_empty() { field.name().to_owned() } else { format!("{at}.{}", field.name()) };
        if field.is_list() && matches!(field.kind(), Kind::Message(_)) {
            if let Value::List(items) = message.get_field_mut(&field) {
                for item in items.iter_mut().filter_map(Value::as_message_mut) {
                    walk(item, &item_path(&path, &key_of(item)), each);
                }
            }
        } else if redact::is_secret(&field) {
            let mut slot = match message.get_field(&field).as_ref() {
                Value::String(text) if !text.is_empty() => Some(SecretString::from(text.as_str())),
                _ => None,
            };
            each(&path, &mut slot);
            match slot {
                Some(secret) => message.set_field(&field, Value::String(secret.expose_secret().to_owned())),
                None => message.clear_field(&field),
            }
        } else if message.has_field(&field)
            && let Value::Message(inner) = message.get_field_mut(&field)
        {
            walk(inner, &path, each);
        }
    }
}

/// The path of an item of a list of messages.
pub fn item_path(list: &str, key: &str) -> String {
    format!("{list}[{key:?}]")
}

fn key_of(item: &DynamicMessage) -> String {
    let first = item.descriptor().fields().next();
    first.and_then(|field| item.get_field(&field).as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::registry::v1 as pb;

    fn source() -> pb::DataSource {
        let auth = pb::databricks_source::WorkspaceAuth::AccessToken(pb::AccessToken {
            token: "canary-token".into(),
            is_set: false,
        });
        let databricks = pb::DatabricksSource { workspace_auth: Some(auth), ..pb::DatabricksSource::default() };
        pb::DataSource { source: Some(databricks.into()), ..pb::DataSource::default() }
    }

    fn with_storage(accesses: &[(&str, &str)]) -> pb::DataSource {
        let access = |(prefix, sas): &(&str, &str)| pb::StorageAccess {
            location_prefix: (*prefix).into(),
            access: Some(pb::storage_access::Access::AzureSas(pb::AzureSas {
                sas: (*sas).into(),
                ..pb::AzureSas::default()
            })),
        };
        let mut source = source();
        source.databricks_mut().unwrap().storage = accesses.iter().map(access).collect();
        source
    }

    #[test]
    fn what_is_split_joins_again() {
        let (public, secrets) = split(&source());
        assert_eq!(secrets.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["databricks.access_token.token"]);
        assert!(!format!("{secrets:?}").contains("canary") && !prost_text(&public).contains("canary"));
        let stored = Secrets::from_bytes(&secrets.to_bytes()).unwrap();
        assert_eq!(join(&public, &stored), source());
    }

    fn prost_text(source: &pb::DataSource) -> String {
        String::from_utf8_lossy(&prost::Message::encode_to_vec(source)).into_owned()
    }

    #[test]
    fn an_unsent_secret_stays_while_its_place_does() {
        let (mut public, old) = split(&source());
        let kept = Secrets::default().over(&old, &places(&public));
        assert_eq!(kept.get("databricks.access_token.token").unwrap().expose_secret(), "canary-token");
        public.source = Some(pb::DatabricksSource::default().into());
        assert!(Secrets::default().over(&old, &places(&public)).is_empty());
    }

    #[test]
    fn a_secret_stays_with_the_item_that_has_its_key() {
        let (_, old) = split(&with_storage(&[("", "canary-all"), ("abfss://a@b", "canary-a")]));
        // Turned around, one sent anew, one of a place that is new.
        let (public, sent) = split(&with_storage(&[("abfss://a@b", ""), ("abfss://c@d", ""), ("", "canary-new")]));
        let kept = sent.over(&old, &places(&public));
        let texts: Vec<_> = kept.iter().map(|(path, secret)| (path, secret.expose_secret())).collect();
        assert_eq!(
            texts,
            [
                ("databricks.access_token.token", "canary-token"),
                ("databricks.storage[\"\"].azure_sas.sas", "canary-new"),
                ("databricks.storage[\"abfss://a@b\"].azure_sas.sas", "canary-a"),
            ]
        );
    }
}
