//! Credentials of a client: a lasting or temporary access key, or a bearer token, and [`RenewAccount`], which is asked for the
//! next ones when the service refuses the present ones. Secrets must never appear in `Debug` output, errors or logs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

/// The credentials that a request is authenticated with.
#[derive(Clone)]
pub enum Account {
    /// An access key, with which each request is signed.
    AccessKey {
        /// The id of the access key; not secret.
        access_id: String,
        /// The secret of the access key.
        secret: SecretString,
        /// The security token of a temporary key; `None` for a lasting one.
        sts_token: Option<SecretString>,
    },
    /// A token that is sent with each request instead of a signature.
    Bearer(SecretString),
}

impl Account {
    /// A lasting access key.
    #[must_use]
    pub fn new(access_id: impl Into<String>, secret: SecretString) -> Self {
        Self::AccessKey { access_id: access_id.into(), secret, sts_token: None }
    }

    /// A temporary access key with its security token.
    #[must_use]
    pub fn temporary(access_id: impl Into<String>, secret: SecretString, sts_token: SecretString) -> Self {
        Self::AccessKey { access_id: access_id.into(), secret, sts_token: Some(sts_token) }
    }

    /// A bearer token.
    #[must_use]
    pub fn bearer(token: SecretString) -> Self {
        Self::Bearer(token)
    }

    fn same(&self, other: &Self) -> bool {
        let same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        match (self, other) {
            (Self::Bearer(a), Self::Bearer(b)) => same(a, b),
            (
                Self::AccessKey { access_id, secret, sts_token },
                Self::AccessKey { access_id: other_id, secret: other_secret, sts_token: other_token },
            ) => {
                let tokens = match (sts_token, other_token) {
                    (Some(a), Some(b)) => same(a, b),
                    (None, None) => true,
                    _ => false,
                };
                access_id == other_id && same(secret, other_secret) && tokens
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessKey { access_id, sts_token, .. } => f
                .debug_struct("AccessKey")
                .field("access_id", access_id)
                .field("temporary", &sts_token.is_some())
                .finish_non_exhaustive(),
            Self::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

/// What [`RenewAccount::renewed`] returns: the next account, or `None` if there is no other.
pub type Renewed<'a> = Pin<Box<dyn Future<Output = Option<Account>> + Send + 'a>>;

/// A source of fresh credentials, asked when the service refuses the present ones, as it does once a temporary key has expired.
pub trait RenewAccount: Send + Sync {
    /// The account that is valid now. The present account, or `None`, means that there is no other.
    fn renewed(&self) -> Renewed<'_>;
}

/// The present account of a client and how often it was renewed. Clones share it.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<Inner>);

struct Inner {
    present: RwLock<(u64, Account)>,
    renew: Option<Arc<dyn RenewAccount>>,
    /// Held while the source is asked, so that one renewal serves all requests that were refused.
    asking: Mutex<()>,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.present().fmt(f)
    }
}

impl Accounts {
    pub fn new(account: Account, renew: Option<Arc<dyn RenewAccount>>) -> Self {
        Self(Arc::new(Inner { present: RwLock::new((0, account)), renew, asking: Mutex::new(()) }))
    }

    /// The present account, and its number: how often it was renewed.
    pub fn present(&self) -> (u64, Account) {
        self.0.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is another account than the one with the number `refused`. Asks the source unless another request did
    /// already.
    pub async fn renew(&self, refused: u64) -> bool {
        let Some(renew) = &self.0.renew else { return false };
        let _asking = self.0.asking.lock().await;
        let (number, before) = self.present();
        if number != refused {
            return true;
        }
        let Some(next) = renew.renewed().await.filter(|next| !next.same(&before)) else { return false };
        *self.0.present.write().unwrap_or_else(PoisonError::into_inner) = (number + 1, next);
        true
    }
}

/// Reads the region from the host name of a service endpoint, such as `service.cn-hangzhou-vpc.maxcompute.aliyun-inc.com`. `None`
/// if the host is not of that form or does not name a single region.
#[must_use]
pub fn region_of_host(host: &str) -> Option<String> {
    let rest = host.strip_prefix("service.")?;
    let (region, domain) = rest.split_once('.')?;
    if !(domain.starts_with("maxcompute.") || domain.starts_with("odps.")) {
        return None;
    }
    let region =
        ["-vpc", "-intranet", "-inc"].iter().fold(region, |name, suffix| name.strip_suffix(suffix).unwrap_or(name));
    // `service.cn…` is an old name that stands for all of China, so it names no region.
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
        let shown = format!("{:?}", Account::bearer("token-hush".into()));
        assert!(!shown.contains("hush"), "{shown}");
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

    /// Returns one account after the other, then the last one forever.
    struct Row(std::sync::Mutex<Vec<Account>>);

    impl RenewAccount for Row {
        fn renewed(&self) -> Renewed<'_> {
            Box::pin(async {
                let mut left = self.0.lock().unwrap();
                if left.len() > 1 { left.pop() } else { left.last().cloned() }
            })
        }
    }

    #[tokio::test]
    async fn an_account_that_was_refused_is_asked_for_once() {
        let bearer = |token: &str| Account::bearer(token.into());
        let row = Row(std::sync::Mutex::new(vec![bearer("c"), bearer("b")]));
        let accounts = Accounts::new(bearer("a"), Some(Arc::new(row)));
        assert!(accounts.renew(0).await && accounts.renew(0).await, "the second hears of what the first got");
        assert!(matches!(accounts.present(), (1, Account::Bearer(token)) if token.expose_secret() == "b"));
        assert!(accounts.renew(1).await);
        assert!(!accounts.renew(2).await, "there is no other");
        assert!(!Accounts::new(bearer("a"), None).renew(0).await);
    }
}
