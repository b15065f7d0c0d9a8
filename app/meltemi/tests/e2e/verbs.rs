//! The verbs of kubectl, by an old and a current release: the two speak to the server in different ways (OpenAPI v2 or v3,
//! SPDY or WebSocket, discovery group by group or at once).

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::cluster::{Cluster, eventually, is_kubernetes, shared, succeeded};

/// A release of kubectl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian 12's, 1.20: `MELTEMI_KUBECTL`.
    Old,
    /// 1.32: `MELTEMI_KUBECTL_CURRENT`.
    Current,
}

impl Release {
    pub const ALL: [Self; 2] = [Self::Old, Self::Current];

    /// The program; `make test` brings both.
    pub fn program(self) -> String {
        let variable = match self {
            Self::Old => "MELTEMI_KUBECTL",
            Self::Current => "MELTEMI_KUBECTL_CURRENT",
        };
        std::env::var(variable).unwrap_or_else(|_| "kubectl".into())
    }
}

/// A user at a prompt, in a namespace of the shared cluster that goes with them.
struct User {
    release: Release,
    cluster: &'static Cluster,
    namespace: String,
    home: tempfile::TempDir,
}

impl User {
    fn new(release: Release, topic: &str) -> Self {
        let namespace = format!("e2e-{topic}-{}", format!("{release:?}").to_lowercase());
        let home = tempfile::tempdir().expect("a directory");
        let user = Self { release, cluster: shared(), namespace, home };
        user.ok(&format!("create ns {}", user.namespace));
        user
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(self.release.program());
        command.env("KUBECONFIG", self.cluster.kubeconfig()).env("HOME", self.home.path());
        command.current_dir(self.home.path()).args(["-n", &self.namespace]).args(line.split_whitespace());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("kubectl is installed (`make test` brings it)")
    }

    /// The command must succeed; what it printed.
    fn ok(&self, line: &str) -> String {
        succeeded(&format!("kubectl {line} ({:?})", self.release), self.run(line))
    }

    /// The command must fail with this exit code; what it printed, its errors last.
    fn fails(&self, code: i32, line: &str) -> String {
        let output = self.run(line);
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "kubectl {line} ({:?}): {text}", self.release);
        text.into_owned()
    }

    /// A file of YAML in the user's directory. (kubectl takes what begins with a brace for JSON.)
    fn file(&self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a directory");
        std::fs::write(path, format!("---\n{text}")).expect("a file");
    }

    fn get(&self, what: &str) -> String {
        self.ok(&format!("get {what}"))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.run(&format!("delete ns {} --wait=false", self.namespace));
    }
}

fn both(topic: &str, story: impl Fn(&User)) {
    for release in Release::ALL {
        story(&User::new(release, topic));
    }
}

fn deployment(replicas: u32) -> String {
    format!(
        r#"{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{replicas: {replicas},
          selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, spec: {{
          terminationGracePeriodSeconds: 1,
          containers: [{{name: web, image: docker.io/kennethreitz/httpbin, ports: [{{containerPort: 80}}]}}]}}}}}}}}"#
    )
}

fn config_map(name: &str, value: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, labels: {{set: pruned}}}}, data: {{k: '{value}'}}}}"
    )
}

#[test]
fn deployments_are_compared_edited_scaled_and_rolled_back() {
    both("deploy", |user| {
        user.file("one.yaml", &deployment(1));
        user.file("two.yaml", &deployment(2));
        user.ok("apply -f one.yaml");
        assert_eq!(user.ok("diff -f one.yaml"), "");
        let difference = user.fails(1, "diff -f two.yaml");
        assert!(
            difference.contains("-  replicas: 1") && difference.contains("+  replicas: 2"),
            "{difference}"
        );
        let edited = user
            .command("edit deploy/web")
            .env("KUBE_EDITOR", "sed -i 's/replicas: 1/replicas: 3/'")
            .output();
        assert!(succeeded("kubectl edit", edited.expect("kubectl")).contains("deployment.apps/web edited"));
        assert_eq!(user.get("deploy web -o jsonpath={.spec.replicas}"), "3");
        let refused = user.fails(1, "scale deploy/web --current-replicas=2 --replicas=4");
        assert!(refused.contains("Expected replicas to be 2, was 3"), "{refused}");
        user.ok("scale deploy/web --current-replicas=3 --replicas=2");
        user.ok("replace -f two.yaml");
        user.ok("replace --force -f one.yaml");
        user.ok("rollout status deploy/web --timeout=60s");
        user.ok("wait --for=condition=Available deploy/web --timeout=60s");
        user.ok("annotate deploy/web kubernetes.io/change-cause=first");
        user.ok("set env deploy/web COLOUR=blue");
        user.ok("annotate --overwrite deploy/web kubernetes.io/change-cause=second");
        eventually("both causes are in the history", || {
            let history = user.ok("rollout history deploy/web");
            let causes: Vec<&str> =
                history.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
            if causes.ends_with(&["first", "second"]) { Ok(()) } else { Err(history) }
        });
        assert!(user.ok("rollout history deploy/web --revision=2").contains("COLOUR:\tblue"));
        user.ok("rollout undo deploy/web");
        assert_eq!(user.get("deploy web -o jsonpath={.spec.template.spec.containers[0].env}"), "");
        user.ok("rollout pause deploy/web");
        user.ok("rollout resume deploy/web");
        user.ok("delete deploy web --cascade=orphan");
        assert!(user.get("rs -l app=web -o name").contains("replicaset.apps/web-"));
        user.ok("delete rs -l app=web --cascade=foreground");
        assert_eq!(user.get("pods -l app=web -o name"), "", "in the foreground, the owner goes last");
    });
}

#[test]
fn sets_are_rolled_back_and_cron_jobs_run_by_hand() {
    both("sets", |user| {
        let template = deployment(2)
            .replace("Deployment", "StatefulSet")
            .replace("replicas: 2,", "replicas: 2, serviceName: web,");
        user.file("set.yaml", &template);
        user.ok("apply -f set.yaml");
        user.ok("rollout status sts/web --timeout=60s");
        user.ok("set env sts/web COLOUR=blue");
        user.ok("rollout status sts/web --timeout=60s");
        let history = user.ok("rollout history sts/web");
        assert_eq!(history.lines().filter(|line| line.starts_with(['1', '2'])).count(), 2, "{history}");
        user.ok("rollout undo sts/web");
        assert_eq!(user.get("sts web -o jsonpath={.spec.template.spec.containers[0].env}"), "");
        // The old one knows CronJobs of v1beta1 only, which Kubernetes itself has dropped.
        if user.release == Release::Old && is_kubernetes() {
            return;
        }
        let every = user
            .command("create cronjob tick --image=curlimages/curl")
            .args(["--schedule", "0 0 1 1 *", "--", "echo", "tick"])
            .output();
        succeeded("kubectl create cronjob", every.expect("kubectl"));
        let kind = if user.release == Release::Old { "cronjob.v1beta1.batch" } else { "cronjob" };
        user.ok(&format!("create job by-hand --from={kind}/tick"));
        user.ok("wait --for=condition=complete job/by-hand --timeout=60s");
        assert_eq!(user.ok("logs job/by-hand"), "tick\n");
        let bad = user
            .command("create cronjob bad --image=curlimages/curl")
            .args(["--schedule", "every day"])
            .output();
        assert!(
            String::from_utf8_lossy(&bad.expect("kubectl").stderr)
                .contains("expected exactly 5 fields, found 2")
        );
        user.ok("create pdb web --selector=app=web --min-available=1");
    });
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    both("refused", |user| {
        user.file("one.yaml", &deployment(1));
        user.ok("apply -f one.yaml");
        user.ok("rollout status deploy/web --timeout=60s");
        let pod = user.get("pods -l app=web -o jsonpath={.items[0].metadata.name}");
        for (line, sentence) in [
            (
                "autoscale deploy/web --min=1 --max=3",
                "does not serve HorizontalPodAutoscaler (autoscaling/v1)",
            ),
            ("top pods", "Metrics API not available"),
            (
                &format!("debug {pod} --image=curlimages/curl"),
                "does not offer the ephemeralcontainers sub-resource",
            ),
            (
                "get --raw /apis/certificates.k8s.io/v1/certificatesigningrequests",
                "does not serve CertificateSigningRequest",
            ),
            ("get pods --field-selector colour=blue", "field label not supported: colour"),
            (&format!("logs {pod} --previous"), "previous terminated container \"web\" in pod"),
            ("auth can-i get pods --as=system:serviceaccount:default:default", "no"),
        ] {
            let text = user.fails(1, line);
            assert!(text.contains(sentence), "kubectl {line} ({:?}): {text}", user.release);
        }
        let scaler = "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, spec: {maxReplicas: 3, \
            scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}";
        user.file("scaler.yaml", scaler);
        let stored = user.run("apply -f scaler.yaml");
        let warning = String::from_utf8_lossy(&stored.stderr).into_owned();
        assert!(
            stored.status.success() && warning.contains("has no effect in the local cluster"),
            "{warning}"
        );
        assert_eq!(user.ok("auth can-i create deployments.apps").trim(), "yes");
        assert!(user.ok("auth can-i --list").contains("selfsubjectaccessreviews.authorization.k8s.io"));
    });
}

#[test]
fn files_go_in_and_out_and_manifests_are_applied_in_every_way() {
    both("files", |user| {
        user.file("one.yaml", &deployment(1));
        user.ok("apply -f one.yaml");
        user.ok("rollout status deploy/web --timeout=60s");
        let pod = user.get("pods -l app=web -o jsonpath={.items[0].metadata.name}");
        user.file("letter", "to whom it may concern\n");
        user.ok(&format!("cp letter {pod}:/tmp/letter"));
        user.ok(&format!("cp {pod}:/tmp/letter answer"));
        assert_eq!(
            std::fs::read_to_string(user.home.path().join("answer")).expect("a copy"),
            "---\nto whom it may concern\n"
        );

        user.file("kustom/kustomization.yaml", "{namePrefix: k-, resources: [map.yaml]}");
        user.file("kustom/map.yaml", &config_map("map", "1"));
        assert!(user.ok("apply -k kustom").contains("configmap/k-map created"));

        user.file("shared.yaml", &config_map("shared", "1"));
        user.ok("apply --server-side --field-manager=one -f shared.yaml");
        user.file("shared.yaml", &config_map("shared", "2"));
        let conflict = user.fails(1, "apply --server-side --field-manager=two -f shared.yaml");
        assert!(conflict.contains("conflict with \"one\": .data.k"), "{conflict}");
        user.ok("apply --server-side --field-manager=two --force-conflicts -f shared.yaml");

        user.file("set/a.yaml", &config_map("kept", "1"));
        user.file("set/b.yaml", &config_map("dropped", "1"));
        user.ok("apply -f set");
        std::fs::remove_file(user.home.path().join("set/b.yaml")).expect("the file");
        let kinds = if user.release == Release::Old { "--prune-whitelist" } else { "--prune-allowlist" };
        user.ok(&format!("apply -f set --prune -l set=pruned {kinds}=core/v1/ConfigMap"));
        let left = user.get("cm -l set=pruned -o name");
        assert!(left.contains("kept") && !left.contains("dropped"), "{left}");
        assert!(user.ok("create deploy dry --image=x --dry-run=server").contains("(server dry run)"));
        assert!(!user.get("deploy -o name").contains("dry"));
        assert!(user.ok("create deploy dry --image=x --dry-run=client -o yaml").contains("kind: Deployment"));
    });
}

const WIDGET: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.e2e.example.com}
spec:
  group: e2e.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations: [{rule: self.least <= self.most, message: least must not be above most}]
            properties:
              least: {type: integer, default: 1, description: The least there may be.}
              most: {type: integer, default: 5, minimum: 1}
"#;

#[test]
fn kinds_are_explained_and_their_rules_kept() {
    let widget = |spec: &str| {
        format!("{{apiVersion: e2e.example.com/v1, kind: Widget, metadata: {{name: one}}, spec: {spec}}}")
    };
    both("kinds", |user| {
        user.file("crd.yaml", WIDGET);
        user.ok("apply -f crd.yaml");
        user.ok("wait --for=condition=established crd/widgets.e2e.example.com --timeout=60s");
        eventually("the new kind can be found", || match user.run("explain widget") {
            output if output.status.success() => Ok(()),
            output => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        });
        for (path, parts) in [
            ("pod.spec.containers", ["<[]", "A single application container"]),
            ("cronjob.spec.schedule", ["<string>", "Cron format"]),
            ("virtualservice.spec.http", ["route", "<[]"]),
            ("widget.spec.least", ["<integer>", "The least there may be."]),
        ] {
            let text = user.ok(&format!("explain {path}"));
            assert!(
                parts.iter().all(|part| text.contains(part)),
                "explain {path} ({:?}): {text}",
                user.release
            );
        }
        assert!(user.ok("api-resources --api-group=e2e.example.com").contains("widgets"));
        assert!(user.ok("api-versions").lines().any(|line| line == "e2e.example.com/v1"));
        for (spec, sentence) in [
            (
                "{least: 7}",
                "The Widget \"one\" is invalid: spec: Invalid value: \"object\": least must not be above most",
            ),
            ("{most: 0}", "spec.most in body should be greater than or equal to 1"),
            ("{least: some}", "least"),
        ] {
            user.file("widget.yaml", &widget(spec));
            let text = user.fails(1, "apply -f widget.yaml");
            assert!(text.contains(sentence), "{text}");
        }
        user.file("widget.yaml", &widget("{least: 2, unknown: 1}"));
        user.ok("apply --validate=false -f widget.yaml");
        assert_eq!(user.get("widget one -o jsonpath={.spec.least},{.spec.most},{.spec.unknown}"), "2,5,");
        user.ok("delete crd widgets.e2e.example.com");
    });
}

#[test]
fn selections_events_and_the_rest() {
    both("rest", |user| {
        user.ok("create sa robot");
        user.ok("create configmap plain --from-literal=a=b");
        user.ok("create secret generic hidden --from-literal=a=b");
        user.ok("create job greet --image=curlimages/curl -- echo hello");
        user.ok("wait --for=condition=complete job/greet --timeout=60s");
        let once = user
            .command("run once --image=curlimages/curl --restart=Never -i --rm --command")
            .args(["--", "sh", "-c", "echo said; exit 3"])
            .output()
            .expect("kubectl run");
        assert_eq!(once.status.code(), Some(3), "{once:?}");
        assert_eq!(String::from_utf8_lossy(&once.stdout).matches("said").count(), 1, "{once:?}");
        let pod = user.get("pods -l job-name=greet -o jsonpath={.items[0].metadata.name}");
        for (selector, there) in [
            (format!("metadata.name={pod}"), true),
            ("status.phase=Succeeded".into(), true),
            ("status.phase!=Succeeded".into(), false),
            ("spec.nodeName=nowhere".into(), false),
        ] {
            assert_eq!(
                user.get(&format!("pods -o name --field-selector {selector}")).contains(&pod),
                there,
                "{selector}"
            );
        }
        let events =
            user.get("events --field-selector involvedObject.kind=Job,type=Normal --sort-by=.lastTimestamp");
        assert!(events.contains("job/greet") && !events.contains("pod/"), "{events}");
        assert_eq!(user.ok(&format!("logs {pod} --tail=1 --since=1h")), "hello\n");
        assert!(
            user.ok(&format!("get --raw /api/v1/namespaces/{}/configmaps/plain", user.namespace))
                .contains("\"a\":\"b\"")
        );
        let maps = user.get("cm --chunk-size=1 -o name");
        assert!(
            maps.contains("configmap/plain\n") && maps.contains("configmap/kube-root-ca.crt\n"),
            "{maps}"
        );
        if user.release == Release::Current {
            user.ok("wait --for=jsonpath={.status.succeeded}=1 job/greet --timeout=60s");
            assert_eq!(user.ok("create token robot").split('.').count(), 3, "a JWT");
        }
    });
}

/// A program that is ended with its test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn proxied_and_attached() {
    both("proxy", |user| {
        let mut proxy =
            user.command("proxy --port=0").stdout(Stdio::piped()).spawn().map(Child).expect("kubectl proxy");
        let mut line = String::new();
        let stdout = proxy.0.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the address");
        let address = line.trim().rsplit(' ').next().unwrap_or_default();
        let answer = crate::http::get(&format!("http://{address}/api/v1/namespaces/{}", user.namespace));
        assert!(answer.status == 200 && answer.body.contains(&user.namespace), "{line}");

        let script = "while :; do echo still here; sleep 0.2; done";
        let pod = user
            .command("run talk --image=curlimages/curl --restart=Never --command")
            .args(["--", "sh", "-c", script])
            .output();
        succeeded("kubectl run", pod.expect("kubectl"));
        user.ok("wait --for=condition=Ready pod/talk --timeout=60s");
        let attach = user.command("attach talk").stdout(Stdio::piped()).spawn();
        let mut attach = attach.map(Child).expect("kubectl attach");
        let stdout = BufReader::new(attach.0.stdout.take().expect("a pipe"));
        assert!(stdout.lines().map_while(Result::ok).any(|line| line == "still here"));
        user.ok("delete pod talk --grace-period=1");
    });
}
