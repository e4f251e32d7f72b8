# SPDX-License-Identifier: LGPL-2.1-or-later
"""The VMMs' published interface descriptions (openapi/), as what a server may accept and answer.

Strict where the descriptions leave it open: an object has no properties but those named, a body comes only where
one is described, and a word of a schema that is not known here is a mistake of ours."""

import functools
import os
import re

import yaml

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "openapi")

# Words of a schema, and how they are checked. Those of the second line say nothing of a value.
CHECKED = {"$ref", "type", "properties", "required", "additionalProperties", "items", "enum", "minimum", "maximum",
           "minLength", "format"}
SILENT = {"description", "default", "deprecated", "example", "readOnly"}

INTEGERS = {"uint8": (0, 2**8 - 1), "uint16": (0, 2**16 - 1), "uint32": (0, 2**32 - 1), "int8": (-2**7, 2**7 - 1),
            "int16": (-2**15, 2**15 - 1), "int32": (-2**31, 2**31 - 1), "int64": (-2**63, 2**63 - 1)}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Without the words that YAML 1.1 takes for booleans: "Off" is a level of Firecracker's log."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), "tf")


class Invalid(Exception):
    """A request or answer that the description does not have."""


class Operation:
    def __init__(self, method, path, body, body_needed, responses):
        self.method = method
        self.path = path
        self.body = body  # its schema; None: there is none
        self.body_needed = body_needed
        self.responses = responses  # by status as text, or "default": the body's schema, or None
        self.pattern = re.compile("[^/]+".join(map(re.escape, re.split("{[^}]*}", path))) + "$")

    @property
    def name(self):
        return f"{self.method} {self.path}"

    def refusals(self):
        """The statuses of described failures. "default" stands for what Firecracker calls an internal error."""
        return sorted(500 if status == "default" else int(status) for status in self.responses
                      if status == "default" or int(status) >= 400)


class Description:
    def __init__(self, name):
        with open(f"{FOLDER}/{name}.yaml") as file:
            self.document = yaml.load(file, Loader)  # noqa: S506: a safe one
        self.base = "/api/v1" if "openapi" in self.document else ""
        self.operations = [self.operation(method.upper(), path, about)
                           for path, methods in self.document["paths"].items() for method, about in methods.items()]

    def operation(self, method, path, about):
        if "openapi" in self.document:  # version 3
            body = about.get("requestBody")
            schema = body and body["content"]["application/json"]["schema"]
            needed = bool(body and body.get("required"))
            responses = {str(status): answer.get("content", {}).get("application/json", {}).get("schema")
                         for status, answer in about["responses"].items()}
        else:  # version 2
            bodies = [parameter for parameter in about.get("parameters", ()) if parameter["in"] == "body"]
            schema = bodies[0]["schema"] if bodies else None
            needed = bool(bodies and bodies[0].get("required"))
            responses = {str(status): answer.get("schema") for status, answer in about["responses"].items()}
        return Operation(method, path, schema, needed, responses)

    def find(self, method, target):
        if not target.startswith(self.base):
            raise Invalid(f"{target}: not below {self.base}")
        path = target[len(self.base):]
        for operation in self.operations:
            if operation.method == method and operation.pattern.match(path):
                return operation
        raise Invalid(f"{method} {path}: no such operation")

    def named(self, name):
        return next(operation for operation in self.operations if operation.name == name)

    def check_request(self, operation, body):
        """body: None, or what JSON made of it."""
        if body is None:
            if operation.body_needed:
                raise Invalid(f"{operation.name}: a body is needed")
        elif operation.body is None:
            raise Invalid(f"{operation.name}: has no body")
        else:
            self.check(operation.body, body, operation.name)

    def check_answer(self, operation, status, body):
        if str(status) not in operation.responses and "default" not in operation.responses:
            raise Invalid(f"{operation.name}: the status {status} is not described")
        schema = operation.responses.get(str(status), operation.responses.get("default"))
        if body is not None and schema is not None:
            self.check(schema, body, f"{operation.name} {status}")
        elif schema is not None or (body is not None and status < 400):
            raise Invalid(f"{operation.name} {status}: a body, or none, that is not described")

    def resolve(self, schema):
        while "$ref" in schema:
            schema = functools.reduce(lambda at, key: at[key], schema["$ref"].removeprefix("#/").split("/"),
                                      self.document)
        return schema

    def check(self, schema, value, where):
        schema = self.resolve(schema)
        unknown = set(schema) - CHECKED - SILENT
        assert not unknown, f"{where}: the checker does not know {unknown}"
        kind = schema.get("type")
        if kind and (not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
            raise Invalid(f"{where}: {value!r} is no {kind}")
        if "enum" in schema and value not in schema["enum"]:
            raise Invalid(f"{where}: {value!r} is none of {schema['enum']}")
        if kind == "integer":
            low, high = INTEGERS.get(schema.get("format"), (-2**63, 2**64 - 1))
            if not max(low, schema.get("minimum", low)) <= value <= min(high, schema.get("maximum", high)):
                raise Invalid(f"{where}: {value} is out of its range")
        elif kind == "string" and len(value) < schema.get("minLength", 0):
            raise Invalid(f"{where}: {value!r} is too short")
        elif kind == "array":
            for item in value:
                self.check(schema["items"], item, where)
        elif kind == "object":
            self.check_object(schema, value, where)

    def check_object(self, schema, value, where):
        known = schema.get("properties", {})
        more = schema.get("additionalProperties", False)
        missing = set(schema.get("required", ())) - set(value)
        if missing:
            raise Invalid(f"{where}: {', '.join(sorted(missing))} missing")
        for key, item in value.items():
            if key in known:
                self.check(known[key], item, f"{where}.{key}")
            elif isinstance(more, dict):
                self.check(more, item, f"{where}.{key}")
            elif not more:
                raise Invalid(f"{where}: there is no {key}")
