//! One table: YAML, and the findings it must give as `code kind/name path`, each with the line it stands on.

use meltemi_config::yaml;

use super::*;

fn objects(text: &str) -> (yaml::Documents, Vec<AnyObject>) {
    let documents = yaml::read("test.yaml", text).expect("YAML");
    let parse = |document: &yaml::Document| meltemi_config::parse(&document.value).expect("an object");
    let objects = documents.documents.iter().map(parse).collect();
    (documents, objects)
}

fn findings(text: &str) -> Vec<String> {
    let (documents, objects) = objects(text);
    analyze(&objects, &MeshConfig::default())
        .iter()
        .map(|finding| {
            let place = documents.place(&documents.documents[finding.object], &finding.diagnostic);
            let found = &finding.diagnostic;
            format!("{} {}/{}:{} {}", found.code, finding.kind, finding.name, place.line, found.path)
        })
        .collect()
}

/// A mesh in which nothing is wrong.
const GOOD: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec:
  selector: {app: reviews}
  ports: [{port: 9080, name: http}]
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  ports: [{port: 80, targetPort: 8080, name: http2}]
---
apiVersion: v1
kind: Pod
metadata: {name: gw, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {containers: [{name: istio-proxy, image: x}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ['*.example.com', 'reviews']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  gateways: [gateway, mesh]
  http:
  - route:
    - destination: {host: reviews, subset: v1, port: {number: 9080}}
";

#[test]
fn nothing_is_wrong_with_a_good_mesh() {
    assert_eq!(findings(GOOD), Vec::<String>::new());
}

/// Breaks one thing of the good mesh; exactly one finding must come, at that line.
#[test]
fn one_break_gives_one_finding_at_its_line() {
    let line = |part: &str| GOOD.lines().position(|line| line.contains(part)).expect(part) + 1;
    let destination = line("- destination");
    for (from, to, expected) in [
        (
            "host: reviews, subset",
            "host: reviewz, subset",
            format!("IST0101 VirtualService/reviews:{destination} spec.http[0].route[0].destination.host"),
        ),
        (
            "subset: v1,",
            "subset: v9,",
            format!("IST0101 VirtualService/reviews:{destination} spec.http[0].route[0].destination.subset"),
        ),
        (
            "number: 9080",
            "number: 9081",
            format!(
                "IST0101 VirtualService/reviews:{destination} spec.http[0].route[0].destination.port.number"
            ),
        ),
        (
            "gateways: [gateway,",
            "gateways: [gatewey,",
            format!("IST0101 VirtualService/reviews:{} spec.gateways[0]", line("gateways: [")),
        ),
        (
            "{number: 8080",
            "{number: 9999",
            format!("IST0104 Gateway/gateway:{} spec.servers[0].port.number", line("number: 8080")),
        ),
        (
            "'*.example.com', 'reviews'",
            "'*.example.com'",
            format!("IST0132 VirtualService/reviews:{} spec.hosts[0]", line("hosts: [reviews]")),
        ),
        (
            "name: http}]",
            "name: web}]",
            format!("IST0118 Service/reviews:{} spec.ports[0].name", line("name: http}]")),
        ),
        (
            ", labels: {istio-injection: enabled}",
            "",
            "IST0102 Namespace/default:3 metadata.labels".to_owned(),
        ),
        (
            "  host: reviews\n",
            "  host: reviews\n  trafficPolicy: {tls: {mode: SIMPLE}}\n",
            format!("IST0128 DestinationRule/reviews:{} spec.trafficPolicy.tls", line("  host: reviews") + 1),
        ),
    ] {
        let broken = GOOD.replacen(from, to, 1);
        assert_ne!(broken, GOOD, "{from}");
        assert_eq!(findings(&broken), [expected], "{from} -> {to}");
    }
}

#[test]
fn additions_that_conflict_are_found() {
    for (more, expected) in [
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: other, namespace: default}\nspec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}",
            vec!["IST0109 VirtualService/other", "IST0109 VirtualService/reviews"],
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: second, namespace: default}\nspec: {selector: {istio: ingressgateway}, servers: [{port: {number: 8080, name: x, protocol: HTTP}, hosts: [reviews]}]}",
            vec!["IST0145 Gateway/second"],
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: second, namespace: default}\nspec: {selector: {istio: nobody}, servers: [{port: {number: 80, name: x, protocol: HTTP}, hosts: [a]}]}",
            vec!["IST0101 Gateway/second"],
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: db, namespace: default}\nspec: {hosts: [db.example.com], resolution: DNS, ports: [{number: 3306, name: tcp, protocol: TCP}]}",
            vec!["IST0134 ServiceEntry/db"],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: bare, namespace: default}\nspec: {containers: [{name: app, image: x}]}",
            vec!["IST0103 Pod/bare"],
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: default, annotations: {sidecar.istio.io/inject: 'false', sidecar.istio.io/ijnect: x, other.io/x: z}}\nspec: {ports: [{port: 80, name: http}]}",
            vec!["IST0107 Service/s", "IST0108 Service/s"],
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: a, namespace: default}\nspec: {egress: [{hosts: ['./*']}]}\n---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: b, namespace: default}\nspec: {egress: [{hosts: ['./*']}]}",
            vec!["IST0111 Sidecar/a", "IST0111 Sidecar/b"],
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: default}\nspec: {}",
            vec!["MEL0001 AuthorizationPolicy/p"],
        ),
    ] {
        let found = findings(&format!("{GOOD}---\n{more}\n"));
        let mut short: Vec<String> =
            found.iter().map(|f| f.split(':').next().unwrap_or_default().to_owned()).collect();
        short.sort();
        assert_eq!(short, expected, "{more}");
    }
}

#[test]
fn an_object_does_not_conflict_with_itself() {
    let text = format!("{GOOD}---\n{}", GOOD.split("---\n").last().expect("a VirtualService"));
    assert_eq!(findings(&text), Vec::<String>::new());
}

#[test]
fn strict_mutual_tls_against_plain_text() {
    let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: default}\nspec: {mtls: {mode: STRICT}}\n";
    let plain =
        GOOD.replacen("  host: reviews\n", "  host: reviews\n  trafficPolicy: {tls: {mode: DISABLE}}\n", 1);
    let found = findings(&format!("{plain}---\n{strict}"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("IST0113 DestinationRule/reviews"), "{found:?}");
    assert!(findings(&format!("{GOOD}---\n{strict}")).is_empty());
}

#[test]
fn mistakes_come_with_what_was_meant() {
    let (_, objects) = objects(&GOOD.replacen("host: reviews, subset", "host: reviewz, subset", 1));
    let found = analyze(&objects, &MeshConfig::default());
    assert_eq!(found[0].diagnostic.message, "Referenced host not found: \"reviewz\"");
    let cure = found[0].diagnostic.cure.as_deref().unwrap_or_default();
    assert!(cure.starts_with("did you mean \"reviews\"?"), "{cure}");
}

/// Whatever is written, every code has its name.
#[test]
fn codes_have_names() {
    assert_eq!(code::name(code::REFERENCED_RESOURCE_NOT_FOUND), "ReferencedResourceNotFound");
    assert_eq!(code::name(unsupported::CODE), "FieldWithoutEffect");
}
