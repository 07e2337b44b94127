"""Build step: the generator of models/ goes into the package, so that an installed copy fills photos anywhere."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

GENERATOR = Path(__file__).parent / "models" / "inpainting_generator_best.keras"


class BuildWithGenerator(build_py):
    """Copies the generator beside the modules; the repository holds it once."""

    def run(self):
        super().run()
        if not self.editable_mode:  # a checkout has its models/ folder
            target = Path(self.build_lib, "inpaint_utils", "models")
            target.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(GENERATOR), str(target / GENERATOR.name))


setup(cmdclass={"build_py": BuildWithGenerator})
