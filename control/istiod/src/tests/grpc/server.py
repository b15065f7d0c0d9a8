"""Answers calls with its own name, and with the identity that the caller's certificate shows.

    server.py NAME ADDRESS [xds]

With `xds` it asks the control plane whether and how to serve.
"""

import sys
from concurrent import futures

import grpc


def main():
    name, address, *mode = sys.argv[1:]

    def say(request, context):
        caller = context.auth_context().get("peer_spiffe_id", [b""])[0].decode()
        return f"{name} {caller}".strip().encode()

    handlers = {"Say": grpc.unary_unary_rpc_method_handler(say)}
    xds = "xds" in mode
    server = grpc.server(futures.ThreadPoolExecutor(4), xds=xds)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("echo.Echo", handlers)])
    plain = grpc.insecure_server_credentials()
    server.add_secure_port(address, grpc.xds_server_credentials(plain) if xds else plain)
    server.start()
    print("started", flush=True)
    # Ends with the test, however that ends.
    sys.stdin.read()
    server.stop(None)


main()
