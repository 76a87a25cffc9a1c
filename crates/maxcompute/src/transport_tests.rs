use std::time::Duration;

use mms_http::retry::RetryPolicy;
use mms_http::{HttpClient, Method, NetworkConnection};
use url::Url;

use super::{Call, Told, Transport, read_error};
use crate::account::{Account, Accounts};

fn transport(endpoint: &str) -> Transport {
    Transport::new(
        HttpClient::new(&NetworkConnection::default()).unwrap(),
        Url::parse(endpoint).unwrap(),
        Accounts::new(Account::new("id", "secret".into()), None),
        None,
        RetryPolicy::default(),
    )
}

#[test]
fn values_travel_percent_encoded_and_paths_stay_below_the_endpoint() {
    let call = Call::new(Method::GET, &["projects", "p", "tables", "t"])
        .param("partition", "pt=a+b&c d")
        .param("arrow", "")
        .param_if("quotaName", None::<String>);
    assert_eq!(
        transport("http://host:1/api/").url(&call).as_str(),
        "http://host:1/api/projects/p/tables/t?partition=pt%3Da%2Bb%26c%20d&arrow"
    );
    assert_eq!(call.what(), "GET /projects/p/tables/t");
}

#[test]
fn errors_are_read_from_json_and_from_xml() {
    let json = read_error(r#"{"Code":"FlowExceeded","Message":"slow down","HoldClientMillis":1500}"#);
    let expected = Told {
        code: Some("FlowExceeded".into()),
        message: "slow down".into(),
        request_id: None,
        hold: Some(Duration::from_millis(1500)),
    };
    assert_eq!(json, expected);
    let xml = read_error(
        "<?xml version=\"1.0\"?><Error><Code>NoSuchObject</Code><Message><![CDATA[no]]></Message><RequestId>R1</RequestId><HostId>h</HostId></Error>",
    );
    assert_eq!(
        (xml.code.as_deref(), xml.message.as_str(), xml.request_id.as_deref()),
        (Some("NoSuchObject"), "no", Some("R1"))
    );
    let other = read_error("Bad Gateway");
    assert_eq!((other.code, other.message.as_str()), (None, "Bad Gateway"));
}

#[test]
fn no_field_of_an_error_repeats_a_secret() {
    let secret = "Canary/of+an=STS.token";
    mms_http::redact::remember(secret);
    let json = format!(r#"{{"Code":"{secret}","Message":"was {secret}","RequestId":"{secret}"}}"#);
    let xml =
        format!("<Error><Code>{secret}</Code><Message>was {secret}</Message><RequestId>{secret}</RequestId></Error>");
    for body in [json.as_str(), xml.as_str(), secret] {
        let told = format!("{:?}", read_error(body));
        assert!(told.contains("***") && !told.contains("Canary"), "{told}");
    }
}

#[test]
fn a_bearer_shows_its_token_and_signs_nothing() {
    let transport = transport("http://host:1/api");
    let headers =
        transport.signed_headers(&Call::new(Method::GET, &["projects"]), &Account::bearer("the-token".into()));
    let value = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    assert_eq!(value("x-odps-bearer-token"), Some("the-token"));
    assert_eq!(value("Authorization"), None);
    assert!(value("Date").is_some());
}
