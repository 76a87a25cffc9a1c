//! Who asks: an access key, perhaps a temporary one. The secret never shows in Debug, errors or logs.

use std::fmt;

use secrecy::SecretString;

/// An Alibaba Cloud access key.
#[derive(Clone)]
pub struct Account {
    /// The access key id; not secret.
    pub access_id: String,
    /// The access key secret.
    pub secret: SecretString,
    /// The token that belongs to a temporary key.
    pub sts_token: Option<SecretString>,
}

impl Account {
    /// A lasting access key.
    #[must_use]
    pub fn new(access_id: impl Into<String>, secret: SecretString) -> Self {
        Self { access_id: access_id.into(), secret, sts_token: None }
    }

    /// A temporary access key with its token.
    #[must_use]
    pub fn temporary(access_id: impl Into<String>, secret: SecretString, sts_token: SecretString) -> Self {
        Self { access_id: access_id.into(), secret, sts_token: Some(sts_token) }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("access_id", &self.access_id)
            .field("temporary", &self.sts_token.is_some())
            .finish_non_exhaustive()
    }
}

/// Reads the region from a service host such as `service.cn-hangzhou-vpc.maxcompute.aliyun-inc.com`.
#[must_use]
pub fn region_of_host(host: &str) -> Option<String> {
    let rest = host.strip_prefix("service.")?;
    let (region, domain) = rest.split_once('.')?;
    if !(domain.starts_with("maxcompute.") || domain.starts_with("odps.")) {
        return None;
    }
    let region =
        ["-vpc", "-intranet", "-inc"].iter().fold(region, |name, suffix| name.strip_suffix(suffix).unwrap_or(name));
    // `service.cn…` is the old name for all of China and tells no region.
    region.contains('-').then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_no_secret() {
        let account = Account::temporary("LTAI1", "hush".into(), "token-hush".into());
        let shown = format!("{account:?}");
        assert!(shown.contains("LTAI1") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn the_region_is_read_from_the_host() {
        let region = |host| region_of_host(host);
        assert_eq!(region("service.cn-hangzhou.maxcompute.aliyun.com").as_deref(), Some("cn-hangzhou"));
        assert_eq!(region("service.us-east-1-vpc.maxcompute.aliyun-inc.com").as_deref(), Some("us-east-1"));
        assert_eq!(region("service.cn.maxcompute.aliyun.com"), None);
        assert_eq!(region("127.0.0.1"), None);
        assert_eq!(region("service.evil-region.example.com"), None);
    }
}
