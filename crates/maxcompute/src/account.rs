//! Who asks: an access key, perhaps a temporary one, or the bearer of a token; and who is asked for the next one when the service
//! refuses it. Secrets never show in Debug, errors or logs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

/// An account of Alibaba Cloud, as requests prove it.
#[derive(Clone)]
pub enum Account {
    /// Requests are signed.
    AccessKey {
        /// The access key id; not secret.
        access_id: String,
        /// The access key secret.
        secret: SecretString,
        /// The token that belongs to a temporary key.
        sts_token: Option<SecretString>,
    },
    /// Requests carry a token, and no signature.
    Bearer(SecretString),
}

impl Account {
    /// A lasting access key.
    #[must_use]
    pub fn new(access_id: impl Into<String>, secret: SecretString) -> Self {
        Self::AccessKey { access_id: access_id.into(), secret, sts_token: None }
    }

    /// A temporary access key with its token.
    #[must_use]
    pub fn temporary(access_id: impl Into<String>, secret: SecretString, sts_token: SecretString) -> Self {
        Self::AccessKey { access_id: access_id.into(), secret, sts_token: Some(sts_token) }
    }

    /// The bearer of a token.
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

/// An account that may have come.
pub type Renewed<'a> = Pin<Box<dyn Future<Output = Option<Account>> + Send + 'a>>;

/// Who is asked for an account when the service refuses the present one, as it does once a temporary key has run out.
pub trait RenewAccount: Send + Sync {
    /// The account of now; the present one, or none, if there is no other.
    fn renewed(&self) -> Renewed<'_>;
}

/// The account of a client, with how often it was renewed. Clones share it.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<Inner>);

struct Inner {
    present: RwLock<(u64, Account)>,
    renew: Option<Arc<dyn RenewAccount>>,
    /// Held while somebody asks, so that one answer serves all.
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

    /// The account of now, and its number.
    pub fn present(&self) -> (u64, Account) {
        self.0.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is another than the one of this number, which was refused.
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

    /// Gives one account after the other, and the last one for ever.
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
