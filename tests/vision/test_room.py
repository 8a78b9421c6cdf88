from __future__ import annotations

import os
import subprocess
import sys

from trainshed.vision.environment import allocator_environment


def python(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_importing_the_room_its_environment_and_its_story_imports_no_torch():
    rooms = "trainshed.vision, trainshed.vision.environment, trainshed.vision.story"
    code = f"import sys, {rooms}; print('torch' in sys.modules)"
    assert python(code) == "False"


def test_a_prepared_process_has_imported_everything_that_is_slow():
    code = """
import sys
from trainshed.vision import warm
warm.prepare()
wanted = ["torch", "timm", "onnx", "onnxruntime", "onnxscript", "torch._dynamo", "trainshed.vision.classification",
          "trainshed.vision.pretrained", "trainshed.pictures.transform", "pyarrow.parquet"]
print([name for name in wanted if name not in sys.modules], "django" in sys.modules)
"""
    assert python(code, **allocator_environment()) == "[] False"
