//! Merges the layers of the configuration and reads its sections.
//!
//! Each value is tried alone against the defaults, so that one bad value does not hide the next one.

use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Faults, FrameConfig, ServiceConfig, TelemetryConfig};

/// A whole configuration that passed all checks.
#[derive(Debug, Clone)]
pub struct Loaded<C> {
    /// The section `[server]`.
    pub frame: FrameConfig,
    /// The section `[telemetry]`.
    pub telemetry: TelemetryConfig,
    /// The service's own section.
    pub service: C,
}

/// A value given by a flag: its key, as in `server.listen`, and the value.
pub type Override = (&'static str, Value);

/// Reads all layers and checks the whole; the error has every fault that was found.
pub fn load<C: ServiceConfig>(file: Option<&Path>, flags: &[Override]) -> Result<Loaded<C>, Faults> {
    let mut faults = Faults::default();
    let mut figment = Figment::new();
    if let Some(file) = file {
        if let Err(text) = parses(file) {
            faults.add(&file.display().to_string(), text);
            return Err(faults);
        }
        figment = figment.merge(Toml::file_exact(file));
    }
    figment = figment.merge(Env::prefixed(&format!("MMS_{}__", C::SERVICE.to_uppercase())).split("__"));
    for (key, value) in flags {
        figment = figment.merge(Serialized::default(key, value));
    }
    let merged = match figment.extract::<Map<String, Value>>() {
        Ok(merged) => merged,
        Err(error) => {
            for error in error {
                faults
                    .add(file.map_or("configuration".into(), |f| f.display().to_string()).as_str(), error.to_string());
            }
            return Err(faults);
        }
    };
    for name in merged.keys().filter(|name| !["server", "telemetry", C::SERVICE].contains(&name.as_str())) {
        faults.add(name, format!("is not a section; there are server, telemetry and {}", C::SERVICE));
    }
    let mut sections = Sections { figment: &figment, merged: &merged, faults: &mut faults };
    let frame = sections.read("server", FrameConfig::of::<C>());
    let telemetry = sections.read("telemetry", TelemetryConfig::default());
    let service = sections.read(C::SERVICE, C::default());
    frame.check(&mut faults);
    telemetry.check(&mut faults);
    service.check(&frame, &mut faults);
    if faults.is_empty() { Ok(Loaded { frame, telemetry, service }) } else { Err(faults) }
}

/// Checks that the file is TOML. The parser's own text would repeat the line, which may hold a secret: the line number
/// is enough.
fn parses(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    toml::from_str::<toml::Table>(&text).map(drop).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count());
        format!("is not TOML{}", before.map(|lines| format!(": look at line {}", lines + 1)).unwrap_or_default())
    })
}

impl<C: ServiceConfig> Loaded<C> {
    /// The whole configuration as TOML, secrets hidden.
    pub fn print(&self) -> Result<String, toml::ser::Error> {
        let sections = [
            ("server", toml::Value::try_from(&self.frame)?),
            ("telemetry", toml::Value::try_from(&self.telemetry)?),
            (C::SERVICE, toml::Value::try_from(&self.service)?),
        ];
        toml::to_string(&sections.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<toml::Table>())
    }
}

struct Sections<'a> {
    figment: &'a Figment,
    merged: &'a Map<String, Value>,
    faults: &'a mut Faults,
}

impl Sections<'_> {
    /// Reads a section: its defaults, replaced by every value that fits; a value that does not fit becomes a fault.
    fn read<T: Serialize + DeserializeOwned>(&mut self, name: &str, defaults: T) -> T {
        let Ok(mut accepted) = serde_json::to_value(&defaults) else { return defaults };
        match self.merged.get(name) {
            None => return defaults,
            Some(Value::Object(given)) => {
                let mut leaves = Vec::new();
                find_leaves(given, &accepted, &mut Vec::new(), &mut leaves);
                for (path, value) in leaves {
                    self.accept::<T>(name, &mut accepted, &path, value);
                }
            }
            Some(_) => self.faults.add(name, "is a section, not a value"),
        }
        serde_json::from_value(accepted).unwrap_or(defaults)
    }

    fn accept<T: DeserializeOwned>(&mut self, section: &str, accepted: &mut Value, path: &[String], value: &Value) {
        let key = format!("{section}.{}", path.join("."));
        let mut tried = accepted.clone();
        if !put(&mut tried, path, value.clone()) {
            return self.fault(&key, "is not known; check the spelling".into());
        }
        let Err(error) = serde_json::from_value::<T>(tried.clone()) else {
            *accepted = tried;
            return;
        };
        // Environment variables have no types: what looks like a number may be meant as text.
        if matches!(value, Value::Number(_) | Value::Bool(_))
            && put(&mut tried, path, Value::String(value.to_string()))
            && serde_json::from_value::<T>(tried.clone()).is_ok()
        {
            *accepted = tried;
            return;
        }
        let last = path.last().map(String::as_str).unwrap_or_default();
        let secret = ["secret", "token", "password", "key"].iter().any(|word| last.contains(word));
        self.fault(&key, if secret { "has the wrong type".into() } else { error.to_string() });
    }

    fn fault(&mut self, key: &str, text: String) {
        let source = self.figment.find_metadata(key).map(|metadata| match &metadata.source {
            Some(source) => format!(" (from {source})"),
            None => format!(" (from {})", metadata.name),
        });
        self.faults.add(key, text + &source.unwrap_or_default());
    }
}

/// Collects the given values that are not sections. An empty object among the defaults is a map with free keys: it
/// counts as one value.
fn find_leaves<'a>(
    given: &'a Map<String, Value>,
    defaults: &Value,
    at: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, &'a Value)>,
) {
    for (key, value) in given {
        at.push(key.clone());
        match (value, defaults.get(key)) {
            (Value::Object(inner), Some(section @ Value::Object(known))) if !known.is_empty() => {
                find_leaves(inner, section, at, leaves);
            }
            _ => leaves.push((at.clone(), value)),
        }
        at.pop();
    }
}

/// Replaces the value at a path; false if the defaults have no such path.
fn put(target: &mut Value, path: &[String], value: Value) -> bool {
    let slot = path.iter().try_fold(target, |target, key| target.get_mut(key));
    slot.map(|slot| *slot = value).is_some()
}
