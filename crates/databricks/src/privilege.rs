//! Effective privileges, granted or inherited: read by checks before anything is moved.

use serde::Deserialize;

use crate::model::or_default;
use crate::unity::{UNITY, full_name};
use crate::workspace::{name, path};
use crate::{DatabricksError, Pages, Workspace};

/// Most principals that are read of one object.
const MAX_PRINCIPALS: usize = 100_000;

/// An object that privileges are granted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Securable<'n> {
    /// A catalog.
    Catalog(&'n str),
    /// A schema: catalog and name.
    Schema(&'n str, &'n str),
    /// A table: catalog, schema and name.
    Table(&'n str, &'n str, &'n str),
}

/// A privilege of one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectivePrivilege {
    /// Name of the user, group or service principal.
    pub principal: String,
    /// The privilege, such as `USE_CATALOG`, `SELECT`, `ALL_PRIVILEGES`.
    pub privilege: String,
    /// Kind of the object that it is inherited from; absent if it is granted on the object itself.
    pub inherited_from_type: Option<String>,
    /// Name of the object that it is inherited from.
    pub inherited_from_name: Option<String>,
}

#[derive(Deserialize)]
struct Assignment {
    principal: String,
    #[serde(default, deserialize_with = "or_default")]
    privileges: Vec<Granted>,
}

#[derive(Deserialize)]
struct Granted {
    privilege: String,
    inherited_from_type: Option<String>,
    inherited_from_name: Option<String>,
}

impl Workspace {
    /// The effective privileges on an object, of `principal` or of everybody.
    pub async fn effective_privileges(
        &self,
        securable: Securable<'_>,
        principal: Option<&str>,
    ) -> Result<Vec<EffectivePrivilege>, DatabricksError> {
        let (kind, full_name) = match securable {
            Securable::Catalog(catalog) => ("catalog", name("catalog", catalog)?.to_owned()),
            Securable::Schema(catalog, schema) => {
                ("schema", format!("{}.{}", name("catalog", catalog)?, name("schema", schema)?))
            }
            Securable::Table(catalog, schema, table) => ("table", full_name(catalog, schema, table)?),
        };
        let query = principal.map(|principal| ("principal", principal.to_owned())).into_iter().collect();
        let path = path(UNITY, &["effective-permissions", kind, &full_name]);
        let pages: Pages<Assignment> = Pages::new(self, path, query, "privilege_assignments");
        let assignments = pages.all(MAX_PRINCIPALS).await?.items;
        let rights = assignments.into_iter().flat_map(|assignment| {
            let principal = assignment.principal;
            assignment.privileges.into_iter().map(move |granted| EffectivePrivilege {
                principal: principal.clone(),
                privilege: granted.privilege,
                inherited_from_type: granted.inherited_from_type,
                inherited_from_name: granted.inherited_from_name,
            })
        });
        Ok(rights.collect())
    }
}
