"""Writes masks as `TotalSegmentator --ml` 2.18 does, without any network: left and right blocks and a table of labels.

It notes its arguments, its environment and the settings it finds beside itself, in `calls.jsonl`. A file `fail` beside
it makes it fail on the images whose name stands in there.
"""

import json
import os
import sys
from pathlib import Path

import nibabel
import numpy as np

HERE = Path(sys.argv[0]).resolve().parent
NAMES = {1: "spleen", 2: "kidney_right", 3: "kidney_left", 5: "liver"}


def main() -> int:
    values = dict(zip(sys.argv[1:], sys.argv[2:], strict=False))
    image, target = Path(values["-i"]), Path(values["-o"])
    home = Path(os.environ["TOTALSEG_HOME_DIR"])
    call = {
        "arguments": sys.argv[1:],
        "weights": os.environ["TOTALSEG_WEIGHTS_PATH"],
        "home": str(home),
        "settings": json.loads((home / "config.json").read_text()),
    }
    with (HERE / "calls.jsonl").open("a") as file:
        file.write(json.dumps(call) + "\n")
    if (HERE / "fail").exists() and image.name in (HERE / "fail").read_text():
        sys.stderr.write("\n".join(f"line {number}" for number in range(30)))
        return 3
    scan = nibabel.load(image)
    labels = np.zeros(scan.shape, np.uint8)
    third = scan.shape[0] // 3
    towards_left = scan.affine[0, 0] < 0  # the affine counts towards the right of the patient
    labels[:third, 2:8, 2:8] = 2 if towards_left else 3
    labels[-third:, 2:8, 2:8] = 3 if towards_left else 2
    labels[third + 1 : -third - 1, 2:8, 2:8] = 5
    result = nibabel.Nifti1Image(labels, scan.affine)
    table = "".join(f'<Label Key="{key}" Red="1"><![CDATA[{name}]]></Label>\n' for key, name in NAMES.items())
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension> <VolumeInformation Index="0"> <LabelTable>\n'
        f"{table}</LabelTable> </VolumeInformation></CaretExtension>\n              "
    )
    result.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, xml.encode()))
    nibabel.save(result, target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
