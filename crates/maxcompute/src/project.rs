//! [`Project`]: the client of one project. Statements run in this project and are billed to it. Tables of other projects are
//! reached through it by their full names.

use std::collections::BTreeMap;
use std::sync::Arc;

use mms_http::retry::RetryPolicy;
use mms_http::{HttpClient, Method};
use tokio::sync::OnceCell;
use url::Url;

use crate::account::{Account, Accounts, RenewAccount, region_of_host};
use crate::error::{MaxComputeError, RefusalKind};
use crate::name::{ProjectName, SchemaName};
use crate::transport::{Call, Transport};
use crate::xml::{Element, escape};

/// Maximum number of pages of one listing: a server that always returns a next marker must not keep the client busy forever.
const MAX_PAGES: usize = 10_000;

/// How a project is reached.
#[derive(Debug, Clone)]
pub struct ProjectConfig {
    /// The service's endpoint, whose path ends in `/api`.
    pub endpoint: Url,
    /// The project in which statements run.
    pub project: ProjectName,
    /// The credentials to begin with; [`Project::with_renewal`] can replace them later.
    pub account: Account,
    /// The region; read from the endpoint's host if `None`. If there is a region, requests are signed with V4.
    pub region: Option<String>,
    /// The tunnel's endpoint; the service is asked for it if `None`.
    pub tunnel_endpoint: Option<Url>,
    /// The quota group for data transfer; the shared one if `None`.
    pub tunnel_quota: Option<String>,
    /// The quota for statements; the project's default if `None`.
    pub compute_quota: Option<String>,
    /// How failed requests are retried. `max_attempts` counts failures only; waits that the service asks for are bounded by
    /// `total`.
    pub retry: RetryPolicy,
}

impl ProjectConfig {
    /// A configuration with the defaults: delays from 1 s doubling to 64 s, at most 7 failures, one hour in total.
    #[must_use]
    pub fn new(endpoint: Url, project: ProjectName, account: Account) -> Self {
        let retry = RetryPolicy {
            first_delay: std::time::Duration::from_secs(1),
            max_delay: std::time::Duration::from_secs(64),
            factor: 2.0,
            max_attempts: Some(7),
            total: std::time::Duration::from_secs(3600),
        };
        Self {
            endpoint,
            project,
            account,
            region: None,
            tunnel_endpoint: None,
            tunnel_quota: None,
            compute_quota: None,
            retry,
        }
    }
}

/// A client of a project. Clones are cheap; they share connections and what was learned about the endpoint.
#[derive(Debug, Clone)]
pub struct Project {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub config: ProjectConfig,
    pub region: Option<String>,
    pub http: HttpClient,
    pub accounts: Accounts,
    pub service: Transport,
    pub tunnel: OnceCell<Arc<Transport>>,
}

/// A project, as the service describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectInfo {
    /// The name of the project.
    pub name: String,
    /// The account that owns the project, if the service tells it.
    pub owner: Option<String>,
    /// The region, if the service tells it.
    pub region: Option<String>,
    /// The properties of the project, by name.
    pub properties: BTreeMap<String, String>,
}

impl ProjectInfo {
    /// Whether the project has schemas, so that its tables have three-tier names.
    #[must_use]
    pub fn has_schemas(&self) -> bool {
        self.properties.get("odps.schema.model.enabled").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

impl Project {
    /// Creates a client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`MaxComputeError::Config`] if an endpoint is not an `http` or `https` URL.
    pub fn new(http: HttpClient, config: ProjectConfig) -> Result<Self, MaxComputeError> {
        Self::with_renewal(http, config, None)
    }

    /// Creates a client that asks `renew` for another account when the service refuses the configured one.
    ///
    /// # Errors
    /// As [`Project::new`].
    pub fn with_renewal(
        http: HttpClient,
        config: ProjectConfig,
        renew: Option<Arc<dyn RenewAccount>>,
    ) -> Result<Self, MaxComputeError> {
        for url in [Some(&config.endpoint), config.tunnel_endpoint.as_ref()].into_iter().flatten() {
            if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || url.query().is_some() {
                let what = format!("endpoint {url} must be http(s)://host[:port][/path] without a query");
                return Err(MaxComputeError::Config { what });
            }
        }
        let http = http.to_end("project");
        let region = config.region.clone().or_else(|| region_of_host(config.endpoint.host_str().unwrap_or_default()));
        let accounts = Accounts::new(config.account.clone(), renew);
        let (endpoint, retry) = (config.endpoint.clone(), config.retry.clone());
        let service = Transport::new(http.clone(), endpoint, accounts.clone(), region.clone(), retry);
        Ok(Self { shared: Arc::new(Shared { config, region, http, accounts, service, tunnel: OnceCell::new() }) })
    }

    /// The project in which statements run.
    #[must_use]
    pub fn name(&self) -> &ProjectName {
        &self.shared.config.project
    }

    /// A request to the service, with the parameter that every request carries.
    pub(crate) fn call(&self, method: Method, path: &[&str]) -> Call {
        Call::new(method, path).param("curr_project", self.name().as_str())
    }

    /// Describes the project `project`.
    ///
    /// # Errors
    /// The service's refusal: the project does not exist, or this account may not see it.
    pub async fn info_of(&self, project: &ProjectName) -> Result<ProjectInfo, MaxComputeError> {
        let call = self.call(Method::GET, &["projects", project.as_str()]).param("properties", "all");
        let root = self.shared.service.xml(&call).await?;
        let mut properties = BTreeMap::new();
        for group in [root.child("Properties"), root.child("ExtendedProperties")].into_iter().flatten() {
            for property in group.children("Property") {
                if let Some(name) = property.text_of("Name") {
                    properties.insert(name.to_owned(), property.text_of("Value").unwrap_or_default().to_owned());
                }
            }
        }
        Ok(ProjectInfo {
            name: root.text_of("Name").unwrap_or(project.as_str()).to_owned(),
            owner: root.text_of("Owner").map(str::to_owned),
            region: root.text_of("Region").map(str::to_owned),
            properties,
        })
    }

    /// Describes the project in which statements run.
    ///
    /// # Errors
    /// As [`Project::info_of`].
    pub async fn info(&self) -> Result<ProjectInfo, MaxComputeError> {
        self.info_of(self.name()).await
    }

    /// Lists the names of a project's schemas.
    ///
    /// # Errors
    /// The service's refusal; a project without schemas refuses too.
    pub async fn schemas(&self, project: &ProjectName) -> Result<Vec<String>, MaxComputeError> {
        let call = self.call(Method::GET, &["projects", project.as_str(), "schemas"]);
        let items = self.pages(call, "Schema").await?;
        Ok(items.iter().filter_map(|item| item.text_of("Name").map(str::to_owned)).collect())
    }

    /// Whether a schema exists.
    ///
    /// # Errors
    /// Any refusal other than that it does not exist.
    pub async fn schema_exists(&self, project: &ProjectName, schema: &SchemaName) -> Result<bool, MaxComputeError> {
        let call = self.call(Method::GET, &["projects", project.as_str(), "schemas", schema.as_str()]);
        exists(self.shared.service.call(&call).await)
    }

    /// Creates a schema; one that exists already is no error.
    ///
    /// # Errors
    /// The service's refusal.
    pub async fn create_schema(&self, project: &ProjectName, schema: &SchemaName) -> Result<(), MaxComputeError> {
        let body = format!("<?xml version=\"1.0\"?><Schema><Name>{}</Name></Schema>", escape(schema.as_str()));
        let call = self.call(Method::POST, &["projects", project.as_str(), "schemas"]).xml(body);
        match self.shared.service.call(&call).await {
            Ok(_) => Ok(()),
            Err(error) if error.refusal() == Some(RefusalKind::AlreadyExists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads all items of a listing, page by page.
    pub(crate) async fn pages(&self, call: Call, item: &str) -> Result<Vec<Element>, MaxComputeError> {
        let call = call.param("expectmarker", "true");
        let mut items = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = self.shared.service.xml(&call.clone().param_if("marker", marker.clone())).await?;
            let next = page.text_of("Marker").map(str::to_owned);
            items.extend(page.children.into_iter().filter(|child| child.name == item));
            match next {
                None => return Ok(items),
                Some(next) if Some(&next) == marker.as_ref() => break,
                next => marker = next,
            }
        }
        let why = "its pages never end".to_owned();
        Err(MaxComputeError::Answer { what: call.what(), why, request_id: None })
    }

    /// The tunnel's transport. Its endpoint is looked up once.
    pub(crate) async fn tunnel_transport(&self) -> Result<Arc<Transport>, MaxComputeError> {
        let shared = &self.shared;
        let transport = shared.tunnel.get_or_try_init(|| async {
            let endpoint = match &shared.config.tunnel_endpoint {
                Some(url) => url.clone(),
                None => self.discover_tunnel().await?,
            };
            let (http, accounts) = (shared.http.clone(), shared.accounts.clone());
            let (region, retry) = (shared.region.clone(), shared.config.retry.clone());
            Ok::<_, MaxComputeError>(Arc::new(Transport::new(http, endpoint, accounts, region, retry)))
        });
        Ok(transport.await?.clone())
    }

    /// Asks the service for the tunnel endpoint of this project and quota.
    ///
    /// # Errors
    /// The service's refusal; an answer that is not a host name.
    pub async fn discover_tunnel(&self) -> Result<Url, MaxComputeError> {
        let call = self
            .call(Method::GET, &["projects", self.name().as_str(), "tunnel"])
            .param("service", "")
            .param_if("quotaName", self.shared.config.tunnel_quota.clone());
        let host = self.shared.service.text(&call).await?;
        let url = Url::parse(&format!("{}://{}", self.shared.config.endpoint.scheme(), host.trim()));
        url.map_err(|error| MaxComputeError::Answer {
            what: call.what(),
            why: format!("{:?} is no host: {error}", host.trim()),
            request_id: None,
        })
    }
}

/// Turns "not found" into `false`.
pub(crate) fn exists<T>(answer: Result<T, MaxComputeError>) -> Result<bool, MaxComputeError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
