"""Writes the shipped sample, native-server/data/digits.npy and digit-labels.npy, from scikit-learn's copy.

Needs scikit-learn and numpy; tests do not need either of them, only the files. Running it again gives
the same bytes.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

DATA = Path(__file__).resolve().parents[2] / "native-server" / "data"


def main() -> None:
    digits = load_digits()
    pixels = digits.data.astype(np.uint8)
    if not np.array_equal(pixels, digits.data) or pixels.shape != (1797, 64) or pixels.max() != 16:
        raise SystemExit("scikit-learn's digits are not 1,797 × 64 whole numbers in 0..=16")
    np.save(DATA / "digits.npy", pixels)
    np.save(DATA / "digit-labels.npy", digits.target.astype(np.uint8))


if __name__ == "__main__":
    main()
