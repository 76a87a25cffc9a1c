//! Owns [`AddressGuard`]: which addresses may be connected to, whatever name leads there. Judged after resolution, on the very
//! addresses that are connected to, so that a name cannot change its mind in between. Behind a proxy, which resolves names
//! itself, only literal addresses can be judged here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::NetworkConnection;

/// What an operator lets this process connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressGuard {
    /// Whether this machine's own loopback may be reached: for the sandbox.
    pub allow_loopback: bool,
}

/// An address that may not be connected to. Tells nothing of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is denied")]
pub struct Denied;

impl AddressGuard {
    /// Judges one address. `named`: the network connection names the host itself, so that it may be a private one.
    pub fn judge(self, address: IpAddr, named: bool) -> Result<(), Denied> {
        let address = plain(address);
        let allowed = match kind(address) {
            Kind::Public => true,
            Kind::Private => named,
            Kind::Loopback => self.allow_loopback,
            Kind::Never => false,
        };
        if allowed { Ok(()) } else { Err(Denied) }
    }

    /// Judges a URL as far as that goes before a name is resolved: literal addresses and overrides.
    pub(crate) fn judge_url(self, url: &Url, connection: &NetworkConnection) -> Result<(), Denied> {
        let named = url.host_str().is_some_and(|host| names(connection, host));
        match url.host() {
            Some(Host::Ipv4(address)) => self.judge(address.into(), named),
            Some(Host::Ipv6(address)) => self.judge(address.into(), named),
            Some(Host::Domain(name)) => match connection.host_overrides.get(name) {
                Some(address) => self.judge(address.ip(), true),
                None => Ok(()),
            },
            None => Err(Denied),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Public,
    /// Where VPC endpoints and gateways lie.
    Private,
    Loopback,
    /// Link-local and metadata services, and what is no host.
    Never,
}

fn kind(address: IpAddr) -> Kind {
    // The metadata services of Alibaba Cloud, Azure and AWS that lie outside the link-local range.
    const METADATA: [IpAddr; 3] = [
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
        IpAddr::V6(Ipv6Addr::new(0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x254)),
    ];
    match address {
        _ if METADATA.contains(&address) => Kind::Never,
        _ if address.is_loopback() => Kind::Loopback,
        _ if address.is_unspecified() || address.is_multicast() => Kind::Never,
        IpAddr::V4(v4) => match v4.octets() {
            [0, ..] | [169, 254, ..] | [240..=255, ..] => Kind::Never,
            [100, 64..=127, ..] => Kind::Private,
            _ if v4.is_private() => Kind::Private,
            _ => Kind::Public,
        },
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Kind::Never,
        IpAddr::V6(v6) if v6.is_unique_local() => Kind::Private,
        IpAddr::V6(_) => Kind::Public,
    }
}

/// The IPv4 address that an IPv6 one stands for, so that none can hide in the other.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    match v6.segments() {
        // NAT64, and the deprecated IPv4-compatible form.
        [0x64, 0xFF9B, 0, 0, 0, 0, a, b] | [0, 0, 0, 0, 0, 0, a @ (1..), b] | [0x2002, a, b, ..] => {
            let [c, d] = a.to_be_bytes();
            let [e, f] = b.to_be_bytes();
            Ipv4Addr::new(c, d, e, f).into()
        }
        _ => address,
    }
}

/// Whether a network connection names a host itself, and not only allows every one.
fn names(connection: &NetworkConnection, host: &str) -> bool {
    let proxy = connection.proxy.as_ref().and_then(|proxy| Url::parse(proxy.expose()).ok());
    connection.host_overrides.contains_key(host)
        || connection.allowed_hosts.iter().any(|pattern| pattern.names(host))
        || proxy.is_some_and(|proxy| proxy.host_str().is_some_and(|proxy| proxy.eq_ignore_ascii_case(host)))
}

/// Resolves names and keeps to the addresses that may be connected to.
pub(crate) struct Guarded {
    pub guard: AddressGuard,
    pub connection: Arc<NetworkConnection>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, named) = (self.guard, names(&self.connection, name.as_str()));
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| guard.judge(address.ip(), named).is_ok()).collect();
            if allowed.is_empty() { Err(Denied.into()) } else { Ok(Box::new(allowed.into_iter()) as Addrs) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: AddressGuard = AddressGuard { allow_loopback: false };

    #[test]
    fn metadata_loopback_and_link_local_are_never_reached_and_private_ones_when_they_are_named() {
        for never in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "::ffff:169.254.169.254",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::127.0.0.1",
        ] {
            let address = never.parse().unwrap();
            assert_eq!(
                (STRICT.judge(address, false), STRICT.judge(address, true)),
                (Err(Denied), Err(Denied)),
                "{never}"
            );
        }
        for private in
            ["10.0.0.1", "172.16.5.5", "192.168.1.1", "100.64.0.1", "100.127.255.254", "fd12::1", "::ffff:10.0.0.1"]
        {
            let address = private.parse().unwrap();
            assert_eq!((STRICT.judge(address, false), STRICT.judge(address, true)), (Err(Denied), Ok(())), "{private}");
        }
        for public in ["8.8.8.8", "100.63.0.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111"] {
            assert_eq!(STRICT.judge(public.parse().unwrap(), false), Ok(()), "{public}");
        }
        let sandbox = AddressGuard { allow_loopback: true };
        assert_eq!(sandbox.judge("127.0.0.1".parse().unwrap(), false), Ok(()));
        assert_eq!(sandbox.judge("169.254.169.254".parse().unwrap(), false), Err(Denied));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_denied_address_is_denied_where_it_is_connected_to() {
        // Somebody listens, so an unguarded client would get an answer.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let guarded = |guard| NetworkConnection { guard, ..NetworkConnection::default() };
        let urls = [
            format!("http://localhost:{port}/"),
            format!("http://127.0.0.1:{port}/"),
            format!("http://[::ffff:127.0.0.1]:{port}/"),
        ];
        for url in urls {
            let client = crate::HttpClient::new(&guarded(Some(STRICT))).unwrap();
            let error = client.request(reqwest::Method::GET, url.parse().unwrap()).send().await.unwrap_err();
            assert!(matches!(error, crate::HttpError::DeniedAddress { .. }), "{url}: {error}");
            assert!(!error.to_string().contains("refused"), "{error}");
        }
        let mut overridden = guarded(Some(STRICT));
        overridden.host_overrides.insert("a.example".into(), ([127, 0, 0, 1], port).into());
        let client = crate::HttpClient::new(&overridden).unwrap();
        let error =
            client.request(reqwest::Method::GET, "http://a.example/".parse().unwrap()).send().await.unwrap_err();
        assert!(matches!(error, crate::HttpError::DeniedAddress { .. }), "{error}");
    }
}
