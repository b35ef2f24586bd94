"""Calls a gRPC server of which it knows nothing: what it sends and gets it learns by reflection.

Reads one JSON object from standard input, {"address": …, "calls": [{"method": "package.Service/Method",
"token": …, "request": …}]}, and prints one: what the server says of its health and its services, and
each answer, or the status with its details.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

PATIENCE = 20
DETAILS = [
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.PreconditionFailure,
    error_details_pb2.RetryInfo,
]


def services(channel, version):
    """The services that one version of reflection lists; both versions have the same messages."""
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(ask(iter([request]), timeout=PATIENCE))
    return sorted(service.name for service in answer.list_services_response.service)


def health(channel):
    request = health_pb2.HealthCheckRequest(service="")
    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=PATIENCE)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def details(error):
    status = rpc_status.from_call(error)
    found = {}
    for packed in status.details if status else []:
        for kind in DETAILS:
            if packed.Is(kind.DESCRIPTOR):
                detail = kind()
                packed.Unpack(detail)
                found[kind.DESCRIPTOR.name] = json_format.MessageToDict(detail)
    return found


def call(channel, pool, method, token, request):
    service, _, name = method.partition("/")
    declared = pool.FindServiceByName(service).FindMethodByName(name)
    request_type = message_factory.GetMessageClass(declared.input_type)
    answer_type = message_factory.GetMessageClass(declared.output_type)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    if declared.client_streaming:
        ask = channel.stream_unary(
            f"/{method}",
            request_serializer=request_type.SerializeToString,
            response_deserializer=answer_type.FromString,
        )
        message = iter([json_format.ParseDict(one, request_type()) for one in request])
    else:
        ask = channel.unary_unary(
            f"/{method}",
            request_serializer=request_type.SerializeToString,
            response_deserializer=answer_type.FromString,
        )
        message = json_format.ParseDict(request, request_type())
    try:
        answer = ask(message, metadata=metadata, timeout=PATIENCE)
    except grpc.RpcError as error:
        return {"code": error.code().name, "message": error.details(), "details": details(error)}
    return {"answer": json_format.MessageToDict(answer)}


def main():
    asked = json.load(sys.stdin)
    # A proxy is for the world outside, and this server is on this machine.
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(asked["address"], options=options) as channel:
        grpc.channel_ready_future(channel).result(timeout=PATIENCE)
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        result = {
            "health": health(channel),
            "services": {version: services(channel, version) for version in ("v1", "v1alpha")},
            "answers": [
                call(channel, pool, one["method"], one.get("token"), one["request"])
                for one in asked["calls"]
            ],
        }
    json.dump(result, sys.stdout)


main()
