//! `mms docs`: explains a reason and says what to do, from the page that is generated from the contracts. It calls no
//! service.

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::output;
use crate::spec::nearest;

/// All stable reasons. `crates/proto/tests/it/reasons_page.rs` checks that the page matches the contracts.
const REASONS: &str = include_str!("../../../docs/reasons.md");

/// Explain a reason that a command, a job or a service gave.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mms docs TARGET_OWNED
  mms docs                                 every reason, by where it is given
  mms docs --json | jq -r .reason")]
pub struct Docs {
    /// The reason, in upper or lower case.
    #[arg(value_name = "REASON")]
    reason: Option<String>,
    /// Print one JSON object a reason.
    #[arg(long)]
    json: bool,
}

/// A row of a table on the page.
struct Reason<'a> {
    /// The heading above the row, which says where the reason is given.
    place: &'a str,
    name: &'a str,
    meaning: &'a str,
}

impl Docs {
    /// Prints one reason, or all.
    pub fn run(&self) -> anyhow::Result<bool> {
        let all: Vec<Reason<'_>> = reasons(REASONS).collect();
        let wanted: Vec<&Reason<'_>> = match &self.reason {
            None => all.iter().collect(),
            Some(asked) => {
                let found: Vec<_> =
                    all.iter().filter(|reason| reason.name.eq_ignore_ascii_case(asked.trim())).collect();
                if found.is_empty() {
                    let known: Vec<String> = all.iter().map(|reason| reason.name.to_owned()).collect();
                    let meant = nearest(asked, &known).map(|meant| format!("; did you mean {meant}?"));
                    bail!("there is no reason {asked}{}", meant.unwrap_or_else(|| ": mms docs lists all".to_owned()));
                }
                found
            }
        };
        if self.json {
            for reason in wanted {
                let (name, place, meaning) = (reason.name, reason.place, reason.meaning);
                output::line(&json!({ "reason": name, "given": place, "meaning": meaning }).to_string());
            }
        } else if self.reason.is_some() {
            for reason in wanted {
                output::text(&format!("{} ({})\n\n{}", reason.name, reason.place, reason.meaning));
            }
        } else {
            output::table(
                ["reason", "given", "meaning"],
                wanted.iter().map(|reason| {
                    // A list has the first sentence of each; what to do is shown only for a single reason.
                    let first = reason.meaning.split_inclusive(". ").next().unwrap_or_default();
                    [reason.name.to_owned(), reason.place.to_owned(), first.trim_end().to_owned()]
                }),
            );
        }
        Ok(true)
    }
}

/// The rows of the page.
fn reasons(page: &str) -> impl Iterator<Item = Reason<'_>> {
    let mut place = "";
    page.lines().filter_map(move |line| {
        if let Some(heading) = line.strip_prefix("## ") {
            place = heading;
        }
        let (name, meaning) = line.strip_prefix("| `")?.split_once("` | ")?;
        let meaning = meaning.strip_suffix(" |").filter(|_| name.chars().all(|c| !c.is_lowercase()))?;
        Some(Reason { place, name, meaning })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_the_page_is_a_reason_with_its_place() {
        let all: Vec<_> = reasons(REASONS).collect();
        let rows = REASONS.lines().filter(|line| line.starts_with("| `")).count();
        let heads = REASONS.lines().filter(|line| line.starts_with("## ")).count();
        assert_eq!(all.len(), rows - heads, "all but the heads of the tables");
        assert!(all.iter().all(|reason| !reason.place.is_empty() && reason.meaning.len() > 10));
        let owned = all.iter().find(|reason| reason.name == "TARGET_OWNED").unwrap();
        assert!(owned.place.starts_with("Errors") && owned.meaning.contains("wait for its end"), "{}", owned.meaning);
    }
}
