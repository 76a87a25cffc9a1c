//! Network connections: what they contain, which data sources use them, and that they take effect.

use crate::common::{Ends, Registry, refusal, source};
use mms_proto::ErrorReason as Reason;
use mms_proto::registry::v1 as pb;
use pb::check_network_connection_response::Event;

fn create(id: &str, network: pb::NetworkConnection) -> pb::CreateNetworkConnectionRequest {
    pb::CreateNetworkConnectionRequest {
        network_connection_id: id.into(),
        network_connection: Some(network),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_held_by_its_sources_and_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let only = pb::NetworkConnection { allowed_hosts: vec!["*.example.com".into()], ..Default::default() };
    let made = registry.networks().create_network_connection(create("egress", only)).await.unwrap().into_inner();
    let made = made.network_connection.unwrap();
    assert_eq!((made.name.as_str(), made.display_name.as_str()), ("networkConnections/egress", "egress"));

    let mut source = pb::DataSource { network_connection: "networkConnections/absent".into(), ..ends.source() };
    let request = pb::CreateDataSourceRequest { data_source: Some(source.clone()), ..Default::default() };
    let status = registry.sources().create_data_source(request).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::NotFound);
    source.network_connection = made.name.clone();
    registry.create("lake", source).await;
    let status = registry.start("lake").await.unwrap_err();
    assert!(status.message().contains("allowed hosts"), "{status}");

    let request = pb::UpdateNetworkConnectionRequest {
        name: made.name.clone(),
        network_connection: Some(pb::NetworkConnection {
            allowed_hosts: vec!["127.0.0.1".into()],
            etag: made.etag,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["allowed_hosts".into()] }),
    };
    registry.networks().update_network_connection(request.clone()).await.unwrap();
    let status = registry.networks().update_network_connection(request).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::EtagMismatch);
    registry.start("lake").await.unwrap();

    let delete = pb::DeleteNetworkConnectionRequest { name: made.name, etag: String::new() };
    let status = registry.networks().delete_network_connection(delete.clone()).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::InUse);
    let none = pb::DataSource::default();
    registry.sources().update_data_source(crate::common::update("lake", none, &["network_connection"])).await.unwrap();
    registry.networks().delete_network_connection(delete).await.unwrap();
    let listed = registry.networks().list_network_connections(pb::ListNetworkConnectionsRequest::default()).await;
    assert!(listed.unwrap().into_inner().network_connections.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_client_can_be_built_from_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    let wrong = pb::NetworkConnection {
        proxy_url: "http://user:secret@proxy:3128".into(),
        proxy_authorization: "nocolon".into(),
        client_certificate_pem: "x".into(),
        host_overrides: [("a".to_owned(), "not an address".to_owned())].into(),
        allowed_hosts: vec!["a*b".into()],
        ..Default::default()
    };
    let status = registry.networks().create_network_connection(create("n", wrong)).await.unwrap_err();
    let (reason, fields) = refusal(&status);
    assert_eq!(reason, Reason::InvalidField);
    for field in
        ["proxy_url", "proxy_authorization", "client_certificate_pem", "host_overrides[\"a\"]", "allowed_hosts[0]"]
    {
        assert!(fields.contains(&format!("network_connection.{field}")), "{field} is not in {fields:?}");
    }
    assert!(!status.message().contains("secret"), "{status}");
    let wrong = pb::NetworkConnection { ca_certificates_pem: "no pem".into(), ..Default::default() };
    let status = registry.networks().create_network_connection(create("n", wrong)).await.unwrap_err();
    assert_eq!(refusal(&status).1, ["network_connection.ca_certificates_pem"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_connects_to_each_url() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let direct = pb::NetworkConnection::default();
    registry.networks().create_network_connection(create("direct", direct)).await.unwrap();
    let request = pb::CheckNetworkConnectionRequest {
        name: "networkConnections/direct".into(),
        urls: vec![ends.workspace.url(), "http://127.0.0.1:1".into()],
    };
    let mut stream = registry.networks().check_network_connection(request).await.unwrap().into_inner();
    let mut states = Vec::new();
    while let Some(answer) = stream.message().await.unwrap() {
        states.push(match answer.event.unwrap() {
            Event::Step(step) => {
                assert_eq!(step.id(), pb::CheckStepId::Url, "{step:?}");
                step.state()
            }
            Event::Report(report) => report.state(),
        });
    }
    assert_eq!(states, [pb::CheckState::Ok, pb::CheckState::Failed, pb::CheckState::Failed]);
}

/// The messages of a check's steps, without the URLs.
async fn told(registry: &Registry, name: &str, urls: &[&str]) -> Vec<String> {
    let urls: Vec<String> = urls.iter().map(|&url| url.to_owned()).collect();
    let request = pb::CheckNetworkConnectionRequest { name: format!("networkConnections/{name}"), urls };
    let mut stream = registry.networks().check_network_connection(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(answer) = stream.message().await.unwrap() {
        if let Some(Event::Step(step)) = answer.event {
            assert_eq!(step.state(), pb::CheckState::Failed, "{step:?}");
            messages.push(step.message.replace(&step.subject, "URL"));
        }
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_denied_address_a_check_tells_that_it_is_denied_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (dead, alive) = ("http://127.0.0.3:1/", std::net::TcpListener::bind("127.0.0.3:0").unwrap());
    let alive = format!("http://{}/", alive.local_addr().unwrap());
    let denied_hosts = vec!["127.0.0.3/32".to_owned(), "*.corp.example".to_owned()];
    let config = mms_registry::Config { denied_hosts: denied_hosts.clone(), ..crate::common::config(dir.path()) };
    let (registry, ends) = (Registry::with(dir.path(), config).await, Ends::start().await);
    // Whatever the network connection itself allows.
    let all = ["*", "127.0.0.3", "db.corp.example"].map(str::to_owned).to_vec();
    let network = pb::NetworkConnection { allowed_hosts: all.clone(), plain_http_hosts: all, ..Default::default() };
    registry.networks().create_network_connection(create("open", network)).await.unwrap();
    let urls =
        ["http://169.254.169.254/latest", "https://100.100.100.200:1/", dead, &alive, "https://db.corp.example/"];
    let mut messages = told(&registry, "open", &urls).await;
    messages.dedup();
    let [message] = messages.as_slice() else { panic!("they can be told apart: {messages:?}") };
    assert!(message.contains("is denied"), "{message}");

    // Services receive the list with their sessions, also for a data source without a network connection; callers never see it.
    registry.create("lake", ends.source()).await;
    registry.start("lake").await.unwrap();
    let request = pb::OpenSessionRequest {
        data_source: "dataSources/lake".into(),
        holder: "a test".into(),
        purposes: vec![pb::SessionPurpose::Metadata as i32],
    };
    let session = registry.sessions().open_session(request).await.unwrap().into_inner().session.unwrap();
    let network = session.network_connection.unwrap();
    assert_eq!((network.name.as_str(), network.denied_hosts), ("", denied_hosts));
    let get = pb::GetNetworkConnectionRequest { name: "networkConnections/open".into() };
    let shown = registry.networks().get_network_connection(get).await.unwrap().into_inner().network_connection.unwrap();
    assert!(shown.denied_hosts.is_empty() && shown.plain_http_hosts.len() == 3, "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_never_be_called_is_refused_with_its_field_before_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let denied_hosts = vec!["10.1.0.0/16".to_owned(), "*.corp.example".to_owned()];
    let config = mms_registry::Config { denied_hosts, ..crate::common::config(dir.path()) };
    let registry = Registry::with(dir.path(), config).await;
    let made = |change: fn(&mut pb::DataSource)| {
        let mut source = source();
        change(&mut source);
        source
    };
    let cases: [(pb::DataSource, &[&str]); 4] = [
        (
            made(|source| source.databricks_mut().unwrap().workspace_url = "https://169.254.169.254".into()),
            &["data_source.databricks.workspace_url"],
        ),
        (
            made(|source| {
                let target = source.max_compute.as_mut().unwrap();
                target.endpoint = "https://[::ffff:100.100.100.200]/api".into();
                target.tunnel_endpoint = "https://10.1.2.3".into();
            }),
            &["data_source.max_compute.endpoint", "data_source.max_compute.tunnel_endpoint"],
        ),
        (
            made(|source| source.databricks_mut().unwrap().workspace_url = "https://db.corp.example".into()),
            &["data_source.databricks.workspace_url"],
        ),
        // A private address is accepted: a network connection may name it, now or later.
        (made(|source| source.databricks_mut().unwrap().workspace_url = "https://10.2.0.1".into()), &[]),
    ];
    for (at, (source, fields)) in cases.into_iter().enumerate() {
        let request = pb::CreateDataSourceRequest {
            data_source_id: format!("source-{at}"),
            data_source: Some(source),
            ..Default::default()
        };
        let answer = registry.sources().create_data_source(request).await;
        let found = answer.map_or_else(|status| refusal(&status).1, |_| Vec::new());
        assert_eq!(found, fields);
    }
    let update = pb::UpdateDataSourceRequest {
        name: "dataSources/source-3".into(),
        data_source: Some(made(|source| source.max_compute.as_mut().unwrap().endpoint = "https://10.1.2.3/api".into())),
        update_mask: Some(prost_types::FieldMask { paths: vec!["max_compute.endpoint".into()] }),
        ..Default::default()
    };
    let status = registry.sources().update_data_source(update).await.unwrap_err();
    assert!(refusal(&status).1.contains(&"data_source.max_compute.endpoint".to_owned()), "{status:?}");

    let network = pb::NetworkConnection {
        proxy_url: "socks5h://169.254.169.254:1080".into(),
        host_overrides: [("a.example".to_owned(), "10.1.2.3:443".to_owned())].into(),
        ..Default::default()
    };
    let status = registry.networks().create_network_connection(create("n", network)).await.unwrap_err();
    let fields = ["network_connection.proxy_url", "network_connection.host_overrides[\"a.example\"]"];
    assert_eq!(refusal(&status).1, fields);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_reaches_other_machines_only_where_the_connection_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    for (id, hosts) in [("tls", vec![]), ("plain", vec!["*.invalid".to_owned()])] {
        let network = pb::NetworkConnection { plain_http_hosts: hosts, ..Default::default() };
        registry.networks().create_network_connection(create(id, network)).await.unwrap();
        let messages = told(&registry, id, &["http://workspace.invalid/"]).await;
        assert_eq!(messages[0].contains("plain_http_hosts"), id == "tls", "{id}: {messages:?}");
    }
    let wrong = pb::NetworkConnection { plain_http_hosts: vec!["a*b".into()], ..Default::default() };
    let status = registry.networks().create_network_connection(create("n", wrong)).await.unwrap_err();
    assert_eq!(refusal(&status).1, ["network_connection.plain_http_hosts[0]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_leads_the_sources_of_a_connection_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = "[[tokens]]\ntoken = \"token-of-the-editor-0000\"\nrole = \"EDITOR\"\nsubject = \"e\"\n\
        [[tokens]]\ntoken = \"token-of-the-admin-00000\"\nrole = \"ADMIN\"\nsubject = \"a\"\n";
    crate::common::write_private(&dir.path().join("tokens.toml"), tokens);
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let editor = registry.networks_as("token-of-the-editor-0000");
    let mut admin = registry.networks_as("token-of-the-admin-00000");
    editor.clone().create_network_connection(create("egress", pb::NetworkConnection::default())).await.unwrap();
    let change = |network: pb::NetworkConnection, paths: &[&str]| pb::UpdateNetworkConnectionRequest {
        name: "networkConnections/egress".into(),
        network_connection: Some(network),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
    };
    let elsewhere = pb::NetworkConnection {
        display_name: "way".into(),
        host_overrides: [("adb-1.azuredatabricks.net".to_owned(), "10.0.0.1".to_owned())].into(),
        ..Default::default()
    };
    editor.clone().update_network_connection(change(elsewhere.clone(), &["host_overrides"])).await.unwrap();
    let source = pb::DataSource { network_connection: "networkConnections/egress".into(), ..ends.source() };
    let request = pb::CreateDataSourceRequest {
        data_source_id: "lake".into(),
        data_source: Some(source),
        ..pb::CreateDataSourceRequest::default()
    };
    registry.sources_as("token-of-the-editor-0000").create_data_source(request).await.unwrap();
    editor.clone().update_network_connection(change(elsewhere, &["display_name"])).await.unwrap();
    let back = pb::NetworkConnection::default();
    let status = editor.clone().update_network_connection(change(back.clone(), &["host_overrides"])).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::RoleTooLow);
    assert!(status.message().contains("dataSources/lake"), "{status}");
    admin.update_network_connection(change(back, &["host_overrides"])).await.unwrap();
}
