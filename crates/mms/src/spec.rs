//! Files that people write: a `CreateDataSourceRequest` in YAML or JSON.

use std::path::Path;

use anyhow::Context;
use mms_proto::registry::v1::CreateDataSourceRequest;

/// Reads a request; `-` is stdin. Fields that the contract does not have are refused.
pub fn read(file: &Path) -> anyhow::Result<CreateDataSourceRequest> {
    let failed = || format!("reading {}", file.display());
    let text = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()).with_context(failed)?,
        _ => std::fs::read_to_string(file).with_context(failed)?,
    };
    parse(&text).with_context(failed)
}

/// Parses YAML, of which JSON is a part.
pub fn parse(text: &str) -> anyhow::Result<CreateDataSourceRequest> {
    let value: serde_json::Value = serde_saphyr::from_str(text).context("not YAML")?;
    Ok(mms_proto::json::from_value(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::validate;

    const EXAMPLE: &str = include_str!("../../../deploy/examples/azure-databricks.yaml");

    #[test]
    fn the_example_is_a_valid_request() {
        let request = parse(EXAMPLE).unwrap();
        assert!(validate::violations(&request).is_empty(), "{:?}", validate::violations(&request));
        let source = request.data_source.unwrap();
        assert!(source.databricks().is_some() && source.max_compute.is_some() && source.settings.is_some());
    }

    /// The lines under which a line of this indent stands, outermost first: the nearest before it that are less indented.
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
        // Alternatives stand commented with "#| "; each must be of the contract, where it stands.
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
                parse(&text).unwrap_or_else(|error| panic!("{text}\n{error:#}"));
                offered += 1;
            }
            at += block.len().max(1);
        }
        assert!(offered > 5, "{offered} alternatives");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = format!("{:#}", parse("dataSource: {databricks: {workspaceUri: x}}").unwrap_err());
        assert!(error.contains("dataSource.databricks.workspaceUri"), "{error}");
    }
}
