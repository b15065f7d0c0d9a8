//! Configuration that changes: nothing that works is lost.

use std::time::Duration;

use meltemi_proto::type_url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::control::{Control, bootstrap};
use crate::harness::*;

fn web(route: &str) -> String {
    listener(route, "")
}

fn to(cluster: &str) -> String {
    format!(r#"{{ match: {{ prefix: "/" }}, route: {{ cluster: {cluster} }} }}"#)
}

async fn eventually(address: std::net::SocketAddr, path: &str, body: &str) {
    for _ in 0..250 {
        if send(address, get(path)).await.body.contains(body) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{body:?} never came");
}

#[tokio::test]
async fn a_bad_push_never_removes_a_working_listener() {
    let app = Upstream::echo().await;
    let control = Control::new();
    control.set(type_url::CLUSTER, &cluster("app", app.address, ""));
    control.set(type_url::LISTENER, &web(&to("app")));
    let engine = start(&bootstrap(control.serve().await, false, None)).await;
    let address = engine.listener_address("web").unwrap();
    assert_eq!(send(address, get("/")).await.status, 200);

    control.set(
        type_url::LISTENER,
        &web(r#"{ match: { safe_regex: { regex: "(" } }, route: { cluster: app } }"#),
    );
    let nack = control.nack().await;
    assert!(nack.contains("web: filter_chains[0]") && nack.contains("routes[0].match.safe_regex"), "{nack}");
    assert_eq!(send(address, get("/")).await.status, 200);

    control.set(type_url::CLUSTER, "{ name: app, type: STATIC, connect_timeout: 0s }");
    let nack = control.nack().await;
    assert!(nack.contains("app: connect_timeout"), "{nack}");
    assert_eq!(send(address, get("/")).await.status, 200);

    control.set(
        type_url::LISTENER,
        &web(
            r#"{ match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: fixed } } }"#,
        ),
    );
    eventually(address, "/", "fixed").await;
}

#[tokio::test]
async fn an_unknown_filter_is_refused_by_name() {
    let control = Control::new();
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let lua = format!(
        r#"{{ name: lua, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua }} }}, {{ name: router, typed_config: {{ "@type": {router} }} }}"#
    );
    let broken = web(&to("app"))
        .replace(&format!(r#"{{ name: router, typed_config: {{ "@type": {router} }} }}"#), &lua);
    control.set(type_url::LISTENER, &broken);
    let _engine = start_cold(&bootstrap(control.serve().await, true, None));
    let nack = control.nack().await;
    assert!(
        nack.contains("http_filters[0](lua)") && nack.contains("filters.http.lua.v3.Lua is not supported"),
        "{nack}"
    );
}

#[tokio::test]
async fn connections_of_a_replaced_chain_finish_their_request_and_are_told_to_go() {
    let app = Upstream::start(|request| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        http::Response::new("old".into())
    })
    .await;
    let control = Control::new();
    control.set(type_url::CLUSTER, &cluster("app", app.address, ""));
    control.set(type_url::LISTENER, &web(&to("app")));
    let engine = start(&bootstrap(control.serve().await, false, None)).await;
    let address = engine.listener_address("web").unwrap();
    let mut kept = TcpStream::connect(address).await.unwrap();
    kept.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    control.set(
        type_url::LISTENER,
        &web(r#"{ match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: new } } }"#),
    );
    eventually(address, "/", "new").await;
    let mut answer = String::new();
    kept.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK")
            && answer.contains("connection: close")
            && answer.ends_with("old"),
        "{answer}"
    );
}

#[tokio::test]
async fn endpoints_and_routes_follow_the_control_plane_without_a_gap() {
    let (one, two) = (Upstream::echo().await, Upstream::echo().await);
    let control = Control::new();
    let assign = |upstream: &Upstream| {
        format!(
            "{{ cluster_name: app, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }} ] }} ] }}",
            upstream.address.ip(),
            upstream.address.port()
        )
    };
    let eds =
        "{ name: app, type: EDS, eds_cluster_config: { eds_config: { ads: {}, resource_api_version: V3 } }";
    control.set(type_url::CLUSTER, &format!("{eds} }}"));
    control.set(type_url::ENDPOINT, &assign(&one));
    control.set(type_url::LISTENER, &web(&to("app")));
    let engine = start(&bootstrap(control.serve().await, true, None)).await;
    let address = engine.listener_address("web").unwrap();
    let asking = async {
        for _ in 0..200 {
            assert_eq!(send(address, get("/")).await.status, 200);
        }
    };
    let changing = async {
        for round in 0..10 {
            control.set(type_url::CLUSTER, &format!("{eds}, connect_timeout: {}s }}", round + 1));
            control.set(type_url::ENDPOINT, &assign(if round % 2 == 0 { &two } else { &one }));
            control.set(
                type_url::LISTENER,
                &web(&format!(
                    r#"{{ name: r{round}, match: {{ prefix: "/" }}, route: {{ cluster: app }} }}"#
                )),
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(asking, changing);
    assert!(one.requests() > 0 && two.requests() > 0);
    control.remove(type_url::LISTENER, "web");
    for _ in 0..250 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the removed listener still accepts");
}

#[tokio::test]
async fn a_taken_port_is_refused_with_its_address() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let control = Control::new();
    let web = web(&to("app")).replace("port_value: 0", &format!("port_value: {}", taken.port()));
    control.set(type_url::LISTENER, &web);
    let _engine = start_cold(&bootstrap(control.serve().await, false, None));
    let nack = control.nack().await;
    assert!(nack.contains(&format!("cannot listen on {taken}")) && nack.contains("in use"), "{nack}");
}

/// Answers with `body` at a fixed address.
fn fixed(name: &str, body: &str, address: std::net::SocketAddr) -> String {
    let answer = format!(
        r#"{{ match: {{ prefix: "/" }}, direct_response: {{ status: 200, body: {{ inline_string: {body} }} }} }}"#
    );
    web(&answer)
        .replacen("name: web", &format!("name: {name}"), 1)
        .replace("port_value: 0", &format!("port_value: {}", address.port()))
}

#[tokio::test]
async fn a_listener_keeps_its_sockets_when_it_gets_another_address_or_another_name() {
    let (first, second) = (free_port().await, free_port().await);
    let control = Control::new();
    control.set(type_url::LISTENER, &fixed("one", "old", first));
    let _engine = start(&bootstrap(control.serve().await, false, None)).await;
    eventually(first, "/", "old").await;
    let more = "filter_chains: [ { filters:";
    let address = format!(
        "additional_addresses: [ {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} ], {more}",
        second.port()
    );
    control.set(type_url::LISTENER, &fixed("one", "both", first).replacen(more, &address, 1));
    while TcpStream::connect(second).await.is_err() {
        assert!(!control.has_nack());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually(second, "/", "both").await;
    eventually(first, "/", "both").await;
    control.swap(type_url::LISTENER, "one", &fixed("two", "renamed", first));
    eventually(first, "/", "renamed").await;
    control.set(
        type_url::LISTENER,
        &fixed("two", "free", first).replace("name: two,", "name: two, freebind: true,"),
    );
    eventually(first, "/", "free").await;
    assert!(!control.has_nack());
}

#[tokio::test]
async fn endpoints_that_do_not_exist_keep_nobody_waiting() {
    let control = Control::new();
    control.set(
        type_url::CLUSTER,
        "{ name: gone, type: EDS, eds_cluster_config: { eds_config: { ads: {}, resource_api_version: V3 } } }",
    );
    control.set(type_url::LISTENER, &web(&to("gone")));
    let engine = start(&bootstrap(control.serve().await, true, None)).await;
    let seen = send(engine.listener_address("web").unwrap(), get("/")).await;
    assert_eq!((seen.status, seen.body.as_str()), (503, "no healthy upstream"));
}
