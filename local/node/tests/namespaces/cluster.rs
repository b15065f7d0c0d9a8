//! A whole cluster: API server, controllers, node; and users who apply manifests to it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, Pod, Service};
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use meltemi_apiserver::{ApiServer, Options};
use meltemi_node::cluster::{Cluster, ClusterOptions};
use meltemi_node::images::{Image, Images};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::World;

struct HostPrograms;

impl Images for HostPrograms {
    fn resolve(&self, image: &str) -> Option<Image> {
        Some(Image { entrypoint: vec![image.strip_prefix("host/")?.to_owned()], ..Image::default() })
    }

    fn cure(&self, _: &str) -> String {
        "use host/NAME".into()
    }
}

struct User {
    client: Client,
}

impl User {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn create<K>(&self, object: Value)
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let object = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap();
    }

    /// Waits until the object looks as it should; the case's own time limit is the only one.
    async fn until<K>(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        loop {
            if let Ok(object) = self.api::<K>().get(name).await {
                let value = serde_json::to_value(&object).unwrap();
                if fits(&value) {
                    return value;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn log(&self, pod: &str, container: &str) -> String {
        let parameters = LogParams { container: Some(container.into()), ..LogParams::default() };
        self.api::<Pod>().logs(pod, &parameters).await.unwrap()
    }
}

fn pod(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "host/sh", "args": ["-c", script]})
}

pub(crate) async fn a_cluster_does_what_users_expect(world: World) {
    let mut options = Options::new(world.data_dir.join("api"));
    options.advertise = Some((meltemi_node::net::API_IP.into(), 443));
    let apiserver = ApiServer::open(options).await.unwrap();
    let client = Client::new(apiserver.local_service(), "default");
    let cluster = Cluster::start(ClusterOptions {
        client: client.clone(),
        images: Arc::new(HostPrograms),
        host: world.host.clone(),
        data_dir: world.data_dir.clone(),
    })
    .await
    .unwrap();
    apiserver.set_kubelet(cluster.kubelet());
    let user = User { client };
    unknown_images_name_the_cure(&user).await;
    containers_start_and_stop_in_order(&user).await;
    volumes_follow_their_sources(&user).await;
    failing_containers_are_held_back(&user).await;
    last_words_are_in_the_status(&user).await;
    jobs_run_to_their_end(&user).await;
    cron_jobs_start_jobs_when_due(&user).await;
    sets_remember_their_templates(&user).await;
    a_partition_holds_pods_back(&user).await;
    a_cordoned_node_takes_no_pods(&user).await;
    deployments_serve_and_roll_over(&user, &world, &cluster).await;
    cluster.shutdown(Duration::from_secs(5)).await;
}

async fn unknown_images_name_the_cure(user: &User) {
    user.create::<Pod>(pod("bad", json!({"containers": [{"name": "c", "image": "no/such"}]}))).await;
    let waiting = "/status/containerStatuses/0/state/waiting";
    let found =
        user.until::<Pod>("bad", |p| p.pointer(waiting).is_some_and(|w| w["message"].is_string())).await;
    let waiting = found.pointer(waiting).unwrap();
    assert_eq!(waiting["reason"], "ErrImagePull");
    assert!(waiting["message"].as_str().unwrap().contains("use host/NAME"), "{waiting}");
}

async fn containers_start_and_stop_in_order(user: &User) {
    let with = |container: Value, more: Value| {
        let mut container = container;
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        for (key, value) in more.as_object().unwrap() {
            container[key] = value.clone();
        }
        container
    };
    let side =
        "trap 'echo side-end; exit 0' TERM; echo side >> /v/log; touch /v/up; while :; do sleep 0.02; done";
    let app =
        "trap 'echo app-end; exit 0' TERM; echo app >> /v/log; cat /v/log; while :; do sleep 0.02; done";
    user.create::<Pod>(pod(
        "order",
        json!({
            "volumes": [{"name": "v", "emptyDir": {}}],
            "initContainers": [
                with(shell("one", "echo one >> /v/log"), json!({})),
                with(shell("side", side), json!({"restartPolicy": "Always",
                    "startupProbe": {"exec": {"command": ["test", "-e", "/v/up"]}, "periodSeconds": 1}})),
                with(shell("two", "echo two >> /v/log"), json!({})),
            ],
            "containers": [with(shell("app", app), json!({}))],
        }),
    ))
    .await;
    let ready = |p: &Value| p["status"]["containerStatuses"][0]["ready"] == true;
    let found = user.until::<Pod>("order", ready).await;
    assert_eq!(found["status"]["initContainerStatuses"][1]["started"], true);
    while user.log("order", "app").await != "one\nside\ntwo\napp\n" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    user.api::<Pod>().delete("order", &DeleteParams::default()).await.unwrap();
    while user.api::<Pod>().get_opt("order").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn volumes_follow_their_sources(user: &User) {
    user.create::<ConfigMap>(json!({"metadata": {"name": "cm"}, "data": {"key": "before"}})).await;
    let mut container = shell("c", "echo $KEY; while :; do cat /m/key; echo; sleep 0.05; done");
    container["volumeMounts"] = json!([{"name": "m", "mountPath": "/m"}]);
    container["env"] =
        json!([{"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "key"}}}]);
    let spec = json!({"containers": [container], "volumes": [{"name": "m", "configMap": {"name": "cm"}}]});
    user.create::<Pod>(pod("volumes", spec)).await;
    user.until::<Pod>("volumes", |p| p["status"]["phase"] == "Running").await;
    let patch = Patch::Merge(json!({"data": {"key": "after"}}));
    user.api::<ConfigMap>().patch("cm", &PatchParams::default(), &patch).await.unwrap();
    while !user.log("volumes", "c").await.ends_with("after\n") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(user.log("volumes", "c").await.starts_with("before\n"));
    user.api::<Pod>().delete("volumes", &DeleteParams::default().grace_period(0)).await.unwrap();
}

async fn failing_containers_are_held_back(user: &User) {
    user.create::<Pod>(pod("crash", json!({"containers": [shell("c", "exit 7")]}))).await;
    let held = |p: &Value| {
        let status = &p["status"]["containerStatuses"][0];
        status["state"]["waiting"]["reason"] == "CrashLoopBackOff" && status["restartCount"] == 3
    };
    let found = user.until::<Pod>("crash", held).await;
    assert_eq!(found["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 7);
    user.api::<Pod>().delete("crash", &DeleteParams::default()).await.unwrap();
}

async fn last_words_are_in_the_status(user: &User) {
    let mut log = shell("log", "echo from the log; exit 2");
    log["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    let mut file = shell("file", "echo ignored; printf farewell > /tmp/words");
    file["terminationMessagePath"] = json!("/tmp/words");
    user.create::<Pod>(pod("words", json!({"restartPolicy": "Never", "containers": [file, log]}))).await;
    let found = user.until::<Pod>("words", |p| p["status"]["phase"] == "Failed").await;
    let ended = |index: usize| found["status"]["containerStatuses"][index]["state"]["terminated"].clone();
    assert_eq!((&ended(0)["message"], &ended(0)["reason"]), (&json!("farewell"), &json!("Completed")));
    assert_eq!((&ended(1)["message"], &ended(1)["exitCode"]), (&json!("from the log\n"), &json!(2)));
}

async fn jobs_run_to_their_end(user: &User) {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [shell("c", "echo done")]}});
    user.create::<Job>(
        json!({"metadata": {"name": "job"}, "spec": {"completions": 2, "template": template}}),
    )
    .await;
    user.until::<Job>("job", |j| j["status"]["succeeded"] == 2 && j["status"]["completionTime"].is_string())
        .await;
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [shell("c", "sleep 1000")]}});
    user.create::<Job>(
        json!({"metadata": {"name": "endless"}, "spec": {"activeDeadlineSeconds": 1, "template": template}}),
    )
    .await;
    user.until::<Job>("endless", |j| j["status"]["conditions"][0]["reason"] == "DeadlineExceeded").await;
}

async fn cron_jobs_start_jobs_when_due(user: &User) {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [shell("c", "echo tick")]}});
    user.create::<CronJob>(json!({"metadata": {"name": "cron"}, "spec": {"schedule": "* * * * *",
        "jobTemplate": {"metadata": {"labels": {"made-by": "cron"}}, "spec": {"template": template}}}}))
        .await;
    // Nothing is due before the next full minute; the last one that was served is said to be long ago.
    let status = json!({"status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}});
    let crons = user.api::<CronJob>();
    crons.patch_status("cron", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let found = user.until::<CronJob>("cron", |c| c["status"]["lastSuccessfulTime"].is_string()).await;
    let time: k8s_openapi::jiff::Timestamp =
        found["status"]["lastScheduleTime"].as_str().unwrap().parse().unwrap();
    let job = user.api::<Job>().get(&format!("cron-{}", time.as_second() / 60)).await.unwrap();
    assert_eq!(job.metadata.labels.unwrap()["made-by"], "cron");
    assert_eq!(job.metadata.owner_references.unwrap()[0].kind, "CronJob");
    crons.delete("cron", &DeleteParams::default()).await.unwrap();
}

async fn sets_remember_their_templates(user: &User) {
    let labels = json!({"app": "set"});
    let set = |answer: &str| {
        json!({"metadata": {"name": "set", "annotations": {"kubernetes.io/change-cause": answer}}, "spec": {
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                "terminationGracePeriodSeconds": 1, "containers": [shell("c", &format!("echo {answer}; sleep 1000"))]}}}})
    };
    user.create::<DaemonSet>(set("one")).await;
    let ready = |d: &Value, generation: i64| {
        d["status"]["observedGeneration"] == generation
            && d["status"]["updatedNumberScheduled"] == 1
            && d["status"]["numberReady"] == 1
    };
    user.until::<DaemonSet>("set", |d| ready(d, 1)).await;
    let api = user.api::<DaemonSet>();
    api.patch("set", &PatchParams::default(), &Patch::Strategic(set("two"))).await.unwrap();
    user.until::<DaemonSet>("set", |d| ready(d, 2)).await;
    let mut found =
        user.api::<ControllerRevision>().list(&ListParams::default().labels("app=set")).await.unwrap().items;
    found.sort_by_key(|revision| revision.revision);
    let causes: Vec<_> = found
        .iter()
        .map(|r| {
            (r.revision, r.metadata.annotations.as_ref().unwrap()["kubernetes.io/change-cause"].as_str())
        })
        .collect();
    assert_eq!(causes, [(1, "one"), (2, "two")]);
    // As `kubectl rollout undo` does it.
    let back = Patch::Strategic(found[0].data.as_ref().unwrap().0.clone());
    let after = api.patch("set", &PatchParams::default(), &back).await.unwrap();
    assert_eq!(
        after.spec.unwrap().template.spec.unwrap().containers[0].args.as_ref().unwrap()[1],
        "echo one; sleep 1000"
    );
    user.until::<DaemonSet>("set", |d| ready(d, 3)).await;
    let first = found[0].metadata.name.as_deref().unwrap();
    user.until::<ControllerRevision>(first, |r| r["revision"] == 3).await;
    api.delete("set", &DeleteParams::default()).await.unwrap();
}

async fn a_partition_holds_pods_back(user: &User) {
    let labels = json!({"app": "parts"});
    let set = |answer: &str, partition: i32| {
        json!({"metadata": {"name": "parts"}, "spec": {"replicas": 2, "serviceName": "parts",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels, "annotations": {"say": answer}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [shell("c", "sleep 1000")]}}}})
    };
    user.create::<StatefulSet>(set("one", 0)).await;
    let whole = |s: &Value| {
        s["status"]["readyReplicas"] == 2 && s["status"]["currentRevision"] == s["status"]["updateRevision"]
    };
    user.until::<StatefulSet>("parts", whole).await;
    let api = user.api::<StatefulSet>();
    api.patch("parts", &PatchParams::default(), &Patch::Strategic(set("two", 1))).await.unwrap();
    let says = |answer: &'static str| {
        move |p: &Value| {
            p["metadata"]["annotations"]["say"] == answer
                && p["status"]["phase"] == "Running"
                && p["metadata"]["deletionTimestamp"].is_null()
        }
    };
    user.until::<Pod>("parts-1", says("two")).await;
    // One that is below the partition comes back as it was.
    let before = user.api::<Pod>().get("parts-0").await.unwrap().metadata.uid;
    user.api::<Pod>().delete("parts-0", &DeleteParams::default()).await.unwrap();
    let other =
        |p: &Value| p["metadata"]["uid"].as_str() != before.as_deref() && p["status"]["phase"] == "Running";
    let again = user.until::<Pod>("parts-0", other).await;
    assert_eq!(again["metadata"]["annotations"]["say"], "one");
    api.patch("parts", &PatchParams::default(), &Patch::Strategic(set("two", 0))).await.unwrap();
    user.until::<Pod>("parts-0", says("two")).await;
    user.until::<StatefulSet>("parts", whole).await;
    api.delete("parts", &DeleteParams::default()).await.unwrap();
}

async fn a_cordoned_node_takes_no_pods(user: &User) {
    let nodes: Api<Node> = Api::all(user.client.clone());
    let name = nodes.list(&ListParams::default()).await.unwrap().items[0].metadata.name.clone().unwrap();
    let cordon = |on: bool| Patch::Merge(json!({"spec": {"unschedulable": on}}));
    nodes.patch(&name, &PatchParams::default(), &cordon(true)).await.unwrap();
    user.create::<Pod>(pod("late", json!({"restartPolicy": "Never", "containers": [shell("c", "true")]})))
        .await;
    let events: Api<Event> = user.api();
    let refused = ListParams::default().fields("involvedObject.name=late,reason=FailedScheduling");
    while events.list(&refused).await.unwrap().items.is_empty() {
        // A pod may slip through before the scheduler has heard of the cordon; then another is tried.
        if user.api::<Pod>().get("late").await.unwrap().spec.unwrap().node_name.is_some() {
            user.api::<Pod>().delete("late", &DeleteParams::default().grace_period(0)).await.unwrap();
            while user.api::<Pod>().get_opt("late").await.unwrap().is_some() {}
            user.create::<Pod>(pod(
                "late",
                json!({"restartPolicy": "Never", "containers": [shell("c", "true")]}),
            ))
            .await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let says = |p: &Value| {
        let conditions = p["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == "PodScheduled" && c["reason"] == "Unschedulable")
    };
    user.until::<Pod>("late", says).await;
    nodes.patch(&name, &PatchParams::default(), &cordon(false)).await.unwrap();
    user.until::<Pod>("late", |p| p["status"]["phase"] == "Succeeded").await;
}

const SERVER: &str = r#"
use Socket; $| = 1; $SIG{TERM} = sub { exit 0 };
socket(S, PF_INET, SOCK_STREAM, 6); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
bind(S, sockaddr_in(8080, INADDR_ANY)) or die; listen(S, 99);
while (1) { accept(C, S) or next; sysread(C, my $b, 4096); my $t = "$ENV{VERSION}\n";
  print C "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: " . length($t) . "\r\n\r\n$t"; close C; }
"#;

async fn deployments_serve_and_roll_over(user: &User, world: &World, cluster: &Cluster) {
    let labels = json!({"app": "web"});
    user.create::<Deployment>(json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{
            "name": "c", "image": "host/perl", "args": ["-e", SERVER],
            "env": [{"name": "VERSION", "value": "v1"}],
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}}
        }]}}
    }}))
    .await;
    let ports = json!([{"name": "http", "port": 18099, "targetPort": "http"}]);
    let service = json!({"type": "LoadBalancer", "selector": labels, "ports": ports});
    user.create::<Service>(json!({"metadata": {"name": "web"}, "spec": service})).await;
    user.until::<Deployment>("web", |d| d["status"]["readyReplicas"] == 2).await;
    let outside = cluster.forward_of("default", "web", "http").await.unwrap();
    let found =
        user.until::<Service>("web", |s| s["status"]["loadBalancer"]["ingress"][0]["ip"].is_string()).await;
    assert_eq!(found["status"]["loadBalancer"]["ingress"][0]["ip"], "127.0.0.1");
    let resolved =
        shell("c", "getent hosts web; getent hosts web.default.svc.cluster.local; getent hosts nosuch");
    user.create::<Pod>(pod("dns", json!({"restartPolicy": "Never", "containers": [resolved]}))).await;
    user.until::<Pod>("dns", |p| p["status"]["phase"] == "Failed").await;
    let lines = user.log("dns", "c").await;
    let address = found["spec"]["clusterIP"].as_str().unwrap();
    assert!(lines.lines().count() == 2 && lines.lines().all(|l| l.starts_with(address)), "{lines}");
    while !get(world, outside).await.ends_with("v1\n") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let env = json!([{"name": "c", "env": [{"name": "VERSION", "value": "v2"}]}]);
    let patch = Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": env}}}}));
    user.api::<Deployment>().patch("web", &PatchParams::default(), &patch).await.unwrap();
    // No request is lost while it rolls, and in the end only the new version answers.
    let rolled = user.until::<Deployment>("web", |d| {
        let status = &d["status"];
        status["observedGeneration"] == 2 && status["updatedReplicas"] == 2 && status["replicas"] == 2
    });
    tokio::pin!(rolled);
    loop {
        tokio::select! {
            _ = &mut rolled => break,
            reply = get(world, outside) => assert!(reply.starts_with("HTTP/1.1 200"), "{reply:?}"),
        }
    }
    // The last old pod may still be in the rules for a moment: it goes out of them before it is told to end.
    loop {
        let reply = get(world, outside).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply:?}");
        if reply.ends_with("v2\n") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let events = user.api::<Event>().list(&ListParams::default()).await.unwrap();
    for (reason, text) in
        [("SuccessfulCreate", "Created pod: web-"), ("SuccessfulDelete", "Deleted pod: web-")]
    {
        let told = |event: &Event| {
            event.reason.as_deref() == Some(reason)
                && event.involved_object.kind.as_deref() == Some("ReplicaSet")
                && event.message.as_deref().is_some_and(|message| message.starts_with(text))
        };
        assert!(events.items.iter().any(told), "no event {reason}");
    }
}

async fn get(world: &World, address: std::net::SocketAddr) -> String {
    let mut stream = world.host.connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    match stream.read_to_string(&mut reply).await {
        Ok(_) => reply,
        Err(error) => error.to_string(),
    }
}
