"""Prints what Python's protobuf finds in a .caffemodel: a line `layer type shape values...` a blob.

The messages are described here by Caffe's field numbers, not by the project's own definition. Exits
with 77 where Python has no protobuf.

  python3 read_caffemodel.py FILE
"""

import sys

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError:
    sys.exit(77)

FIELD = descriptor_pb2.FieldDescriptorProto
MESSAGES = {
    "Shape": [("dim", 1, FIELD.TYPE_INT64, True, None)],
    "Blob": [("data", 5, FIELD.TYPE_FLOAT, True, None), ("shape", 7, FIELD.TYPE_MESSAGE, False, "Shape")],
    "Layer": [("name", 1, FIELD.TYPE_STRING, False, None), ("type", 2, FIELD.TYPE_STRING, False, None),
              ("blobs", 7, FIELD.TYPE_MESSAGE, True, "Blob")],
    "Net": [("layer", 100, FIELD.TYPE_MESSAGE, True, "Layer")],
}


def net_class():
    file = descriptor_pb2.FileDescriptorProto(name="net.proto", syntax="proto2")
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated, type_name in fields:
            field = described.field.add(name=name, number=number, type=kind)
            field.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            if type_name:
                field.type_name = "." + type_name
            elif repeated:
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName("Net")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def main():
    net = net_class()()
    with open(sys.argv[1], "rb") as file:
        net.ParseFromString(file.read())
    for layer in net.layer:
        for blob in layer.blobs:
            shape = "x".join(str(dim) for dim in blob.shape.dim)
            print(layer.name, layer.type, shape, *blob.data)


main()
