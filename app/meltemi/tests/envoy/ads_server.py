"""A control plane of grpcio: ADS in both variants, told by lines of JSON what to serve, telling in lines of JSON what it is asked.

Commands on standard input:
    {"set": "clusters", "version": "1", "resources": [{...}]}   all resources of a type, in proto-JSON
    {"end": true}                                               ends all streams
What it tells: {"port": N}, then for every request
    {"stream": N, "delta": bool, "type": "clusters", "node": ID or null, "names": [...], "version": "...", "has": {...},
     "ack": bool or null, "of": the version that this is the verdict on, "error": "..."}
"""

import json
import queue
import sys
import threading
from concurrent import futures

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401, messages inside of others
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf import any_pb2, json_format

KINDS = {
    "clusters": (cluster_pb2.Cluster, "name"),
    "endpoints": (endpoint_pb2.ClusterLoadAssignment, "cluster_name"),
    "listeners": (listener_pb2.Listener, "name"),
    "routes": (route_pb2.RouteConfiguration, "name"),
}
URLS = {f"type.googleapis.com/{message.DESCRIPTOR.full_name}": kind for kind, (message, _) in KINDS.items()}
OF_KIND = {kind: url for url, kind in URLS.items()}
# Types of which all is sent without being asked for by name.
WHOLE = ("clusters", "listeners")


def tell(**what):
    print(json.dumps(what), flush=True)


class Served:
    """What is to be served, and the streams that wait for it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.kinds = {kind: ("", {}) for kind in KINDS}
        self.streams = []
        self.count = 0

    def set(self, kind, version, resources):
        message, name = KINDS[kind]
        packed = {}
        for resource in resources:
            parsed = json_format.ParseDict(resource, message())
            packed[getattr(parsed, name)] = any_pb2.Any()
            packed[getattr(parsed, name)].Pack(parsed)
        with self.lock:
            self.kinds[kind] = (version, packed)
            for stream in self.streams:
                stream.put(kind)

    def end(self):
        with self.lock:
            for stream in self.streams:
                stream.put(None)

    def open(self):
        with self.lock:
            events = queue.Queue()
            self.streams.append(events)
            self.count += 1
            return self.count, events

    def close(self, events):
        with self.lock:
            self.streams.remove(events)


class Control(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    def __init__(self, served):
        self.served = served

    def StreamAggregatedResources(self, requests, context):
        yield from self.serve(requests, context, Whole)

    def DeltaAggregatedResources(self, requests, context):
        yield from self.serve(requests, context, Delta)

    def serve(self, requests, context, variant):
        number, events = self.served.open()
        protocol = variant(self.served, number)

        def read():
            try:
                for request in requests:
                    events.put(request)
            except grpc.RpcError:
                pass
            events.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            while (event := events.get()) is not None:
                answer = protocol.changed(event) if isinstance(event, str) else protocol.request(event)
                if answer is not None:
                    yield answer
        finally:
            self.served.close(events)
        context.abort(grpc.StatusCode.UNAVAILABLE, "told to end")


class Variant:
    def __init__(self, served, number):
        self.served, self.number, self.nonce = served, number, 0
        self.wanted, self.nonces, self.versions = {}, {}, {}

    def next_nonce(self, kind, version):
        self.nonce += 1
        self.nonces[kind] = str(self.nonce)
        self.versions[self.nonces[kind]] = version
        return self.nonces[kind]

    def told(self, request, kind, **more):
        answers = request.response_nonce and request.response_nonce == self.nonces.get(kind)
        error = request.error_detail.message
        tell(
            stream=self.number,
            type=kind,
            node=request.node.id if request.HasField("node") else None,
            ack=(not error) if answers else None,
            of=self.versions.get(request.response_nonce),
            error=error,
            **more,
        )


class Whole(Variant):
    """State of the world."""

    def request(self, request):
        kind = URLS[request.type_url]
        names = list(request.resource_names)
        self.told(request, kind, delta=False, names=names, version=request.version_info, has={})
        if request.response_nonce and request.response_nonce != self.nonces.get(kind):
            return None
        before = self.wanted.get(kind)
        self.wanted[kind] = names
        return None if request.response_nonce and before == names else self.changed(kind)

    def changed(self, kind):
        if kind not in self.wanted:
            return None
        version, resources = self.served.kinds[kind]
        if not version:
            return None
        chosen = [r for name, r in resources.items() if kind in WHOLE or name in self.wanted[kind]]
        return discovery_pb2.DiscoveryResponse(
            version_info=version, resources=chosen, type_url=OF_KIND[kind], nonce=self.next_nonce(kind, version)
        )


class Delta(Variant):
    """Incremental."""

    def __init__(self, served, number):
        super().__init__(served, number)
        self.has = {}

    def request(self, request):
        kind = URLS[request.type_url]
        names = list(request.resource_names_subscribe)
        has = dict(request.initial_resource_versions)
        self.told(request, kind, delta=True, names=names, version="", has=has)
        first = kind not in self.wanted
        wanted, held = self.wanted.setdefault(kind, set()), self.has.setdefault(kind, {})
        if first:
            held.update(has)
        wanted.update(names)
        wanted.difference_update(request.resource_names_unsubscribe)
        for name in names:
            if name not in has:
                held.pop(name, None)
        return self.changed(kind, first) if first or names else None

    def changed(self, kind, always=False):
        if kind not in self.wanted:
            return None
        version, resources = self.served.kinds[kind]
        if not version:
            return None
        held = self.has[kind]
        chosen = {n: r for n, r in resources.items() if kind in WHOLE or n in self.wanted[kind]}
        changed = {n: r for n, r in chosen.items() if held.get(n) != version}
        gone = [n for n in held if n not in resources]
        if not (changed or gone or always):
            return None
        held.update({n: version for n in changed})
        for name in gone:
            del held[name]
        return discovery_pb2.DeltaDiscoveryResponse(
            system_version_info=version,
            resources=[discovery_pb2.Resource(name=n, version=version, resource=r) for n, r in changed.items()],
            removed_resources=gone,
            type_url=OF_KIND[kind],
            nonce=self.next_nonce(kind, version),
        )


def main():
    served = Served()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(Control(served), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tell(port=port)
    for line in sys.stdin:
        command = json.loads(line)
        if "set" in command:
            served.set(command["set"], command["version"], command["resources"])
        else:
            served.end()
    server.stop(None)


main()
