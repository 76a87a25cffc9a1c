//! Files that people write: messages of the contracts in YAML or JSON. Owns how mistakes in them are reported: all at
//! once, each with its line.

use std::path::Path;

use anyhow::{Context, bail};
use mms_proto::ApiError;
use mms_proto::error::{MORE, reason_text};
use mms_proto::json::{JsonError, UnknownField};
use mms_proto::registry::v1::CreateDataSourceRequest;
use prost::{Message, Name};

use crate::yaml::Lines;

/// A message, and the line of each of its fields in the file.
#[derive(Debug)]
pub struct Spec<T = CreateDataSourceRequest> {
    /// What the file says.
    pub message: T,
    /// The file's name in messages.
    pub file: String,
    lines: Lines,
}

/// Reads the file of a data source.
pub fn read(file: &Path) -> anyhow::Result<Spec> {
    read_as(file)
}

/// Reads a message; `-` is stdin. Fields that the contract does not have are errors, all reported at once.
pub fn read_as<T: Message + Name + Default>(file: &Path) -> anyhow::Result<Spec<T>> {
    let stdin = file.to_str() == Some("-");
    let called = if stdin { "stdin".to_owned() } else { file.display().to_string() };
    let text = if stdin { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let example = "deploy/examples/azure-databricks.yaml shows one with every parameter";
    parse(&called, &text.with_context(|| format!("reading {called} (of data sources {example})"))?)
}

/// Parses YAML, which includes JSON.
fn parse<T: Message + Name + Default>(file: &str, text: &str) -> anyhow::Result<Spec<T>> {
    let value: serde_json::Value =
        serde_saphyr::from_str(text).with_context(|| format!("{file} is neither YAML nor JSON"))?;
    let lines = Lines::of(text);
    match mms_proto::json::from_value(value) {
        Ok(message) => Ok(Spec { message, file: file.to_owned(), lines }),
        Err(JsonError::Unknown { fields, .. }) => {
            let mut all = fields.iter().map(|field| (lines.at(&field.path), unknown(field))).collect::<Vec<_>>();
            all.sort_by_key(|(line, _)| *line);
            let each = all.into_iter().map(|(line, text)| format!("\n  {}{text}", place(line)));
            let count = if fields.len() == 1 { "a field".to_owned() } else { format!("{} fields", fields.len()) };
            bail!("{file} has {count} that the contract does not have:{}", each.collect::<String>())
        }
        Err(other) => Err(anyhow::Error::from(other).context(format!("reading {file}"))),
    }
}

fn place(line: Option<u64>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

/// The text about an unknown field: the known one that is most like it, or all that there are.
pub fn unknown(field: &UnknownField) -> String {
    let typed = field.path.rsplit('.').next().unwrap_or_default();
    match nearest(typed, &field.known) {
        Some(meant) => format!("{}; did you mean {meant}?", field.path),
        None => format!("{}; there is {}", field.path, field.known.join(", ")),
    }
}

/// The known name that is most similar to a typed one, if one is similar enough.
pub fn nearest<'a>(typed: &str, known: &'a [String]) -> Option<&'a String> {
    let typed = typed.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&typed, &name.to_lowercase());
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.filter(|name| likeness(name) > LIKE)
}

/// The least similarity for a suggestion, as in clap.
const LIKE: f64 = 0.7;

impl<T> Spec<T> {
    /// The service's error about the request, with the line in the file for each field that it names.
    pub fn explained(&self, status: tonic::Status) -> anyhow::Error {
        let error = ApiError::from_status(&status);
        if error.violations.is_empty() {
            return status.into();
        }
        let each = error.violations.iter().map(|violation| {
            let path = violation.field.split('.').map(camel).collect::<Vec<_>>().join(".");
            let path = path.strip_prefix("dataSource.").unwrap_or(&path);
            format!("\n  {}{path} {}", self.place(&violation.field), violation.description)
        });
        let more = error.metadata.get(MORE).map(|more| format!("\n  and {more} more")).unwrap_or_default();
        let reason = reason_text(error.reason);
        anyhow::anyhow!("{reason}: {} is not valid:{}{more}", self.file, each.collect::<String>())
    }

    /// The file and line of a field that a service names as `data_source.…`, as a prefix for a message.
    pub fn place(&self, field: &str) -> String {
        let parts: Vec<String> = field.split('.').map(camel).collect();
        (1..=parts.len())
            .rev()
            .find_map(|count| self.lines.at(&parts[..count].join(".")))
            .map_or_else(String::new, |line| format!("{}:{line}: ", self.file))
    }
}

/// The spelling in files of a contract's name: `workspaceUrl` for `workspace_url`.
pub fn camel(name: &str) -> String {
    let mut up = false;
    let mut camel = String::new();
    for c in name.chars() {
        match c {
            '_' => up = true,
            c if up => {
                camel.extend(c.to_uppercase());
                up = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::validate;

    const EXAMPLE: &str = include_str!("../../../deploy/examples/azure-databricks.yaml");

    #[test]
    fn the_example_is_a_valid_request() {
        let request = parse::<CreateDataSourceRequest>("example", EXAMPLE).unwrap().message;
        assert!(validate::violations(&request).is_empty(), "{:?}", validate::violations(&request));
        let source = request.data_source.unwrap();
        assert!(source.databricks().is_some() && source.max_compute.is_some() && source.settings.is_some());
    }

    /// The lines that enclose a line of this indent, outermost first: the nearest ones before it that are less
    /// indented.
    fn parents(before: &[&str], indent: usize) -> Vec<String> {
        let (mut within, mut found) = (indent, Vec::new());
        for line in before.iter().rev() {
            let text = line.trim_start();
            let depth = line.len() - text.len();
            if !text.is_empty() && !text.starts_with('#') && depth < within {
                within = depth;
                found.insert(0, format!("{:depth$}{}:", "", text.split(':').next().unwrap_or_default()));
            }
        }
        found
    }

    #[test]
    fn what_the_example_offers_in_comments_is_valid_too() {
        // Alternatives are commented out with "#| "; each must be valid at its place.
        let lines: Vec<&str> = EXAMPLE.lines().collect();
        let offer = |line: &&str| line.trim_start().starts_with("#| ");
        let (mut at, mut offered) = (0, 0);
        while at < lines.len() {
            let block: Vec<String> =
                lines[at..].iter().take_while(|line| offer(line)).map(|line| line.replacen("#| ", "", 1)).collect();
            if let Some(first) = block.first() {
                let mut whole = parents(&lines[..at], first.len() - first.trim_start().len());
                whole.extend(block.iter().cloned());
                let text = whole.join("\n");
                parse::<CreateDataSourceRequest>("example", &text).unwrap_or_else(|error| panic!("{text}\n{error:#}"));
                offered += 1;
            }
            at += block.len().max(1);
        }
        assert!(offered > 5, "{offered} alternatives");
    }

    #[test]
    fn all_typos_are_told_at_once_with_line_and_what_was_meant() {
        let text = "dataSource:\n  databricks:\n    workspaceUri: x\n  maxCompute:\n    endPoint: y\n  zzz: 1\n";
        let error = parse::<CreateDataSourceRequest>("source.yaml", text).unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines[0], "source.yaml has 3 fields that the contract does not have:");
        assert_eq!(lines[1], "  line 3: dataSource.databricks.workspaceUri; did you mean workspaceUrl?");
        assert_eq!(lines[2], "  line 5: dataSource.maxCompute.endPoint; did you mean endpoint?");
        assert!(lines[3].starts_with("  line 6: dataSource.zzz; there is "), "{error}");
    }

    #[test]
    fn what_a_service_names_is_found_in_the_file() {
        let text = "dataSource:\n  databricks:\n    workspaceUrl: x\n";
        let spec = parse::<CreateDataSourceRequest>("source.yaml", text).unwrap();
        assert_eq!(spec.place("data_source.databricks.workspace_url"), "source.yaml:3: ");
        assert_eq!(spec.place("data_source.databricks.catalog"), "source.yaml:2: ", "where it is missing");
        assert_eq!(camel("max_concurrent_tasks"), "maxConcurrentTasks");
    }
}
