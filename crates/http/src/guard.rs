//! Owns [`AddressGuard`]: which addresses may be connected to, whatever name leads there. Addresses are judged after resolution,
//! on the very addresses that are then connected to, so that a name cannot resolve differently in between. A proxy resolves names
//! itself; behind one, only names, literal addresses and the proxy's own address can be judged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::{DeniedHost, NetworkConnection};

/// The addresses that an operator lets this process connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressGuard {
    /// Whether this machine's own loopback may be reached, as the sandbox needs.
    pub allow_loopback: bool,
    /// Entries that are denied whatever a network connection names. Metadata services and link-local addresses are always denied.
    pub denied: Vec<DeniedHost>,
}

/// The address may not be connected to. Says nothing about what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is denied")]
pub struct Denied;

impl AddressGuard {
    /// Judges one address. `named`: whether the network connection names the host itself, which allows it to be a private
    /// address.
    pub fn judge(&self, address: IpAddr, named: bool) -> Result<(), Denied> {
        let address = plain(address);
        let allowed = match kind(address) {
            Kind::Public => true,
            Kind::Private => named,
            Kind::Loopback => self.allow_loopback,
            Kind::Never => false,
        };
        if allowed && !self.denied.iter().any(|entry| entry.covers(address)) { Ok(()) } else { Err(Denied) }
    }

    fn judge_name(&self, host: &str) -> Result<(), Denied> {
        if self.denied.iter().any(|entry| entry.names(host)) { Err(Denied) } else { Ok(()) }
    }

    /// Judges whether any network connection could allow a URL, as far as it shows before the name is resolved.
    pub fn judge_for_good(&self, url: &Url) -> Result<(), Denied> {
        match address(url, &NetworkConnection::default()) {
            Ok(Some(address)) => self.judge(address, true)?,
            Ok(None) => {}
            Err(NoHost) => return Err(Denied),
        }
        self.judge_name(url.host_str().unwrap_or_default())
    }

    /// Judges a URL as far as is possible before names are resolved: names, literal addresses and overrides, of the URL's host
    /// and of the proxy, which is what is really connected to.
    pub(crate) fn judge_url(&self, url: &Url, connection: &NetworkConnection) -> Result<(), Denied> {
        if let Some(proxy) = proxy(connection) {
            self.judge_host(&proxy, connection)?;
        }
        self.judge_host(url, connection)
    }

    fn judge_host(&self, url: &Url, connection: &NetworkConnection) -> Result<(), Denied> {
        let named = url.host_str().is_some_and(|host| names(connection, host));
        match address(url, connection) {
            Ok(Some(address)) => self.judge(address, named)?,
            Ok(None) => {}
            Err(NoHost) => return Err(Denied),
        }
        self.judge_name(url.host_str().unwrap_or_default())
    }
}

struct NoHost;

/// The address of a URL's host, if it is known without resolving a name.
fn address(url: &Url, connection: &NetworkConnection) -> Result<Option<IpAddr>, NoHost> {
    match url.host() {
        Some(Host::Ipv4(address)) => Ok(Some(address.into())),
        Some(Host::Ipv6(address)) => Ok(Some(address.into())),
        // In a URL of another scheme, such as a proxy's socks5, the parser takes an address for a name.
        Some(Host::Domain(name)) => {
            Ok(connection.overridden(name).map(|address| address.ip()).or_else(|| name.parse().ok()))
        }
        None => Err(NoHost),
    }
}

/// Whether a request would go unencrypted over a network where others can listen, without a setting that allows it.
pub(crate) fn is_bare(url: &Url, connection: &NetworkConnection) -> bool {
    let loopback = match address(url, connection) {
        Ok(Some(address)) => plain(address).is_loopback(),
        _ => url.host_str() == Some("localhost"),
    };
    url.scheme() == "http" && !loopback && !connection.plain_http_hosts.iter().any(|host| host.matches(url))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Public,
    /// Private ranges, where VPC endpoints and gateways are.
    Private,
    Loopback,
    /// Link-local addresses, metadata services, and addresses that are not a host.
    Never,
}

fn kind(address: IpAddr) -> Kind {
    // The metadata services of Alibaba Cloud, Azure and AWS outside the link-local range.
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

/// The IPv4 address that an IPv6 address stands for, so that a denied one cannot hide in the other form.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    match v6.segments() {
        // NAT64, the deprecated IPv4-compatible form, and 6to4.
        [0x64, 0xFF9B, 0, 0, 0, 0, a, b] | [0, 0, 0, 0, 0, 0, a @ (1..), b] | [0x2002, a, b, ..] => {
            let [c, d] = a.to_be_bytes();
            let [e, f] = b.to_be_bytes();
            Ipv4Addr::new(c, d, e, f).into()
        }
        _ => address,
    }
}

fn proxy(connection: &NetworkConnection) -> Option<Url> {
    connection.proxy.as_ref().and_then(|proxy| Url::parse(proxy.expose()).ok())
}

/// Whether a network connection names a host itself, rather than allowing every host.
fn names(connection: &NetworkConnection, host: &str) -> bool {
    let proxy = proxy(connection);
    connection.overridden(host).is_some()
        || connection.allowed_hosts.iter().any(|pattern| pattern.names(host))
        || proxy.is_some_and(|proxy| proxy.host_str().is_some_and(|proxy| proxy.eq_ignore_ascii_case(host)))
}

/// Resolves names, overrides before DNS, and keeps only the addresses that may be connected to.
pub(crate) struct Guarded(pub Arc<NetworkConnection>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let connection = Arc::clone(&self.0);
        Box::pin(async move {
            let named = names(&connection, name.as_str());
            let may = |address: &SocketAddr| {
                connection.guard.as_ref().is_none_or(|guard| guard.judge(address.ip(), named).is_ok())
            };
            if let Some(guard) = &connection.guard {
                guard.judge_name(name.as_str())?;
            }
            let found: Vec<SocketAddr> = match connection.overridden(name.as_str()) {
                Some(address) => vec![address],
                None => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
            };
            let allowed: Vec<SocketAddr> = found.into_iter().filter(may).collect();
            if allowed.is_empty() { Err(Denied.into()) } else { Ok(Box::new(allowed.into_iter()) as Addrs) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: AddressGuard = AddressGuard { allow_loopback: false, denied: Vec::new() };

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
        let sandbox = AddressGuard { allow_loopback: true, ..STRICT };
        assert_eq!(sandbox.judge("127.0.0.1".parse().unwrap(), false), Ok(()));
        assert_eq!(sandbox.judge("169.254.169.254".parse().unwrap(), false), Err(Denied));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_denied_address_is_denied_where_it_is_connected_to() {
        // A listener that would answer, so that only the guard can prevent the connection.
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

    #[tokio::test]
    async fn all_names_below_a_suffix_can_be_led_elsewhere_and_one_of_them_somewhere_else() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let mut connection = NetworkConnection::default();
        let nowhere: SocketAddr = ([127, 0, 0, 9], 1).into();
        for (name, address) in [("*.blob.example", here), ("*.example", nowhere), ("own.blob.example", nowhere)] {
            connection.host_overrides.insert(name.to_owned(), address);
        }
        for (host, address) in [
            ("a.BLOB.example.", Some(here)),
            ("a.b.blob.example", Some(here)),
            ("own.blob.example", Some(nowhere)),
            ("blob.example", Some(nowhere)),
            ("example", None),
            ("notblob.test", None),
        ] {
            assert_eq!(connection.overridden(host), address, "{host}");
        }
        let client = crate::HttpClient::new(&connection).unwrap();
        let asked = client.request(reqwest::Method::GET, "http://acct.blob.example/".parse().unwrap()).send();
        let accepted = async { listener.accept().await.map(drop) };
        tokio::select! {
            accepted = accepted => accepted.unwrap(),
            answer = asked => panic!("it went elsewhere: {:?}", answer.err()),
        }
    }

    #[test]
    fn what_the_operator_denies_no_connection_can_allow() {
        let denied = ["10.1.0.0/16", "203.0.113.7", "*.corp.example"].map(|text| text.parse().unwrap()).to_vec();
        let guard = AddressGuard { denied, ..STRICT };
        for (address, expected) in [
            ("10.1.2.3", Err(Denied)),
            ("::ffff:10.1.2.3", Err(Denied)),
            ("10.2.0.1", Ok(())),
            ("203.0.113.7", Err(Denied)),
        ] {
            assert_eq!(guard.judge(address.parse().unwrap(), true), expected, "{address}");
        }
        let allowed_hosts = ["*.corp.example", "10.1.2.3"].map(|host| host.parse().unwrap()).to_vec();
        let mut connection = NetworkConnection { allowed_hosts, ..NetworkConnection::default() };
        connection.host_overrides.insert("ok.example".into(), ([10, 1, 2, 3], 443).into());
        for (url, expected) in [
            ("https://db.corp.example/", Err(Denied)),
            ("https://10.1.2.3/", Err(Denied)),
            ("https://ok.example/", Err(Denied)),
            ("https://else.example/", Ok(())),
        ] {
            assert_eq!(guard.judge_url(&url.parse().unwrap(), &connection), expected, "{url}");
        }
    }

    #[test]
    fn for_good_is_denied_what_no_connection_can_allow() {
        let denied = ["10.1.0.0/16", "*.corp.example"].map(|text| text.parse().unwrap()).to_vec();
        let guard = AddressGuard { denied, ..STRICT };
        for (url, expected) in [
            ("https://169.254.169.254/x", Err(Denied)),
            ("https://[::ffff:a9fe:a9fe]/", Err(Denied)),
            ("http://127.0.0.1:8080/", Err(Denied)),
            ("socks5h://100.100.100.200:80", Err(Denied)),
            ("https://10.1.2.3/", Err(Denied)),
            ("https://db.corp.example/", Err(Denied)),
            // A network connection may name such a host.
            ("https://10.2.0.1/", Ok(())),
            ("https://else.example/", Ok(())),
        ] {
            assert_eq!(guard.judge_for_good(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn a_proxy_is_connected_to_and_so_judged() {
        let url: Url = "https://else.example/".parse().unwrap();
        for (proxy, expected) in [
            ("http://169.254.169.254", Err(Denied)),
            ("socks5h://169.254.169.254:80", Err(Denied)),
            ("http://127.0.0.1:3128", Err(Denied)),
            ("http://10.0.0.1:3128", Ok(())),
        ] {
            let connection = NetworkConnection { proxy: Some(proxy.parse().unwrap()), ..NetworkConnection::default() };
            assert_eq!(STRICT.judge_url(&url, &connection), expected, "{proxy}");
        }
    }

    #[tokio::test]
    async fn plain_http_needs_leave_but_on_loopback() {
        let send = async |url: &str, allowed: &[&str]| {
            let guard = Some(AddressGuard { allow_loopback: true, ..STRICT });
            let plain_http_hosts = allowed.iter().map(|host| host.parse().unwrap()).collect();
            let connection = NetworkConnection { guard, plain_http_hosts, ..NetworkConnection::default() };
            let client = crate::HttpClient::new(&connection).unwrap();
            let limit = std::time::Duration::from_secs(1);
            client.request(reqwest::Method::GET, url.parse().unwrap()).timeout(limit).send().await.unwrap_err()
        };
        // Nobody listens there: a request that the guard allows fails to connect.
        let cases: [(&str, &[&str], bool); 5] = [
            ("http://never.invalid/", &[], true),
            ("http://never.invalid/", &["other.invalid"], true),
            ("http://never.invalid/", &["*.invalid"], false),
            ("https://never.invalid/", &[], false),
            ("http://127.0.0.1:9/", &[], false),
        ];
        for (url, allow, refused) in cases {
            let error = send(url, allow).await;
            assert_eq!(matches!(error, crate::HttpError::PlainHttp { .. }), refused, "{url} {allow:?}: {error}");
        }
    }
}
