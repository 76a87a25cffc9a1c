"""Generates Python clients from the contracts as any user would, with grpcio-tools and the proto folder."""

import pathlib
import sys
import tempfile

import grpc_tools
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def generate():
    """Generates the modules and makes them importable: `from mms.registry.v1 import data_source_service_pb2`."""
    out = tempfile.mkdtemp(prefix="mms-stubs-")
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    files = [str(f.relative_to(PROTO)) for f in sorted(PROTO.glob("mms/**/*.proto"))]
    flags = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(["protoc", *flags, *files]) != 0:
        sys.exit("the contracts could not be generated")
    sys.path.insert(0, out)
