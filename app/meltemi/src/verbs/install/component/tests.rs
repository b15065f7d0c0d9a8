use super::super::operator::Request;
use super::*;

fn rendered(sets: &[&str]) -> Vec<Rendered> {
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    let operator = Operator::load(&Request { sets, ..Request::default() }).expect("an operator");
    render(&operator).expect("renders")
}

fn names(rendered: &Rendered) -> Vec<String> {
    let name = |object: &Value| {
        format!(
            "{}/{}",
            object["kind"].as_str().expect("a kind"),
            object["metadata"]["name"].as_str().expect("a name")
        )
    };
    rendered.objects.iter().map(name).collect()
}

fn find<'a>(rendered: &'a [Rendered], kind: &str, name: &str) -> &'a Value {
    let mut all = rendered.iter().flat_map(|component| &component.objects);
    all.find(|object| object["kind"] == kind && object["metadata"]["name"] == name).expect(name)
}

#[test]
fn the_demo_profile_has_what_istioctl_installs() {
    let demo = rendered(&["profile=demo"]);
    let components: Vec<&str> = demo.iter().map(|component| component.component.label()).collect();
    assert_eq!(components, ["Base", "Pilot", "EgressGateways", "IngressGateways"]);
    assert_eq!(
        names(&demo[0]).iter().filter(|name| name.starts_with("CustomResourceDefinition/")).count(),
        15
    );
    assert_eq!(
        names(&demo[1]),
        [
            "ServiceAccount/istiod",
            "ClusterRole/istiod-clusterrole-istio-system",
            "ClusterRoleBinding/istiod-clusterrole-istio-system",
            "ClusterRole/istio-reader-clusterrole-istio-system",
            "ClusterRoleBinding/istio-reader-clusterrole-istio-system",
            "Role/istiod",
            "RoleBinding/istiod",
            "ConfigMap/istio",
            "ConfigMap/istio-sidecar-injector",
            "MutatingWebhookConfiguration/istio-sidecar-injector",
            "ValidatingWebhookConfiguration/istio-validator-istio-system",
            "Service/istiod",
            "Deployment/istiod",
            "PodDisruptionBudget/istiod",
        ]
    );
    assert_eq!(
        names(&demo[3]),
        [
            "ServiceAccount/istio-ingressgateway-service-account",
            "Role/istio-ingressgateway-sds",
            "RoleBinding/istio-ingressgateway-sds",
            "Service/istio-ingressgateway",
            "Deployment/istio-ingressgateway",
            "PodDisruptionBudget/istio-ingressgateway",
        ]
    );
    let ports: Vec<String> = find(&demo, "Service", "istio-ingressgateway")["spec"]["ports"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|port| format!("{}:{}", port["port"], port["targetPort"]))
        .collect();
    assert_eq!(ports, ["15021:15021", "8080:8080", "80:8080", "443:8443", "31400:31400", "15443:15443"]);
    assert_eq!(find(&demo, "Service", "istio-egressgateway")["spec"]["type"], "ClusterIP");
    // Two ports of the service lead to 8080; server-side apply refuses a container that lists it twice.
    let container =
        &find(&demo, "Deployment", "istio-ingressgateway")["spec"]["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_array().expect("a list").iter();
    let ports: Vec<String> = ports.map(|port| port["containerPort"].to_string()).collect();
    assert_eq!(ports, ["15021", "8080", "8443", "31400", "15443", "15090"]);
}

#[test]
fn istiod_is_told_what_it_needs() {
    let demo = rendered(&["profile=demo", "hub=example.org/mesh", "tag=7", "values.pilot.env.PILOT_X=on"]);
    let container = &find(&demo, "Deployment", "istiod")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["name"], "discovery");
    assert_eq!(container["image"], "example.org/mesh/pilot:7");
    let args: Vec<&str> =
        container["args"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(&args[..2], ["discovery", "--monitoringAddr=:15014"]);
    let env = container["env"].as_array().expect("a list");
    let value =
        |name: &str| env.iter().find(|entry| entry["name"] == name).map(|entry| entry["value"].clone());
    assert_eq!(value("REVISION"), Some(json!("default")));
    assert_eq!(value("PILOT_TRACE_SAMPLING"), Some(json!("100")));
    assert_eq!(value("PILOT_X"), Some(json!("on")));
    assert_eq!(container["resources"]["requests"]["cpu"], "10m");
}

#[test]
fn the_config_maps_are_read_by_those_they_are_for() {
    let demo = rendered(&["profile=demo", "meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY"]);
    let mesh = find(&demo, "ConfigMap", "istio")["data"]["mesh"].as_str().expect("a text").to_owned();
    let loaded = meltemi_config::mesh_config::MeshConfig::load(&mesh).expect("a mesh configuration");
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.access_log_file, "/dev/stdout");
    assert_eq!(loaded.config.default_config.discovery_address, "istiod.istio-system.svc:15012");
    let networks = find(&demo, "ConfigMap", "istio")["data"]["meshNetworks"].as_str().expect("a text");
    assert!(meltemi_config::mesh_config::MeshNetworks::load(networks).is_ok());

    let injector = &find(&demo, "ConfigMap", "istio-sidecar-injector")["data"];
    let values = meltemi_inject::Values::parse(injector["values"].as_str().expect("a text")).expect("values");
    assert_eq!(values.global.proxy.resources["requests"]["cpu"], "10m");
    let config =
        meltemi_inject::InjectorConfig::parse(injector["config"].as_str().expect("a text")).expect("config");
    assert_eq!(config.default_templates, ["sidecar"]);
}

#[test]
fn a_revision_stands_beside_the_default_one() {
    let canary = rendered(&["profile=minimal", "revision=canary"]);
    for (kind, name) in [
        ("Deployment", "istiod-canary"),
        ("Service", "istiod-canary"),
        ("ConfigMap", "istio-canary"),
        ("ConfigMap", "istio-sidecar-injector-canary"),
        ("MutatingWebhookConfiguration", "istio-sidecar-injector-canary"),
        ("ValidatingWebhookConfiguration", "istio-validator-canary-istio-system"),
    ] {
        assert_eq!(find(&canary, kind, name)["metadata"]["labels"]["istio.io/rev"], "canary");
    }
    let webhooks = find(&canary, "MutatingWebhookConfiguration", "istio-sidecar-injector-canary");
    assert_eq!(webhooks["webhooks"].as_array().map(Vec::len), Some(2), "only who names the revision gets it");
}

#[test]
fn everything_but_the_namespace_can_be_found_again() {
    for component in rendered(&["profile=default"]) {
        for object in &component.objects {
            let labels = &object["metadata"]["labels"];
            let expected =
                if object["kind"] == "Namespace" { Value::Null } else { json!(component.component.label()) };
            assert_eq!(labels["operator.istio.io/component"], expected);
        }
    }
}

#[test]
fn gateways_are_chosen_and_set_one_by_one() {
    let rendered = rendered(&[
        "profile=empty",
        "components.ingressGateways[0].enabled=true",
        "components.ingressGateways[0].name=mine",
        "components.ingressGateways[0].k8s.service.type=NodePort",
        "values.gateways.istio-ingressgateway.autoscaleEnabled=false",
    ]);
    assert_eq!(rendered.len(), 1);
    let service = find(&rendered, "Service", "mine");
    assert_eq!(service["spec"]["type"], "NodePort");
    assert_eq!(
        service["spec"]["selector"],
        json!({"app": "istio-ingressgateway", "istio": "ingressgateway"})
    );
    let pod = &find(&rendered, "Deployment", "mine")["spec"]["template"];
    assert_eq!(pod["metadata"]["annotations"]["inject.istio.io/templates"], "gateway");
    assert_eq!(pod["metadata"]["labels"]["sidecar.istio.io/inject"], "true");
}

/// Values that make every optional branch of every chart appear.
#[test]
fn every_branch_renders() {
    let rendered = rendered(&[
        "profile=default",
        "values.global.imagePullSecrets={a,b}",
        "values.global.imagePullPolicy=Always",
        "values.global.priorityClassName=high",
        "values.global.meshID=m",
        "values.global.network=n",
        "values.global.logAsJson=true",
        "values.global.variant=distroless",
        "values.sidecarInjectorWebhook.enableNamespacesByDefault=true",
        "values.sidecarInjectorWebhook.injectedAnnotations.a=b",
        "values.sidecarInjectorWebhook.neverInjectSelector[0].matchLabels.a=b",
        "values.pilot.podAnnotations.a=b",
        "values.pilot.nodeSelector.a=b",
        "values.gateways.istio-ingressgateway.env.A=1",
        "values.gateways.istio-ingressgateway.loadBalancerIP=1.2.3.4",
        "values.gateways.istio-ingressgateway.serviceAnnotations.a=b",
    ]);
    assert_eq!(find(&rendered, "HorizontalPodAutoscaler", "istiod")["spec"]["maxReplicas"], 5);
    let mesh = find(&rendered, "ConfigMap", "istio")["data"]["mesh"].as_str().expect("a text");
    assert_eq!(
        meltemi_config::mesh_config::MeshConfig::load(mesh).expect("valid").config.default_config.mesh_id,
        "m"
    );
    let injector = &find(&rendered, "ConfigMap", "istio-sidecar-injector")["data"];
    assert!(meltemi_inject::InjectorConfig::parse(injector["config"].as_str().expect("a text")).is_ok());
    assert!(meltemi_inject::Values::parse(injector["values"].as_str().expect("a text")).is_ok());
}

#[test]
fn a_gateway_has_its_own_namespace_image_and_settings() {
    let file = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  profile: empty\n  hub: h\n  components:\n    ingressGateways:\n    - {name: edge, namespace: edge, enabled: true, tag: 7, label: {istio: edge}, k8s: {podAnnotations: {a: b}}}\n";
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("op.yaml");
    std::fs::write(&path, file).expect("written");
    let operator = Operator::load(&Request { files: vec![path], ..Request::default() }).expect("an operator");
    let rendered = render(&operator).expect("renders");
    let deployment = find(&rendered, "Deployment", "edge");
    assert_eq!(deployment["metadata"]["namespace"], "edge");
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["sidecar.istio.io/proxyImage"], "h/proxyv2:7");
    assert_eq!(annotations["a"], "b");
}
