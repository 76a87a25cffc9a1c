//! The commands in the project's pages, as they are written there.

use anyhow::Context;

/// A section of a page: the text after the heading `head`, or before the first heading.
///
/// # Errors
/// The page has no such section.
pub fn section(page: &str, head: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(crate::peers::root().join(page))?;
    let found = text.split("\n## ").find(|found| found.trim_start_matches("# ").starts_with(head));
    Ok(found.with_context(|| format!("{page} has no section {head}"))?.to_owned())
}

/// The commands of a section: the lines of its `sh` blocks, with continued lines joined.
///
/// # Errors
/// The page has no such section.
pub fn commands(page: &str, head: &str) -> anyhow::Result<Vec<String>> {
    let section = section(page, head)?;
    let blocks = section.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>());
    Ok(lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect())
}
