//! Effective permissions: the user and the OAuth client have the privileges that a migration needs, granted on the
//! catalog and inherited by everything in it.

use serde_json::{Value, json};

use super::USER_NAME;
use super::answer::{Answer, Refusal};
use super::objects::{Query, State, list};
use super::paging::cut;

const GRANTED: &[&str] = &["USE_CATALOG", "USE_SCHEMA", "SELECT", "EXECUTE", "BROWSE"];

impl State {
    pub fn effective_permissions(&self, kind: &str, full_name: &str, query: &Query) -> Answer {
        let inherited = match kind.to_ascii_lowercase().as_str() {
            "catalog" => self.catalog(full_name).map(|_| false)?,
            "schema" => self.schema(full_name).map(|_| true)?,
            "table" => self.find_table(full_name).map(|_| true)?,
            _ => return Err(Refusal::invalid(format!("'{kind}' is not a securable type."))),
        };
        let privileges: Vec<Value> = GRANTED
            .iter()
            .map(|privilege| match inherited {
                true => json!({ "privilege": privilege, "inherited_from_type": "CATALOG", "inherited_from_name": self.catalog }),
                false => json!({ "privilege": privilege }),
            })
            .collect();
        let mut principals = vec![USER_NAME.to_owned()];
        principals.extend(self.known.client.as_ref().map(|client| client.id.clone()));
        if let Some(asked) = query.get("principal").filter(|asked| !asked.is_empty()) {
            principals.retain(|principal| principal == asked);
        }
        let page = cut(&format!("rights on {kind} {full_name}"), principals, query, self.page_size)?;
        let assignment = |principal: &String| json!({ "principal": principal, "privileges": privileges });
        Ok(list("privilege_assignments", page.names.iter().map(assignment).collect(), page.next))
    }
}
