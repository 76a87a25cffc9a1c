//! Owns [`HttpPath`]: the path of a cluster or warehouse on its workspace, to which SQL is sent. It must never be taken from a
//! JDBC URL of another host, because the token would be sent there. Pure.

use std::fmt;

use crate::{DatabricksError, WorkspaceUrl};

/// The path of a cluster or warehouse on its workspace, to which statements are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPath {
    path: String,
    /// The workspace id of `?o=`, which a host that serves several workspaces needs.
    workspace: Option<u64>,
}

impl HttpPath {
    /// The path of a cluster of the workspace.
    pub fn of_cluster(workspace: &WorkspaceUrl, cluster_id: &str) -> Result<Self, DatabricksError> {
        if !is_step(cluster_id) {
            return Err(DatabricksError::JdbcUrl { what: format!("{cluster_id:?} is not a cluster id") });
        }
        // The workspace replaces 0 with its own id.
        let id = workspace.workspace_id().unwrap_or(0);
        Self::parse(&format!("sql/protocolv1/o/{id}/{cluster_id}"))
    }

    /// The path in a JDBC URL, `jdbc:databricks://host:443/…;httpPath=…` or the older `jdbc:spark://`. None if the URL has no
    /// `httpPath`.
    ///
    /// # Errors
    /// The URL does not have that form, or its host is not this workspace's: the token would be sent to that host.
    pub fn of_jdbc_url(workspace: &WorkspaceUrl, text: &str) -> Result<Option<Self>, DatabricksError> {
        let refuse = |what: String| DatabricksError::JdbcUrl { what };
        let text = text.trim();
        let prefix = |prefix: &str| {
            text.get(..prefix.len()).filter(|head| head.eq_ignore_ascii_case(prefix)).map(|_| &text[prefix.len()..])
        };
        let rest = prefix("jdbc:databricks://")
            .or_else(|| prefix("jdbc:spark://"))
            .ok_or_else(|| refuse("it does not begin with jdbc:databricks:// or jdbc:spark://".to_owned()))?;
        let (place, properties) = rest.split_once(';').unwrap_or((rest, ""));
        let (authority, _) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let port =
            port.map(str::parse::<u16>).transpose().map_err(|_| refuse(format!("{authority:?} has no legal port")))?;
        let base = workspace.base();
        let same = base.host_str().is_some_and(|own| own.eq_ignore_ascii_case(host))
            && port.is_none_or(|port| base.port_or_known_default() == Some(port));
        if !same {
            return Err(refuse(format!(
                "it leads to {authority}, the workspace is {workspace}: the access token is sent to its own workspace only"
            )));
        }
        let mut property = properties.split(';').filter_map(|property| property.split_once('='));
        match property.find(|(name, _)| name.trim().eq_ignore_ascii_case("httppath")) {
            Some((_, path)) => Self::parse(path.trim()).map(Some),
            None => Ok(None),
        }
    }

    /// The path of a data source: that of its JDBC URL, else that of its cluster. None if neither names one.
    pub fn of_source(
        workspace: &WorkspaceUrl,
        jdbc_url: &str,
        cluster_id: &str,
    ) -> Result<Option<Self>, DatabricksError> {
        let named = if jdbc_url.is_empty() { None } else { Self::of_jdbc_url(workspace, jdbc_url)? };
        match named {
            None if !cluster_id.is_empty() => Self::of_cluster(workspace, cluster_id).map(Some),
            named => Ok(named),
        }
    }

    /// Parses a path as people write it: with or without the first slash, with or without `?o=`.
    pub fn parse(text: &str) -> Result<Self, DatabricksError> {
        let refuse = |what: &str| DatabricksError::JdbcUrl { what: format!("http path {text:?}: {what}") };
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let path = path.trim_matches('/');
        if path.len() > 512 || !path.split('/').all(is_step) {
            return Err(refuse("write sql/protocolv1/o/<workspace>/<cluster> or sql/1.0/warehouses/<id>"));
        }
        let asked = query.split('&').filter_map(|pair| pair.strip_prefix("o=")).next();
        let workspace = asked.map(str::parse).transpose().map_err(|_| refuse("what follows o= is no number"))?;
        Ok(Self { path: path.to_owned(), workspace })
    }

    /// The id of the cluster; None if the path belongs to a warehouse.
    pub fn cluster_id(&self) -> Option<&str> {
        self.path.strip_prefix("sql/protocolv1/o/")?.split_once('/').map(|(_, cluster)| cluster)
    }

    #[cfg(feature = "sql")]
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    #[cfg(feature = "sql")]
    pub(crate) fn workspace(&self) -> Option<u64> {
        self.workspace
    }
}

/// Whether a text is one plain segment of a path.
fn is_step(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    !text.is_empty() && text.chars().all(legal) && !text.chars().all(|c| c == '.')
}

impl fmt::Display for HttpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> WorkspaceUrl {
        "https://adb-12.3.azuredatabricks.net".parse().unwrap()
    }

    #[test]
    fn a_cluster_has_a_path_on_its_workspace() {
        let path = HttpPath::of_cluster(&workspace(), "0101-000000-abc").unwrap();
        assert_eq!(
            (path.to_string().as_str(), path.cluster_id()),
            ("sql/protocolv1/o/12/0101-000000-abc", Some("0101-000000-abc"))
        );
        let local = HttpPath::of_cluster(&"http://127.0.0.1:1".parse().unwrap(), "c").unwrap();
        assert_eq!(local.to_string(), "sql/protocolv1/o/0/c");
        for wrong in ["", "a/b", "a b", "a%2fb", "..", "a?b"] {
            assert!(HttpPath::of_cluster(&workspace(), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_source_is_read_where_its_url_leads_else_on_its_cluster() {
        let of = |url: &str, cluster: &str| {
            HttpPath::of_source(&workspace(), url, cluster).unwrap().map(|path| path.to_string())
        };
        let url = "jdbc:databricks://adb-12.3.azuredatabricks.net:443/default";
        let warehouse = format!("{url};httpPath=sql/1.0/warehouses/ab1");
        assert_eq!(of(&warehouse, "c").as_deref(), Some("sql/1.0/warehouses/ab1"));
        assert_eq!(of(url, "c").as_deref(), Some("sql/protocolv1/o/12/c"));
        assert_eq!(of("", "c").as_deref(), Some("sql/protocolv1/o/12/c"));
        assert_eq!((of(url, ""), of("", "")), (None, None));
        assert!(HttpPath::of_source(&workspace(), "jdbc:databricks://evil.example", "c").is_err());
    }

    #[test]
    fn a_jdbc_url_leads_to_its_own_workspace() {
        let of = |text: &str| HttpPath::of_jdbc_url(&workspace(), text);
        for text in [
            "jdbc:databricks://adb-12.3.azuredatabricks.net:443/default;transportMode=http;ssl=1;AuthMech=3;httpPath=sql/1.0/warehouses/ab1",
            "jdbc:spark://ADB-12.3.azuredatabricks.net/default;HTTPPATH=/sql/1.0/warehouses/ab1?o=12;UID=token",
            "JDBC:Databricks://adb-12.3.azuredatabricks.net;httpPath=/sql/1.0/warehouses/ab1",
        ] {
            let path = of(text).unwrap().unwrap();
            assert_eq!((path.to_string().as_str(), path.cluster_id()), ("sql/1.0/warehouses/ab1", None), "{text}");
        }
        assert_eq!(of("jdbc:databricks://adb-12.3.azuredatabricks.net:443/default").unwrap(), None);
        for text in [
            "jdbc:databricks://evil.example:443/default;httpPath=sql/1.0/warehouses/a",
            "jdbc:databricks://adb-12.3.azuredatabricks.net:444/default;httpPath=sql/1.0/warehouses/a",
            "jdbc:databricks://adb-12.3.azuredatabricks.net:port/default",
            "jdbc:hive2://adb-12.3.azuredatabricks.net",
            "jdbc:databricks://adb-12.3.azuredatabricks.net:443/;httpPath=../x",
            "é",
        ] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
