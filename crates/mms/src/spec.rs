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
    fn an_unknown_field_is_named() {
        let error = format!("{:#}", parse("dataSource: {databricks: {workspaceUri: x}}").unwrap_err());
        assert!(error.contains("dataSource.databricks.workspaceUri"), "{error}");
    }
}
