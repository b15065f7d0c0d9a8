use serde_json::json;

use super::{find, injected, names, with_annotation};

#[test]
fn an_application_with_grpc_of_its_own_gets_an_agent_and_a_bootstrap() {
    let mut pod = with_annotation("inject.istio.io/templates", "grpc-agent");
    pod["spec"]["containers"][0]["readinessProbe"] = json!({"grpc": {"port": 9080}});
    let pod = injected(&pod);
    assert_eq!(names(&pod, "initContainers"), Vec::<String>::new());
    // The agent first: the application's container is started once the agent's hook is through.
    assert_eq!(names(&pod, "containers"), ["istio-proxy", "reviews"]);
    let agent = find(&pod, "containers", "istio-proxy");
    let variable = |container: &serde_json::Value, name: &str| {
        let env = container["env"].as_array().unwrap();
        env.iter().find(|v| v["name"] == name).map(|v| v["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(variable(agent, "ISTIO_META_GENERATOR").as_deref(), Some("grpc"));
    assert_eq!(variable(agent, "DISABLE_ENVOY").as_deref(), Some("true"));
    assert_eq!(agent["readinessProbe"]["httpGet"]["port"], 15020);
    assert_eq!(agent["lifecycle"]["postStart"]["exec"]["command"][1], "wait");
    let application = find(&pod, "containers", "reviews");
    let bootstrap = variable(application, "GRPC_XDS_BOOTSTRAP").unwrap();
    assert_eq!(bootstrap, "/etc/istio/proxy/grpc-bootstrap.json");
    // Both see the same files, at the same place.
    for (volume, path) in [("istio-xds", "/etc/istio/proxy"), ("istio-data", "/var/lib/istio/data")] {
        assert!(names(&pod, "volumes").iter().any(|name| name == volume));
        for container in [agent, application] {
            let mounts = container["volumeMounts"].as_array().unwrap();
            let mount = mounts.iter().find(|m| m["name"] == volume).unwrap();
            assert_eq!(mount["mountPath"], path);
        }
    }
    // Probes reach the application directly, and whether it speaks the mesh's TLS is for its owner to say.
    assert_eq!(application["readinessProbe"], json!({"grpc": {"port": 9080}}));
    assert_eq!(pod["metadata"]["labels"].get("security.istio.io/tlsMode"), None);
}
