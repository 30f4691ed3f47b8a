"""`valid.py VERSION FILE...`: tells which files are no CycloneDX documents of that version, and why.

Run by the Python of the audit's environment, which alone has the library for it.
"""

import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

if __name__ == "__main__":
    version, *files = sys.argv[1:]
    validator = JsonStrictValidator(SchemaVersion.from_version(version))
    wrong = {file: error for file in files if (error := validator.validate_str(Path(file).read_text()))}
    for file, error in wrong.items():
        print(f"{file}: {error}")
    sys.exit(1 if wrong else 0)
