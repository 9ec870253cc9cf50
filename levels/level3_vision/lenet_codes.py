"""Fixed tables of the original LeNet-5: which maps feed C3, and the ten target codes of its output layer.

Paper: LeCun et al. 1998, section II-B: Table I, and "stylised images" of 7 x 12 pixels as codes, so that characters
    that look alike have codes that are near. The drawings are ours.
Shapes: `digit_codes()` [10, 84], +1 where a pixel is drawn and -1 elsewhere, row by row.

Example:
    from levels.level3_vision.lenet_codes import C3_INPUTS, digit_codes
    codes = digit_codes()
    print(codes.shape, len(C3_INPUTS[0]))                    # (10, 84) 3
    print('\\n'.join(DIGITS[3]))
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

# Table I: six maps see three S2 maps in a row, six see four in a row, three see two pairs, and one sees all.
C3_INPUTS = (
    (0, 1, 2),
    (1, 2, 3),
    (2, 3, 4),
    (3, 4, 5),
    (0, 4, 5),
    (0, 1, 5),
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)

# Twelve rows of seven pixels for each digit; one line of text holds row r of digits 0 to 4, or 5 to 9.
_ROWS_0_TO_4 = """
..###.. ...#... ..####. .#####. ....##.
.#...#. ..##... .#....# #.....# ...###.
#.....# .###... #.....# ......# ...#.#.
#.....# ...#... ......# ......# ..##.#.
#.....# ...#... .....#. .....## ..#..#.
#.....# ...#... ....#.. ..####. .##..#.
#.....# ...#... ...##.. .....## .#...#.
#.....# ...#... ..##... ......# #######
#.....# ...#... .##.... ......# .....#.
#.....# ...#... ##..... ......# .....#.
.#...#. ...#... #...... #....## .....#.
..###.. .#####. ####### .#####. .....#.
"""
_ROWS_5_TO_9 = """
####### ..####. ####### ..###.. .#####.
#...... .##..## ......# .##.##. ##...##
#...... ##..... ......# ##...## #.....#
#...... #...... .....#. #.....# #.....#
#...... #...... .....#. ##...## #.....#
######. #.####. ....#.. .#####. ##...##
.....## ###..## ....#.. .##.##. .####.#
......# ##....# ...##.. ##...## ......#
......# #.....# ...#... #.....# ......#
......# #.....# ..##... #.....# .....##
#....## ##...## ..#.... ##...## ##..##.
.#####. .#####. ..#.... .#####. .####..
"""
DIGITS = tuple(
    rows for block in (_ROWS_0_TO_4, _ROWS_5_TO_9) for rows in zip(*(line.split() for line in block.split('\n')[1:-1]))
)


def digit_codes(dtype: Any = jnp.float32) -> Float[Array, '10 84']:
    """The ten codes as rows of +-1; see the module's card."""
    return jnp.array([[1.0 if pixel == '#' else -1.0 for row in rows for pixel in row] for rows in DIGITS], dtype)
