"""`model.mlmodel`, read by protobuf: the messages of Model.proto, FeatureTypes.proto and MIL.proto (mlmodel/format in
github.com/apple/coremltools), as far as the evaluator looks at them.

They are declared here because importing coremltools' own classes imports all of coremltools, which a machine that only verifies
need not have. Besides, the code that writes a package then has no influence on how it is read.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from edgec.errors import RuntimeFailure

Message = Any
"""Of protobuf: fields are attributes. An absent submessage reads as an empty one; `HasField` tells."""

_PACKAGE = "edgec.coreml"
_REPEATED = "*"
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Model": {"specificationVersion": (1, "INT32"), "description": (2, "Description"), "mlProgram": (502, "Program")},
    "Description": {"input": (1, "Feature*"), "functions": (20, "Described*"), "defaultFunctionName": (21, "STRING")},
    "Described": {"name": (1, "STRING"), "input": (2, "Feature*")},
    "Feature": {"name": (1, "STRING"), "type": (3, "FeatureType")},
    "FeatureType": {"imageType": (4, "Image")},
    "Image": {
        "width": (1, "INT64"), "height": (2, "INT64"), "colorSpace": (3, "INT32"), "enumeratedSizes": (21, "ImageSizes"),
        "imageSizeRange": (31, "Unread"),
    },
    "ImageSizes": {"sizes": (1, "ImageSize*")},
    "ImageSize": {"width": (1, "UINT64"), "height": (2, "UINT64")},
    "Unread": {},
    "Program": {"functions": (2, "FunctionEntry*")},
    "FunctionEntry": {"key": (1, "STRING"), "value": (2, "Function")},
    "Function": {"inputs": (1, "Named*"), "opset": (2, "STRING"), "block_specializations": (3, "BlockEntry*")},
    "BlockEntry": {"key": (1, "STRING"), "value": (2, "Block")},
    "Block": {"outputs": (2, "STRING*"), "operations": (3, "Operation*")},
    "Operation": {
        "type": (1, "STRING"), "inputs": (2, "ArgumentEntry*"), "outputs": (3, "Named*"), "blocks": (4, "Unread*"),
        "attributes": (5, "ValueEntry*"),
    },
    "ArgumentEntry": {"key": (1, "STRING"), "value": (2, "Argument")},
    "Argument": {"arguments": (1, "Binding*")},
    "Binding": {"name": (1, "STRING"), "value": (2, "Value")},
    "Named": {"name": (1, "STRING"), "type": (2, "ValueType")},
    "ValueType": {"tensorType": (1, "TensorType")},
    "TensorType": {"dataType": (1, "INT32"), "dimensions": (3, "Dimension*")},
    "Dimension": {"constant": (1, "ConstantDimension")},
    "ConstantDimension": {"size": (1, "UINT64")},
    "ValueEntry": {"key": (1, "STRING"), "value": (2, "Value")},
    "Value": {"type": (2, "ValueType"), "immediateValue": (3, "Immediate"), "blobFileValue": (5, "Blob")},
    "Blob": {"fileName": (1, "STRING"), "offset": (2, "UINT64")},
    "Immediate": {"tensor": (1, "TensorValue")},
    "TensorValue": {
        "floats": (1, "Floats"), "ints": (2, "Ints"), "bools": (3, "Bools"), "strings": (4, "Strings"), "longInts": (5, "Longs"),
        "doubles": (6, "Doubles"), "bytes": (7, "Bytes"),
    },
    "Floats": {"values": (1, "FLOAT*")},
    "Ints": {"values": (1, "INT32*")},
    "Bools": {"values": (1, "BOOL*")},
    "Strings": {"values": (1, "STRING*")},
    "Longs": {"values": (1, "INT64*")},
    "Doubles": {"values": (1, "DOUBLE*")},
    "Bytes": {"values": (1, "BYTES")},
}  # fmt: skip
"""By message, its fields' numbers and types. A map is its entries, as it is in a file."""


def read_model(data: bytes) -> Message:
    """The message in a `model.mlmodel`. Raises `RuntimeFailure` for bytes that hold none."""
    try:
        return _model().FromString(data)
    except DecodeError as error:
        raise RuntimeFailure(
            "The package's model.mlmodel is damaged: it is no protobuf message of a Core ML model.", evidence=str(error)
        ) from error


@cache
def _model() -> Any:
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            field = message.field.add(name=field_name, number=number)
            field.label = field_type.LABEL_REPEATED if kind.endswith(_REPEATED) else field_type.LABEL_OPTIONAL
            kind = kind.rstrip(_REPEATED)
            if kind in _MESSAGES:
                field.type_name = f".{_PACKAGE}.{kind}"
            else:
                field.type = field_type.Type.Value(f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Model"))
