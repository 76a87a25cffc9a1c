//! The commands of the project's pages, as they stand there.

use anyhow::Context;

/// A section of a page: what follows its head, or what is before the first one.
///
/// # Errors
/// There is none that begins so.
pub fn section(page: &str, head: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(crate::peers::root().join(page))?;
    let found = text.split("\n## ").find(|found| found.trim_start_matches("# ").starts_with(head));
    Ok(found.with_context(|| format!("{page} has no section {head}"))?.to_owned())
}

/// The commands of a section: the lines of its shell blocks, with continued ones joined.
///
/// # Errors
/// There is no such section.
pub fn commands(page: &str, head: &str) -> anyhow::Result<Vec<String>> {
    let section = section(page, head)?;
    let blocks = section.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>());
    Ok(lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect())
}
