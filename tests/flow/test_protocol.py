# SPDX-License-Identifier: LGPL-2.1-or-later
"""The .proto files are the reference of the protocol: nothing in them stands there without a word."""

import glob
import os
import subprocess

import pytest
from google.protobuf import descriptor_pb2

PROTO = os.path.join(os.path.dirname(__file__), "..", "..", "proto")
FILES = sorted(os.path.basename(path) for path in glob.glob(f"{PROTO}/*.proto"))

# Numbers of the fields of descriptor.proto that a location's path is made of.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED, NESTED_ENUMS = 2, 3, 4
VALUES = METHODS = 2


def elements(file):
    """Path and name of everything that wants a comment of its own. An rpc's comment is that of its two messages,
    which are named after it."""
    of_rpcs = {service.name + method.name + kind for service in file.service for method in service.method
               for kind in ("Request", "Reply")}

    def messages(path, prefix, all_messages):
        for i, message in enumerate(all_messages):
            here, name = [*path, i], prefix + message.name
            if name not in of_rpcs:
                yield here, name
            for j, field in enumerate(message.field):
                yield [*here, FIELDS, j], f"{name}.{field.name}"
            yield from messages([*here, NESTED], name + ".", message.nested_type)
            yield from enums([*here, NESTED_ENUMS], name + ".", message.enum_type)

    def enums(path, prefix, all_enums):
        for i, enum in enumerate(all_enums):
            yield [*path, i], prefix + enum.name
            for j, value in enumerate(enum.value):
                yield [*path, i, VALUES, j], f"{prefix}{enum.name}.{value.name}"

    yield from messages([MESSAGES], "", file.message_type)
    yield from enums([ENUMS], "", file.enum_type)
    for i, service in enumerate(file.service):
        yield [SERVICES, i], service.name
        for j, method in enumerate(service.method):
            yield [SERVICES, i, METHODS, j], f"{service.name}.{method.name}"


def without_comment(proto, folder, tmp_path):
    out = f"{tmp_path}/set"
    subprocess.run(["protoc", f"-I{folder}", "--include_source_info", f"--descriptor_set_out={out}",
                    f"{folder}/{proto}"], check=True)
    with open(out, "rb") as file:
        descriptor, = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
    commented = {tuple(place.path) for place in descriptor.source_code_info.location
                 if place.leading_comments.strip() or place.trailing_comments.strip()}
    found = list(elements(descriptor))
    assert found
    return [name for path, name in found if tuple(path) not in commented]


@pytest.mark.parametrize("proto", FILES)
def test_everything_has_a_comment(proto, tmp_path):
    assert without_comment(proto, PROTO, tmp_path) == []


def test_what_has_none_is_found(tmp_path):
    (tmp_path / "x.proto").write_text("""syntax = "proto2";
// A message.
message A {
  // A field.
  optional bytes one = 1;
  optional bytes two = 2; // Beside it.
  optional bytes three = 3;
  oneof kind {
    bytes four = 4;
  }
  enum Inner {
    ZERO = 0; // Nothing.
    ONE = 1;
  }
}

message SDoRequest {
}
// A service.
service S {
  rpc Do(SDoRequest) returns (A);
}
""")
    assert without_comment("x.proto", tmp_path, tmp_path) == ["A.three", "A.four", "A.Inner", "A.Inner.ONE", "S.Do"]
