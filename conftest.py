"""What every test run needs: quiet and headless notebooks that write into a temporary folder, not into outputs/."""

import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["INPAINT_HEADLESS"] = "1"
_folder = tempfile.TemporaryDirectory(prefix="inpaint_test_")
os.environ["INPAINT_OUTPUT_FOLDER"] = _folder.name
