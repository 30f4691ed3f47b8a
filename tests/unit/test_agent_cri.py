"""The generated half of the CRI client."""

import subprocess
import sys
from pathlib import Path

CRI = Path(__file__).parents[2] / "operator" / "private_registry" / "agent" / "cri"


def test_the_generated_code_is_that_of_the_proto(tmp_path: Path) -> None:
    """Whoever changes runtime.proto has generated the code anew."""
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{CRI}",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
    ]
    subprocess.run([*command, "runtime.proto"], check=True)
    for generated in tmp_path.iterdir():
        assert generated.read_text() == (CRI / generated.name).read_text()
