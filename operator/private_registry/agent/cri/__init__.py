"""The Container Runtime Interface, as far as an agent speaks it. `runtime_pb2` is generated from `runtime.proto`."""
