use std::path::Path;

use serde_json::{Value, json};

use super::{env, find, injected, names, outcome, pod, with_annotation};
use crate::{Context, InjectError, Injector, InjectorConfig, MeshSettings, Outcome, kube_inject};

/// Injects `tests/golden/NAME.yaml` and compares with `NAME.injected.yaml`; with `UPDATE_GOLDEN` set, writes that file.
#[track_caller]
fn golden(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let input = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
    let output = kube_inject(&Injector::default(), "default", &input).unwrap();
    let expected = folder.join(format!("{name}.injected.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&expected, &output).unwrap();
    }
    similar_asserts::assert_eq!(output, std::fs::read_to_string(expected).unwrap());
    // Once more changes nothing.
    similar_asserts::assert_eq!(kube_inject(&Injector::default(), "default", &output).unwrap(), output);
}

#[test]
fn golden_deployment() {
    golden("deployment");
}

#[test]
fn golden_jobs() {
    golden("jobs");
}

#[test]
fn golden_gateway() {
    golden("gateway");
}

#[test]
fn golden_not_native() {
    golden("not-native");
}

#[test]
fn the_patch_makes_the_pod() {
    let original = pod();
    let Outcome::Injected(injected) = outcome(&original) else { panic!("not injected") };
    let mut patched = original;
    json_patch::patch(&mut patched, &injected.patch).unwrap();
    assert_eq!(patched, injected.pod);
}

#[test]
fn the_proxy_starts_before_the_users_init_containers() {
    let mut pod = pod();
    pod["spec"]["initContainers"] = json!([{"name": "migrate", "image": "x"}]);
    assert_eq!(names(&injected(&pod), "initContainers"), ["istio-init", "istio-proxy", "migrate"]);
}

#[test]
fn without_a_native_sidecar_the_users_init_containers_run_before_the_redirection() {
    let mut pod = with_annotation("sidecar.istio.io/nativeSidecar", "false");
    pod["spec"]["initContainers"] =
        json!([{"name": "migrate", "image": "x"}, {"name": "warm", "image": "x"}]);
    assert_eq!(names(&injected(&pod), "initContainers"), ["migrate", "warm", "istio-init"]);
}

#[test]
fn a_held_application_comes_after_a_waiting_proxy() {
    let mut pod = with_annotation("proxy.istio.io/config", "holdApplicationUntilProxyStarts: true");
    pod["metadata"]["annotations"]["sidecar.istio.io/nativeSidecar"] = json!("false");
    let injected = injected(&pod);
    assert_eq!(names(&injected, "containers"), ["istio-proxy", "reviews"]);
    let hook = &find(&injected, "containers", "istio-proxy")["lifecycle"]["postStart"]["exec"]["command"];
    assert_eq!(hook, &json!(["pilot-agent", "wait"]));
    assert_eq!(injected["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"], "reviews");
}

#[test]
fn annotations_change_the_proxy() {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({
        "sidecar.istio.io/proxyImage": "example.org/proxy:1",
        "sidecar.istio.io/proxyCPU": "20m",
        "sidecar.istio.io/logLevel": "debug",
        "sidecar.istio.io/interceptionMode": "TPROXY",
        "traffic.sidecar.istio.io/excludeInboundPorts": "8081,15090",
        "traffic.sidecar.istio.io/excludeOutboundPorts": "3306",
        "traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/8",
        "sidecar.istio.io/userVolume": r#"[{"name": "extra", "emptyDir": {}}]"#,
        "sidecar.istio.io/userVolumeMount": r#"{"extra": {"mountPath": "/extra"}}"#,
        "proxy.istio.io/config": "proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}\nconcurrency: 3",
    });
    let injected = injected(&pod);
    let proxy = find(&injected, "initContainers", "istio-proxy");
    assert_eq!(proxy["image"], "example.org/proxy:1");
    assert_eq!(proxy["resources"], json!({"requests": {"cpu": "20m"}}));
    assert_eq!(proxy["securityContext"]["capabilities"]["add"], json!(["NET_ADMIN"]));
    assert!(proxy["args"].as_array().unwrap().contains(&json!("--proxyLogLevel=debug")));
    assert!(
        proxy["volumeMounts"].as_array().unwrap().contains(&json!({"mountPath": "/extra", "name": "extra"}))
    );
    assert!(names(&injected, "volumes").contains(&"extra".to_owned()));
    assert_eq!(env(&injected, "ISTIO_META_DNS_CAPTURE"), Some("true"));
    let config: Value = serde_json::from_str(env(&injected, "PROXY_CONFIG").unwrap()).unwrap();
    assert_eq!(config["concurrency"], 3);
    let args = find(&injected, "initContainers", "istio-init")["args"].as_array().unwrap().clone();
    let after = |flag: &str| args[args.iter().position(|arg| arg == flag).unwrap() + 1].clone();
    assert_eq!((after("-m"), after("-i")), (json!("TPROXY"), json!("10.0.0.0/8")));
    assert_eq!((after("-d"), after("-o")), (json!("15090,15021,15020,8081"), json!("3306")));
}

#[test]
fn bad_annotations_are_all_named() {
    let mut pod = with_annotation("traffic.sidecar.istio.io/excludeInboundPorts", "80,web");
    pod["metadata"]["annotations"]["sidecar.istio.io/interceptionMode"] = json!("MAGIC");
    let error = Injector::default().inject(&pod, &Context::of_namespace("default")).unwrap_err().to_string();
    assert!(error.contains("excludeInboundPorts") && error.contains("interceptionMode"), "{error}");
    for text in ["[1, 2]", "concurrency: many", "drainDuration: soon"] {
        let bad = with_annotation("proxy.istio.io/config", text);
        let error = Injector::default().inject(&bad, &Context::of_namespace("default")).unwrap_err();
        assert!(matches!(error, InjectError::ProxyConfig { .. }), "{error}");
    }
}

#[test]
fn what_is_odd_about_the_proxys_configuration_is_told() {
    let pod = with_annotation("proxy.istio.io/config", "drain_duration: 7s\nconcurency: 3");
    let Outcome::Injected(injected) = outcome(&pod) else { panic!("not injected") };
    let config: Value = serde_json::from_str(env(&injected.pod, "PROXY_CONFIG").unwrap()).unwrap();
    assert_eq!(config, json!({"drainDuration": "7s"}));
    let [warning] = injected.warnings.as_slice() else { panic!("{:?}", injected.warnings) };
    assert!(warning.contains("concurency"), "{warning}");
}

#[test]
fn status_port_0_switches_the_probes_of_the_proxy_off() {
    let probed = |port: &str| {
        let pod = injected(&with_annotation("status.sidecar.istio.io/port", port));
        let proxy = find(&pod, "initContainers", "istio-proxy");
        ["readinessProbe", "startupProbe"].map(|probe| proxy.get(probe).is_some())
    };
    assert_eq!((probed("15020"), probed("0")), ([true; 2], [false; 2]));
}

#[test]
fn no_redirection_means_no_init_container() {
    let injected = injected(&with_annotation("sidecar.istio.io/interceptionMode", "NONE"));
    assert_eq!(names(&injected, "initContainers"), ["istio-proxy"]);
}

#[test]
fn what_the_user_wrote_for_the_proxy_wins() {
    let mut pod = pod();
    let own = json!({"name": "istio-proxy", "image": "auto", "resources": {"limits": {"cpu": "1"}},
        "env": [{"name": "TRUST_DOMAIN", "value": "mine"}]});
    pod["spec"]["containers"].as_array_mut().unwrap().push(own);
    let injected = injected(&pod);
    let proxy = find(&injected, "containers", "istio-proxy");
    assert_eq!(proxy["image"], "docker.io/istio/proxyv2:1.30.0");
    assert_eq!(proxy["resources"]["limits"]["cpu"], "1");
    let own = proxy["env"].as_array().unwrap().iter().filter(|var| var["name"] == "TRUST_DOMAIN");
    assert_eq!(own.map(|var| var["value"].clone()).collect::<Vec<_>>(), [json!("mine")]);
    assert_eq!(names(&injected, "initContainers"), ["istio-init"]);
}

#[test]
fn own_templates_are_yaml_laid_over_the_pod() {
    let text = "spec: {containers: [{name: helper, image: busybox}]}\nmetadata: {labels: {team: a}}";
    let mut config = InjectorConfig::default();
    config.templates.insert("extra".to_owned(), text.to_owned());
    config.templates.insert("go".to_owned(), "spec: {{ .Spec }}".to_owned());
    let injector = Injector { config, ..Injector::default() };
    let context = Context::of_namespace("default");
    let pod = with_annotation("inject.istio.io/templates", "sidecar, extra");
    let Outcome::Injected(injected) = injector.inject(&pod, &context).unwrap() else {
        panic!("not injected")
    };
    assert_eq!(names(&injected.pod, "containers"), ["reviews", "helper"]);
    assert_eq!(injected.pod["metadata"]["labels"]["team"], "a");
    for (template, word) in
        [("missing", "there are sidecar, gateway, grpc-agent, extra, go"), ("go", "not supported")]
    {
        let pod = with_annotation("inject.istio.io/templates", template);
        let error = injector.inject(&pod, &context).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn the_mesh_config_is_the_base_of_the_pods_proxy_config() {
    let mesh = MeshSettings::parse(
        "trustDomain: td\ndefaultConfig:\n  concurrency: 2\n  proxyMetadata: {A: a}\n  image: {imageType: distroless}\n",
    );
    let injector = Injector { mesh: mesh.unwrap(), ..Injector::default() };
    let pod = with_annotation("proxy.istio.io/config", "proxyMetadata: {B: b}");
    let context = Context { network: Some("net1".to_owned()), ..Context::of_namespace("default") };
    let Outcome::Injected(injected) = injector.inject(&pod, &context).unwrap() else {
        panic!("not injected")
    };
    let variables = ["A", "B", "TRUST_DOMAIN", "ISTIO_META_NETWORK"].map(|name| env(&injected.pod, name));
    assert_eq!(variables, [Some("a"), Some("b"), Some("td"), Some("net1")]);
    let image = &find(&injected.pod, "initContainers", "istio-proxy")["image"];
    assert_eq!(image, "docker.io/istio/proxyv2:1.30.0-distroless");
}

#[test]
fn other_kinds_and_lists_pass_through_kube_inject() {
    let manifest = "kind: Service\napiVersion: v1\nmetadata: {name: a}\n---\n---\nkind: List\napiVersion: v1\nitems:\n\
                    - {kind: Pod, apiVersion: v1, metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}\n";
    let output = kube_inject(&Injector::default(), "default", manifest).unwrap();
    let (service, list) = output.split_once("---\n").unwrap();
    assert!(service.contains("kind: Service") && !service.contains("istio-proxy"));
    assert!(list.contains("name: istio-proxy") && list.contains("namespaces/default/pods/p"), "{list}");
    let error = kube_inject(&Injector::default(), "default", "kind: [").unwrap_err();
    assert!(error.to_string().starts_with("document 1"), "{error}");
}
