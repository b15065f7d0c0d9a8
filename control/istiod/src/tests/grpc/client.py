"""Calls a service through gRPC's own xDS client.

Every line on standard input asks for calls: COUNT [NAME=VALUE ...], the pairs being request headers. The answer is a line of
JSON: how often each answer came, failed calls counted by their status.
"""

import collections
import json
import sys

import grpc
import grpc.experimental


def main():
    target = sys.argv[1]
    credentials = grpc.xds_channel_credentials(grpc.experimental.insecure_channel_credentials())
    with grpc.secure_channel(target, credentials) as channel:
        say = channel.unary_unary("/echo.Echo/Say")
        for line in sys.stdin:
            count, *headers = line.split()
            metadata = [tuple(header.split("=", 1)) for header in headers]
            answers = collections.Counter(call(say, metadata) for _ in range(int(count)))
            print(json.dumps(answers), flush=True)


def call(say, metadata):
    try:
        return say(b"", metadata=metadata, timeout=10).decode()
    except grpc.RpcError as error:
        say_once(f"{error.code().name}: {error.details()}")
        return error.code().name


def say_once(text, said=set()):
    if text not in said:
        said.add(text)
        print(text, file=sys.stderr, flush=True)


main()
