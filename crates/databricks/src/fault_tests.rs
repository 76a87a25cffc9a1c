//! Every known form of an error body is read, and no other body makes the reader fail.

use proptest::prelude::*;

use super::*;

fn parse(status: u16, body: &str) -> Fault {
    Fault::parse(status, None, body.as_bytes())
}

#[test]
fn json_with_details() {
    let fault = parse(
        403,
        r#"{"error_code":"PERMISSION_DENIED","message":"User does not have EXTERNAL USE SCHEMA on Schema 'c.s'.","details":[
        {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"PERMISSION_DENIED","domain":"unity-catalog.databricks.com"},
        {"@type":"type.googleapis.com/google.rpc.RequestInfo","request_id":"bd9d1fb5"},
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retry_delay":"2.5s"}]}"#,
    );
    assert_eq!(fault.shape, FaultShape::Json);
    assert_eq!(fault.kind(), RefusalKind::PermissionDenied);
    assert_eq!(fault.request_id.as_deref(), Some("bd9d1fb5"));
    assert_eq!(fault.retry_after, Some(Duration::from_millis(2500)));
}

#[test]
fn the_other_five_shapes() {
    let fault = parse(400, r#"{"error":"ContextNotFound"}"#);
    assert_eq!((fault.shape, fault.message.as_str()), (FaultShape::Api12, "ContextNotFound"));
    let fault = parse(404, r#"{"detail":"User 5 not found","status":"404","scimType":"noTarget"}"#);
    assert_eq!(
        (fault.shape, fault.code.as_deref(), fault.kind()),
        (FaultShape::Scim, Some("noTarget"), RefusalKind::NotFound)
    );
    let fault = parse(400, "INVALID_PARAMETER_VALUE: no such thing: x");
    assert_eq!((fault.shape, fault.code.as_deref()), (FaultShape::Text, Some("INVALID_PARAMETER_VALUE")));
    assert_eq!(fault.message, "no such thing: x");
    let fault = parse(
        403,
        "<html><head><TITLE>Error 403 Invalid access token.</TITLE></head><body><pre>  Invalid access\n token. </pre>",
    );
    assert_eq!((fault.shape, fault.message.as_str()), (FaultShape::Html, "Invalid access token."));
    assert_eq!(fault.kind(), RefusalKind::Unauthenticated);
    let fault = parse(404, "");
    assert_eq!((fault.shape, fault.kind()), (FaultShape::Empty, RefusalKind::NoSuchEndpoint));
}

#[test]
fn a_token_endpoint_names_its_error() {
    let fault =
        parse(401, r#"{"error":"invalid_client","error_id":"e-1","error_description":"Client authentication failed"}"#);
    assert_eq!((fault.shape, fault.code.as_deref()), (FaultShape::OAuth, Some("invalid_client")));
    assert_eq!((fault.message.as_str(), fault.request_id.as_deref()), ("Client authentication failed", Some("e-1")));
}

#[test]
fn a_wrong_token_is_told_from_a_missing_right() {
    assert_eq!(
        parse(403, r#"{"error_code":403,"message":"Invalid access token."}"#).kind(),
        RefusalKind::Unauthenticated
    );
    let denied = r#"{"error_code":"UNAUTHENTICATED","message":"Request to generate access credential denied",
        "details":[{"reason":"UNITY_CATALOG_EXTERNAL_GENERATE_TABLE_CREDENTIALS_DENIED"}]}"#;
    assert_eq!(parse(401, denied).kind(), RefusalKind::PermissionDenied);
    assert_eq!(parse(404, r#"{"error_code":"ENDPOINT_NOT_FOUND","message":"x"}"#).kind(), RefusalKind::NoSuchEndpoint);
    assert_eq!(parse(404, r#"{"error_code":"TABLE_DOES_NOT_EXIST","message":"x"}"#).kind(), RefusalKind::NotFound);
}

#[test]
fn messages_lose_their_secrets() {
    let fault = parse(400, r#"{"error_code":"X","message":"bad header Authorization: Bearer dapi0123456789abcdef"}"#);
    assert!(!fault.message.contains("0123456789"), "{}", fault.message);
}

#[test]
fn no_word_of_a_fault_repeats_a_secret() {
    let secret = "Canary/of+a=workspace.token";
    mms_http::redact::remember(secret);
    let detail = format!(r#"{{"reason":"{secret}","request_id":"{secret}"}}"#);
    let body = format!(r#"{{"error_code":"{secret}","message":"was {secret}","details":[{detail}]}}"#);
    let fault = format!("{:?}", parse(400, &body));
    assert!(fault.contains("***") && !fault.contains("Canary"), "{fault}");
}

proptest! {
    #[test]
    fn any_body_gives_a_bounded_message(status in 300_u16..600, body in "\\PC{0,200}", long in 0_usize..3000) {
        let fault = parse(status, &format!("{body}{}", "y".repeat(long)));
        prop_assert!(!fault.message.is_empty());
        prop_assert!(fault.message.chars().count() <= MESSAGE_CHARS);
        let _no_panic = fault.kind();
    }
}
