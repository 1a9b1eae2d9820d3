"""Parses `tf.train.Example`, the format of records on disk, without TensorFlow or TFDS."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

_DESCRIPTION = """
name: "example.proto" syntax: "proto3"
message_type { name: "BytesList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "FloatList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT } }
message_type { name: "Int64List"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type { name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 oneof_index: 0 type: TYPE_MESSAGE type_name: ".BytesList" }
  field { name: "float_list" number: 2 oneof_index: 0 type: TYPE_MESSAGE type_name: ".FloatList" }
  field { name: "int64_list" number: 3 oneof_index: 0 type: TYPE_MESSAGE type_name: ".Int64List" } }
message_type { name: "Features"
  nested_type { name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".Feature" } }
  field { name: "feature" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE
    type_name: ".Features.FeatureEntry" } }
message_type { name: "Example"
  field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".Features" } }
"""
_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(
    text_format.Parse(_DESCRIPTION, descriptor_pb2.FileDescriptorProto()).SerializeToString()
)
_EXAMPLE = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("Example"))


def parse_example(data: bytes) -> Mapping:
    """Returns an example's features: name -> one of `bytes_list`, `float_list` and `int64_list`.

    Raises:
      ValueError: `data` is not an example.
    """
    try:
        return _EXAMPLE.FromString(data).features.feature
    except DecodeError:
        raise ValueError("not a tf.train.Example") from None
