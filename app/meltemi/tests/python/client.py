"""What programs do with the official Python client: list, watch, patch, exec, port-forward.

KUBECONFIG names the cluster, the first argument a namespace that this script may fill. Any failure is an exception.
"""

import os
import sys

import urllib3
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

NAMESPACE = sys.argv[1]
# A young etcd has everything still that our store has let go of.
REMEMBERS_ALL = "MELTEMI_KUBERNETES" in os.environ
POD = {
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "web", "image": "docker.io/kennethreitz/httpbin", "ports": [{"containerPort": 80}]}],
    },
}


def refused(code, call):
    """The call must fail with this HTTP status; gives the error."""
    try:
        call()
    except ApiException as error:
        assert error.status == code, (code, error)
        return error
    raise AssertionError(f"{code} was expected")


def config_map(name, **data):
    return {"metadata": {"name": name, "labels": {"made-by": "client"}}, "data": data}


def lists(core):
    for number in range(7):
        core.create_namespaced_config_map(NAMESPACE, config_map(f"page-{number}", k=str(number)))
    names, token = [], None
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="made-by=client", limit=3, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert names == [f"page-{number}" for number in range(7)], names
    one = core.list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=page-3")
    assert [item.data for item in one.items] == [{"k": "3"}]
    refused(404, lambda: core.read_namespaced_config_map("nobody", NAMESPACE))
    refused(409, lambda: core.create_namespaced_config_map(NAMESPACE, config_map("page-0")))
    if not REMEMBERS_ALL:
        refused(410, lambda: core.list_namespaced_config_map(NAMESPACE, resource_version="1", resource_version_match="Exact"))


def watches(core):
    """A watch that the server ends every second goes on where it was; one from too old a version is told so."""
    watcher = watch.Watch()
    seen = []
    start = core.list_namespaced_secret(NAMESPACE).metadata.resource_version
    secret = {"metadata": {"name": "seen"}, "stringData": {"k": "1"}}
    core.create_namespaced_secret(NAMESPACE, secret)
    events = watcher.stream(core.list_namespaced_secret, NAMESPACE, resource_version=start, timeout_seconds=1)
    seen += [(event["type"], event["object"].metadata.name) for event in events]
    core.patch_namespaced_secret("seen", NAMESPACE, {"stringData": {"k": "2"}})
    core.delete_namespaced_secret("seen", NAMESPACE)
    events = watcher.stream(
        core.list_namespaced_secret, NAMESPACE, resource_version=watcher.resource_version, timeout_seconds=1
    )
    seen += [(event["type"], event["object"].metadata.name) for event in events]
    assert seen == [("ADDED", "seen"), ("MODIFIED", "seen"), ("DELETED", "seen")], seen
    if not REMEMBERS_ALL:
        old = watch.Watch().stream(core.list_namespaced_secret, NAMESPACE, resource_version="1", timeout_seconds=1)
        refused(410, lambda: list(old))


def patches(core):
    core.create_namespaced_pod(NAMESPACE, POD)
    pods = dynamic.DynamicClient(core.api_client).resources.get(api_version="v1", kind="Pod")

    def patch(content_type, body):
        return pods.patch(name="web", namespace=NAMESPACE, body=body, content_type=content_type)

    labels = patch("application/json-patch+json", [{"op": "add", "path": "/metadata/labels/json", "value": "yes"}])
    assert labels.metadata.labels.to_dict() == {"app": "web", "json": "yes"}, labels
    labels = patch("application/merge-patch+json", {"metadata": {"labels": {"json": None, "merge": "yes"}}})
    assert labels.metadata.labels.to_dict() == {"app": "web", "merge": "yes"}, labels
    # Strategic: containers pair by their names.
    other = {"spec": {"containers": [{"name": "web", "image": "docker.io/kennethreitz/httpbin:2"}]}}
    containers = core.patch_namespaced_pod("web", NAMESPACE, other).spec.containers
    assert [(c.name, c.image, len(c.ports)) for c in containers] == [("web", "docker.io/kennethreitz/httpbin:2", 1)]
    refused(422, lambda: core.patch_namespaced_pod("web", NAMESPACE, [{"op": "test", "path": "/kind", "value": "No"}]))
    applied = pods.server_side_apply(
        name="web", namespace=NAMESPACE, field_manager="client",
        body={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"applied": "yes"}}},
    )
    assert "client" in [entry.manager for entry in applied.metadata.managedFields]


def ready(core):
    for event in watch.Watch().stream(core.list_namespaced_pod, NAMESPACE, field_selector="metadata.name=web"):
        conditions = event["object"].status.conditions or []
        if any(condition.type == "Ready" and condition.status == "True" for condition in conditions):
            return


def executes(core):
    def run(*command, **options):
        return stream(core.connect_get_namespaced_pod_exec, "web", NAMESPACE, command=list(command),
                      stdout=True, stderr=True, **{"stdin": False, "tty": False, **options})

    assert run("sh", "-c", "echo out; echo err >&2").split() in (["out", "err"], ["err", "out"])
    session = run("sh", "-c", "cat; exit 5", stdin=True, _preload_content=False)
    session.write_stdin("to you\n")
    assert session.readline_stdout(timeout=30) == "to you"
    session.close()
    failed = run("sh", "-c", "exit 5", _preload_content=False)
    failed.run_forever(timeout=30)
    assert failed.returncode == 5, failed.returncode


def forwards(core):
    forward = portforward(core.connect_get_namespaced_pod_portforward, "web", NAMESPACE, ports="80")
    socket = forward.socket(80)
    socket.setblocking(True)
    socket.sendall(b"GET /status/418 HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n")
    answer = b""
    while part := socket.recv(1024):
        answer += part
    assert answer.startswith(b"HTTP/1.1 418"), answer
    assert forward.error(80) is None


def main():
    urllib3.disable_warnings()
    config.load_kube_config()
    core = client.CoreV1Api()
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    for part in (lists, watches, patches, ready, executes, forwards):
        part(core)
        print(part.__name__, "ok", flush=True)
    core.delete_namespace(NAMESPACE)


main()
