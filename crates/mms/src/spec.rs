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
        assert!(source.databricks.is_some() && source.max_compute.is_some() && source.settings.is_some());
    }

    #[test]
    fn what_the_example_offers_in_comments_is_valid_too() {
        // Alternatives stand commented with "#| "; each must be a field of the contract.
        let offered = EXAMPLE.lines().filter(|line| line.trim_start().starts_with("#| ")).count();
        assert!(offered > 5);
        let mut blocks: Vec<Vec<String>> = vec![Vec::new()];
        for line in EXAMPLE.lines() {
            if line.trim_start().starts_with("#| ") {
                if let Some(block) = blocks.last_mut() {
                    block.push(line.replacen("#| ", "", 1));
                }
            } else if blocks.last().is_some_and(|block| !block.is_empty()) {
                blocks.push(Vec::new());
            }
        }
        for block in blocks.iter().filter(|block| !block.is_empty()) {
            let indent = block[0].len() - block[0].trim_start().len();
            let end = if indent == 2 { "dataSource" } else { "" };
            let text = block.join("\n");
            let wrapped = match (end, text.trim_start()) {
                ("dataSource", _) => format!("dataSource:\n{text}"),
                (_, inner) if inner.starts_with("accessKey") || inner.starts_with("bearerToken") => {
                    format!("dataSource:\n  maxCompute:\n{text}")
                }
                (_, inner) if inner.starts_with("scanSchedule") => format!("dataSource:\n  settings:\n{text}"),
                _ => format!("dataSource:\n  databricks:\n{text}"),
            };
            parse(&wrapped).unwrap_or_else(|error| panic!("{wrapped}\n{error:#}"));
        }
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = format!("{:#}", parse("dataSource: {databricks: {workspaceUri: x}}").unwrap_err());
        assert!(error.contains("dataSource.databricks.workspaceUri"), "{error}");
    }
}
