//! TLS that the engine opens for requests which come in the clear.

use std::time::Duration;

use meltemi_identity::authority::Authority;
use meltemi_identity::serving;

use crate::harness::*;

const TO_APP: &str = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;
const TTL: Duration = Duration::from_secs(3600);

fn text(pem: &str) -> String {
    serde_json::to_string(pem).unwrap()
}

/// An engine that serves with a certificate for `shop.example` and answers with the server name it was asked for.
fn server(authority: &Authority) -> String {
    let cert = serving::issue(authority, &["shop.example"], TTL).unwrap();
    let route = r#"{ match: { prefix: "/" }, direct_response: { status: 200 }, response_headers_to_add: [ { header: { key: sni, value: "%REQUESTED_SERVER_NAME%" } } ] }"#;
    let socket = format!(
        r#"filter_chains: [ {{ transport_socket: {{ name: tls, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,
        common_tls_context: {{ tls_certificates: [ {{ certificate_chain: {{ inline_string: {} }}, private_key: {{ inline_string: {} }} }} ] }} }} }}, "#,
        text(&cert.chain_pem),
        text(&cert.key_pem)
    );
    bootstrap_of(&[listener(route, "").replace("filter_chains: [ {", &socket)], &[])
}

#[tokio::test]
async fn the_host_of_the_request_is_the_server_name_and_the_certificate_must_be_for_it() {
    let authority = Authority::self_signed("cluster.local", TTL).unwrap();
    let outside = start(&server(&authority)).await;
    let more = format!(
        r#", transport_socket: {{ name: tls, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext,
        common_tls_context: {{ validation_context: {{ trusted_ca: {{ inline_string: {} }} }} }} }} }},
        typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
        upstream_http_protocol_options: {{ auto_sni: true, auto_san_validation: true }}, explicit_http_config: {{ http_protocol_options: {{}} }} }} }}"#,
        text(&authority.root_pem())
    );
    let clusters = [cluster("app", outside.listener_address("web").unwrap(), &more)];
    let engine = start_one(&bootstrap_of(&[listener(TO_APP, "")], &clusters)).await;
    let web = engine.listener_address("web").unwrap();
    let ask = async |host: &str| {
        let mut request = get("/");
        request.headers_mut().insert("host", host.parse().unwrap());
        send(web, request).await
    };
    let seen = ask("shop.example:8080").await;
    assert_eq!((seen.status, seen.header("sni")), (200, Some("shop.example")));
    // The same authority vouches for it, but for another name. Neither a kept connection nor a session may stand in.
    for other in ["evil.example", "127.0.0.1", "not a name"] {
        let seen = ask(other).await;
        assert_eq!(seen.status, 503, "{other}: {}", seen.body);
        assert!(seen.body.contains("TLS_error"), "{}", seen.body);
    }
    assert_eq!(ask("SHOP.example").await.status, 200);
}
