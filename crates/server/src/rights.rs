//! Who may call what: the role of a caller against the least role of a method, which stands in the contract.
//!
//! VIEWER, OPERATOR, EDITOR and ADMIN hold the rights of those before them. SERVICE stands apart: it may call the
//! methods that name it and those of VIEWER, and no others. A method that the contract does not have is refused.

use std::fmt;

use mms_proto::types::v1::ErrorReason;
use mms_proto::{ApiError, Role, descriptor};
use tonic::Code;

use crate::tokens::Tokens;

/// Who calls, in the extensions of every request that a handler sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is, as the tokens file names it.
    pub subject: String,
    /// What it may do.
    pub role: Role,
}

impl Caller {
    /// Refuses what this caller's role does not allow: a method, or what a call asks of one.
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

/// The caller of a request that passed the frame; one who may do nothing of a request that did not.
pub fn caller<T>(request: &tonic::Request<T>) -> Caller {
    let nobody = || Caller { subject: String::new(), role: Role::Unspecified };
    request.extensions().get().cloned().unwrap_or_else(nobody)
}

/// The rights of one process.
#[derive(Debug)]
pub struct Rights {
    tokens: Tokens,
    anonymous: Option<Role>,
}

impl Rights {
    /// Rights by these tokens; `anonymous` is the role of callers without one.
    pub fn new(tokens: Tokens, anonymous: Option<Role>) -> Self {
        Self { tokens, anonymous }
    }

    /// Lets a caller through or says why not. `None` for methods that are open to all: health and reflection.
    pub fn admit(&self, path: &str, authorization: Option<&str>) -> Result<Option<Caller>, ApiError> {
        if is_open(path) {
            return Ok(None);
        }
        let Some(least) = descriptor::method_role(path) else {
            let text = format!("{path} is not a method of this service; list its methods with reflection");
            return Err(ApiError::new(Code::Unimplemented, ErrorReason::Malformed, text).with("method", path));
        };
        let caller = self.caller(authorization, least)?;
        caller.needs(least, path)?;
        Ok(Some(caller))
    }

    fn caller(&self, authorization: Option<&str>, least: Role) -> Result<Caller, ApiError> {
        let unauthenticated = |text: &str| ApiError::new(Code::Unauthenticated, ErrorReason::Unauthenticated, text);
        match (authorization, self.anonymous) {
            (Some(header), _) => match header.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    self.tokens.find(token.trim()).ok_or_else(|| unauthenticated("the bearer token is not known"))
                }
                _ => Err(unauthenticated("the header authorization must be \"Bearer TOKEN\"")),
            },
            (None, Some(role)) if least != Role::Service => Ok(Caller { subject: "anonymous".into(), role }),
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

/// What is open to all: health and reflection tell nothing that the contracts do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    Health,
    Reflection,
}

impl Open {
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
        let rights = Rights::new(Tokens::default(), Some(Role::Admin));
        let error = rights.admit("/mms.registry.v1.DataSourceService/NoSuchMethod", None).unwrap_err();
        assert_eq!((error.code, error.reason), (Code::Unimplemented, ErrorReason::Malformed));
        assert_eq!(rights.admit("/grpc.health.v1.Health/Check", None).unwrap(), None);
        assert!(rights.admit("/grpc.health.v1.HealthX/Check", None).is_err());
    }
}
