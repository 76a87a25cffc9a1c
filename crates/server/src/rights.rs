//! Who may call what: compares the caller's role with the least role of the method, which stands in the contract.
//!
//! Each of VIEWER, OPERATOR, EDITOR and ADMIN includes the rights of those before it. SERVICE stands apart: it may call
//! the methods that name it and those of VIEWER, and no others. A method that no contract has is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use mms_proto::types::v1::ErrorReason;
use mms_proto::{ApiError, Role, descriptor};
use tonic::Code;

use crate::tls::Peer;
use crate::tokens::{Sources, Tokens, TokensError};

/// The caller; stands in the extensions of every request that a handler sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Name of the caller, from the tokens file.
    pub subject: String,
    /// Role of the token that the call was made with.
    pub role: Role,
}

impl Caller {
    /// PERMISSION_DENIED unless the caller's role includes `least`. `what` names the method, or what the request asks
    /// of it.
    pub fn needs(&self, least: Role, what: impl fmt::Display) -> Result<(), ApiError> {
        if allows(self.role, least) {
            return Ok(());
        }
        let text = format!("{what} needs role {}, and {:?} has {}", name(least), self.subject, name(self.role));
        Err(ApiError::new(Code::PermissionDenied, ErrorReason::RoleTooLow, text)
            .with("method", what)
            .with("role", name(self.role))
            .with("least_role", name(least)))
    }
}

/// The caller of a request. A request that did not pass the frame has one without a role, who may do nothing.
pub fn caller<T>(request: &tonic::Request<T>) -> Caller {
    let nobody = || Caller { subject: String::new(), role: Role::Unspecified };
    request.extensions().get().cloned().unwrap_or_else(nobody)
}

/// The subject of callers without a token, where those are accepted.
const ANONYMOUS: &str = "anonymous";

/// The rights of one process.
#[derive(Debug)]
pub struct Rights {
    tokens: RwLock<Arc<Tokens>>,
    sources: Sources,
    anonymous: Option<Role>,
    /// The role of a client certificate, by a DNS name in it.
    clients: BTreeMap<String, Role>,
}

impl Rights {
    /// Rights by the tokens of these files; `anonymous` is the role of callers without a token, `None` if they are
    /// refused.
    pub fn new(sources: Sources, anonymous: Option<Role>) -> Result<Self, TokensError> {
        let tokens = RwLock::new(Arc::new(sources.read()?));
        Ok(Self { tokens, sources, anonymous, clients: BTreeMap::new() })
    }

    /// Adds the roles of client certificates, by a DNS name in them.
    #[must_use]
    pub fn with_clients(mut self, clients: BTreeMap<String, Role>) -> Self {
        self.clients = clients;
        self
    }

    /// Reads the tokens again. If a file is wrong, the previous tokens stay valid.
    pub fn reload(&self) -> Result<(), TokensError> {
        let fresh = Arc::new(self.sources.read()?);
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The highest role that any token gives this subject now; `Unspecified`, which allows nothing, if it has no token.
    pub fn role_of(&self, subject: &str) -> Role {
        if let Some(role) = self.anonymous.filter(|_| subject == ANONYMOUS) {
            return role;
        }
        let tokens = Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner));
        tokens.role_of(subject, jiff::Timestamp::now())
    }

    /// Admits a call or says why not. `None` for methods that need no caller: health and reflection.
    pub(crate) fn admit(
        &self,
        path: &str,
        authorization: Option<&str>,
        peer: Option<&Peer>,
    ) -> Result<Option<Caller>, ApiError> {
        if is_open(path) {
            return Ok(None);
        }
        let Some(least) = descriptor::method_role(path) else {
            let text = format!("{path} is not a method of this service; list its methods with reflection");
            return Err(ApiError::new(Code::Unimplemented, ErrorReason::Malformed, text).with("method", path));
        };
        let caller = self.caller(authorization, least)?;
        caller.needs(least, path)?;
        if let Some(peer) = peer {
            self.fits(&caller, peer, path)?;
        }
        Ok(Some(caller))
    }

    /// Compares the caller's role with its client certificate. A certificate that is listed allows its listed role and
    /// no more; one that is not listed may be a person's, never a service's.
    fn fits(&self, caller: &Caller, peer: &Peer, path: &str) -> Result<(), ApiError> {
        let listed = peer.names.iter().find_map(|name| self.clients.get(name)).copied();
        let fits = match (listed, caller.role) {
            (Some(Role::Service), role) => role == Role::Service,
            (_, Role::Service) => false,
            (Some(most), role) => allows(most, role),
            (None, _) => true,
        };
        if fits {
            return Ok(());
        }
        let names = peer.names.join(", ");
        let text = format!(
            "the certificate of {names} may not act as {} here: see server.tls.clients of this service",
            name(caller.role)
        );
        Err(ApiError::new(Code::PermissionDenied, ErrorReason::RoleTooLow, text)
            .with("method", path)
            .with("role", listed.map_or("none", name))
            .with("least_role", name(caller.role)))
    }

    fn caller(&self, authorization: Option<&str>, least: Role) -> Result<Caller, ApiError> {
        let unauthenticated = |text: &str| ApiError::new(Code::Unauthenticated, ErrorReason::Unauthenticated, text);
        match (authorization, self.anonymous) {
            (Some(header), _) => match header.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    let tokens = Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner));
                    let found = tokens.find(token.trim(), jiff::Timestamp::now());
                    found.ok_or_else(|| unauthenticated("the bearer token is not known, or it has expired"))
                }
                _ => Err(unauthenticated("the header authorization must be \"Bearer TOKEN\"")),
            },
            (None, Some(role)) if least != Role::Service => Ok(Caller { subject: ANONYMOUS.into(), role }),
            (None, _) => Err(unauthenticated("a token is needed: send the header authorization: Bearer TOKEN")),
        }
    }
}

/// Whether a role includes another.
pub fn allows(role: Role, least: Role) -> bool {
    match (role, least) {
        (Role::Unspecified, _) | (_, Role::Unspecified) => false,
        (Role::Service, least) => matches!(least, Role::Service | Role::Viewer),
        (_, Role::Service) => false,
        (role, least) => role >= least,
    }
}

/// The methods that need no token: health and reflection tell nothing that the contracts do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    Health,
    Reflection,
}

impl Open {
    /// The path of an open method as a static text; `None` for other paths.
    pub fn known(path: &str) -> Option<&'static str> {
        let methods = [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ];
        methods.into_iter().find(|known| *known == path)
    }

    pub fn of(path: &str) -> Option<Self> {
        let reflection = ["/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];
        match path {
            _ if path.starts_with("/grpc.health.v1.Health/") => Some(Self::Health),
            _ if reflection.iter().any(|open| path.starts_with(open)) => Some(Self::Reflection),
            _ => None,
        }
    }
}

pub(crate) fn is_open(path: &str) -> bool {
    Open::of(path).is_some()
}

fn name(role: Role) -> &'static str {
    let name = role.as_str_name();
    name.strip_prefix("ROLE_").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_hold_those_before_them_and_service_stands_apart() {
        let people = [Role::Viewer, Role::Operator, Role::Editor, Role::Admin];
        for (rank, &role) in people.iter().enumerate() {
            for (least_rank, &least) in people.iter().enumerate() {
                assert_eq!(allows(role, least), rank >= least_rank, "{role:?} {least:?}");
            }
            assert!(!allows(role, Role::Service));
            assert_eq!(allows(Role::Service, role), role == Role::Viewer);
            assert!(!allows(role, Role::Unspecified) && !allows(Role::Unspecified, role));
        }
        assert!(allows(Role::Service, Role::Service));
    }

    #[test]
    fn a_method_that_no_contract_has_is_refused() {
        let rights = Rights::new(Sources::default(), Some(Role::Admin)).unwrap();
        let error = rights.admit("/mms.registry.v1.DataSourceService/NoSuchMethod", None, None).unwrap_err();
        assert_eq!((error.code, error.reason), (Code::Unimplemented, ErrorReason::Malformed));
        assert_eq!(rights.admit("/grpc.health.v1.Health/Check", None, None).unwrap(), None);
        assert!(rights.admit("/grpc.health.v1.HealthX/Check", None, None).is_err());
    }

    #[test]
    fn a_service_s_certificate_is_that_service_and_no_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "the-token-of-the-suite").unwrap();
        let sources = Sources { service: Some(file.path().to_owned()), ..Sources::default() };
        let clients = BTreeMap::from([("transfer".to_owned(), Role::Service), ("desk".to_owned(), Role::Viewer)]);
        let rights = Rights::new(sources, Some(Role::Admin)).unwrap().with_clients(clients);
        let peer = |name: &str| Peer { names: vec!["localhost".into(), name.into()] };
        let (lease, list) = ("/mms.scheduler.v1.WorkerService/LeaseTasks", "/mms.scheduler.v1.JobService/CreateJob");
        let suite = Some("Bearer the-token-of-the-suite");
        assert!(rights.admit(lease, suite, Some(&peer("transfer"))).is_ok());
        assert!(rights.admit(lease, suite, None).is_ok(), "no certificate is demanded");
        for (path, token, name) in
            [(lease, suite, "catalog"), (lease, suite, "desk"), (list, None, "transfer"), (list, None, "desk")]
        {
            let error = rights.admit(path, token, Some(&peer(name))).unwrap_err();
            assert_eq!(error.code, Code::PermissionDenied, "{name} at {path}: {error}");
        }
        assert!(rights.admit(list, None, Some(&peer("somebody"))).is_ok());
    }
}
