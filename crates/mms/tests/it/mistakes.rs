//! Mistakes of a first hour. Each message says what is wrong, where, and what to do. Other mistakes are tested
//! elsewhere: an interrupted run in `rerun`, a lost key in `up`, a full disk and a dead registry in the tests of all
//! services.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use serde_json::{Value, json};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::support::{Client, Running, name, run, sandbox, source, start, table_of};

struct Hour<'a> {
    dir: &'a Path,
    root: &'a Path,
    ends: &'a Running,
    mms: Client<'a>,
}

impl Hour<'_> {
    /// Writes the file of a data source with one value changed.
    fn file(&self, id: &str, at: &str, value: Value) -> String {
        let mut request = source(id, self.ends, self.root, &json!({}));
        let (within, key) = at.rsplit_once('/').unwrap();
        request.pointer_mut(&format!("/dataSource{within}")).unwrap()[key] = value;
        let file = self.dir.join(format!("{id}.yaml"));
        std::fs::write(&file, serde_json::to_string_pretty(&request).unwrap()).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// What `mms migrate` says about such a file. It must fail.
    fn migrate(&self, id: &str, at: &str, value: Value) -> String {
        self.mms.refused(&["migrate", "-f", &self.file(id, at, value)])
    }
}

fn all_of(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn of_a_data_source() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("delta-root");
    table_of(&root, "fine", "integer");
    table_of(&root, "durations", "interval day to second");
    std::fs::create_dir_all(root.join("odd/recent")).unwrap();
    std::fs::write(root.join("odd/recent/_object.json"), r#"{"table_type": "VIEW"}"#).unwrap();
    let ends = sandbox(&dir.path().join("project"), &root, None);
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let _suite = start(&["up", "--json", "--port-base", "0", "--allow-local-files", "--data-dir", data]);
    let hour = Hour { dir: dir.path(), root: &root, ends: &ends, mms: Client(data) };
    let mend = "fix it, then run this again";

    // 1: the wrong token; 2: catalog; 3: cluster; 4: endpoint; 5: key.
    let told = hour.migrate("token", "/databricks/accessToken/token", json!("dapi-of-somebody"));
    all_of(&told, &["check WORKSPACE_TOKEN", "FAILED", "\n  help: make a new token in the workspace", mend]);
    assert!(!told.contains("dapi-of-somebody"), "{told}");
    let told = hour.migrate("catalog", "/databricks/catalog", json!("mian"));
    all_of(&told, &["check CATALOG_VISIBLE", "mian", "\n  help: check the name, and: GRANT USE CATALOG", mend]);
    let told = hour.migrate("cluster", "/databricks/clusterId", json!("0000-000000-none"));
    all_of(&told, &["check CLUSTER_USABLE", "0000-000000-none", "\n  help: check databricks.cluster_id", mend]);
    let told = hour.migrate("endpoint", "/maxCompute/endpoint", json!("http://127.0.0.1:1/api"));
    all_of(&told, &["check PROJECT_REACHABLE", "127.0.0.1:1", "\n  help: check max_compute.endpoint", mend]);
    let told = hour.migrate("key", "/maxCompute/accessKey/accessKeySecret", json!("not-the-secret"));
    all_of(&told, &["check PROJECT_REACHABLE", "\n  help: check max_compute.access_key", mend]);
    assert!(!told.contains("not-the-secret"), "{told}");

    // Secrets that do not exist where the file says; both are reported at once.
    let mut request = source("secrets", &ends, &root, &json!({}));
    request["dataSource"]["databricks"]["accessToken"]["token"] = json!("env:MMS_SECRET_NOT_SET");
    request["dataSource"]["maxCompute"]["accessKey"]["accessKeySecret"] = json!("env:MMS_SECRET_NOR_THIS");
    let file = dir.path().join("secrets.yaml");
    std::fs::write(&file, request.to_string()).unwrap();
    let told = hour.mms.refused(&["migrate", "-f", file.to_str().unwrap()]);
    all_of(
        &told,
        &["check CREDENTIALS_RESOLVED", "MMS_SECRET_NOT_SET is not set", "MMS_SECRET_NOR_THIS is not set", mend],
    );

    // 6: a typo; 7: a missing file.
    let told = hour.migrate("typo", "/databricks/workspaceURI", json!("https://x"));
    all_of(&told, &["typo.yaml has a field that the contract does not have", "line ", "did you mean workspaceUrl?"]);
    let told = hour.mms.refused(&["migrate", "-f", "nowhere.yaml"]);
    all_of(&told, &["reading nowhere.yaml", "deploy/examples/azure-databricks.yaml", "No such file"]);

    // 8: a scope that matches no table; 9: a table that no scan found.
    let file = hour.file("odds", "/databricks/catalog", json!(ends.told("/workspace/catalog")));
    let told = said(&hour.mms.run(&["migrate", "-f", &file, "--schema", "none"]));
    all_of(&told, &["it has no schema none, or its lists leave it out", "\n  see what there is: mms schema list odds"]);
    let told = said(&hour.mms.run(&["migrate", "-f", &file, "--table", "odd.nine"]));
    all_of(&told, &["the job names odd.nine", "scan the source, or mend the names", "mms table list odds"]);
    let told = hour.mms.refused(&["table", "get", "odd.nine"]);
    all_of(&told, &["there is no table \"odd.nine\"", "mms table list"]);

    // 10: a table that cannot be migrated; 11: a view.
    let told = said(&hour.mms.run(&["migrate", "-f", &file]));
    all_of(
        &told,
        &["BLOCKED odd.durations", "TYPE_UNSUPPORTED in column a", "\n  help: make a table of it with CREATE TABLE"],
    );
    all_of(&told, &["SKIPPED odd.recent", "VIEW"]);
    all_of(&told, &["3 tables: 1 done, 1 skipped, 1 blocked", "next: fix what is named above"]);

    // 12: a job that is stopped.
    let job = hour.mms.one(&["job", "create", "odds", "--table", "odd.fine", "--force", "--review"]);
    let job = name(&job).to_owned();
    hour.mms.run(&["job", "watch", &job]);
    hour.mms.one(&["job", "stop", &job]);
    let told = hour.mms.refused(&["job", "approve", &job]);
    all_of(&told, &["WRONG_STATE", &job, "STOPPED", "`mms job start odds/"]);
}

#[test]
fn of_a_suite() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();

    // 13: a port that is in use.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let told = said(&run(&["up", "--port-base", &port, "--data-dir", &at("data")]));
    all_of(
        &told,
        &[&format!("cannot listen on 127.0.0.1:{port}"), "\n  help: stop the program that has the port", "--port-base"],
    );
    assert_eq!(told.matches("Address already in use").count(), 1, "no cause is told twice: {told}");

    // 14: a folder that cannot be created. Root may write everywhere, but not below a file.
    std::fs::write(at("file"), "").unwrap();
    let told = said(&run(&["up", "--port-base", "0", "--data-dir", &at("file/data")]));
    all_of(&told, &["making ", "file/data", "--data-dir may name another folder", "Not a directory"]);

    // 15: two suites on one folder.
    let data = at("data");
    let suite = start(&["up", "--json", "--port-base", "0", "--data-dir", &data]);
    let told = said(&run(&["up", "--port-base", "0", "--data-dir", &data]));
    all_of(&told, &[&data, "is in use by", "\n  help: another suite runs on this folder", "--data-dir"]);
    suite.kill();

    // 16: no suite is running.
    let told = said(&run(&["source", "list", "--data-dir", &data]));
    all_of(&told, &["UNAVAILABLE: the registry at http://127.0.0.1:", "Connection refused", "mms up"]);
    let told = said(&run(&["source", "list", "--data-dir", &at("nowhere")]));
    all_of(&told, &["nowhere", "did `mms up` run with this data folder?"]);
}

#[test]
fn of_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let shown = params.self_signed(&key).unwrap();
    let ca = dir.path().join("ca.crt");
    std::fs::write(&ca, shown.pem()).unwrap();
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let secret = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let expired = shows(shown.der().clone(), secret);
    let asked = |url: &str| said(&run(&["source", "list", "--registry", url, "--ca-file", ca.to_str().unwrap()]));

    // 17: an expired certificate; 18: one of another CA.
    let told = asked(&expired);
    all_of(&told, &[&format!("the registry at {expired} cannot be reached"), "certificate expired"]);
    all_of(&told, &["\n  help: its certificate has expired"]);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let secret = rustls::pki_types::PrivatePkcs8KeyDer::from(other.signing_key.serialize_der());
    let strange = shows(other.cert.der().clone(), secret);
    let told = asked(&strange);
    all_of(&told, &[&format!("the registry at {strange} cannot be reached"), "\n  help: is --ca-file the authority"]);
    // 19: no --ca-file, and no CA that the system trusts.
    let told = said(&run(&["source", "list", "--registry", &strange]));
    all_of(&told, &[&format!("the registry at {strange} cannot be reached"), "\n  help: is --ca-file the authority"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_versions() {
    // 20: a suite that lacks the method that this command calls, as an older or newer one of ours would.
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let (_reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(Server::builder().add_service(health).serve_with_incoming(incoming));
    let told = said(&run(&["job", "list", "--scheduler", &url]));
    all_of(
        &told,
        &["Unimplemented: there is no such call", "\n  help: this command and the suite are of different versions"],
    );
    all_of(&told, &["mms --version"]);
}

/// The URL of a server that presents this certificate to every caller.
fn shows(
    certificate: rustls::pki_types::CertificateDer<'static>,
    key: rustls::pki_types::PrivatePkcs8KeyDer<'static>,
) -> String {
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![certificate], key.into()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            // The caller aborts the handshake, since it rejects the certificate.
            drop(tls.complete_io(&mut stream));
        }
    });
    url
}
