"""IMA ADPCM, 4 bits a sample: how the pre-rendered lines lie on disk, a quarter of their size.

A block is 20 ms and stands alone: int16 predictor, uint8 step index, one byte of padding, then two samples a byte, low
half first. Blocks are decoded side by side, so the loop runs over the samples of one block and not of a whole line.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK_SAMPLES = 480
HEADER_BYTES = 4
BLOCK_BYTES = HEADER_BYTES + BLOCK_SAMPLES // 2

_INDEX_STEP = np.array([-1, -1, -1, -1, 2, 4, 6, 8] * 2, dtype=np.int32)

# fmt: off
_STEP = np.array(
    [
        7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37,
        41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190, 209,
        230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166,
        1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484,
        7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623,
        27086, 29794, 32767,
    ],
    dtype=np.int32,
)
# fmt: on
"""The standard's table of 89 step sizes."""


def decode(packed: bytes) -> NDArray[np.int16]:
    """Unpack whole blocks to little-endian samples.

    Raises:
        ValueError: the length is not a multiple of a block.
    """
    blocks = np.frombuffer(packed, dtype=np.uint8).reshape(-1, BLOCK_BYTES)
    predictor = blocks[:, :2].copy().view("<i2")[:, 0].astype(np.int32)
    index = blocks[:, 2].astype(np.int32)
    body = blocks[:, HEADER_BYTES:]
    codes = np.stack([body & 15, body >> 4], axis=2).reshape(len(blocks), BLOCK_SAMPLES)
    samples = np.empty((len(blocks), BLOCK_SAMPLES), dtype="<i2")
    for position in range(BLOCK_SAMPLES):
        predictor, index = advance(predictor, index, codes[:, position])
        samples[:, position] = predictor
    return samples.reshape(-1)


def encode(samples: NDArray[np.int16]) -> bytes:
    """Pack samples, the last block filled up with silence. Needed only when lines are rendered."""
    padded = np.concatenate([samples, np.zeros(-len(samples) % BLOCK_SAMPLES, dtype=np.int16)]).astype(np.int32)
    blocks = padded.reshape(-1, BLOCK_SAMPLES)
    # Each block begins at its own first sample, with a step that suits its own slope: then none needs its neighbour.
    predictor = blocks[:, 0].copy()
    slope = np.maximum(np.abs(np.diff(blocks[:, :33], axis=1)).mean(axis=1), 1)
    index = np.searchsorted(_STEP, slope).astype(np.int32).clip(0, 88)
    packed = np.zeros((len(blocks), BLOCK_BYTES), dtype=np.uint8)
    packed[:, :2] = predictor.astype("<i2")[:, None].view(np.uint8)
    packed[:, 2] = index
    for position in range(BLOCK_SAMPLES):
        error = blocks[:, position] - predictor
        magnitude = np.minimum((np.abs(error) * 4) // _STEP[index], 7)
        code = (magnitude | np.where(error < 0, 8, 0)).astype(np.uint8)
        packed[:, HEADER_BYTES + position // 2] |= code << (4 * (position % 2))
        predictor, index = advance(predictor, index, code)
    return packed.tobytes()


def advance(
    predictor: NDArray[np.int32], index: NDArray[np.int32], code: NDArray[np.uint8]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """One sample of every block: the next predictor, which is the sample, and the next step index."""
    step = _STEP[index]
    magnitude = (code & 7).astype(np.int32)
    difference = (step >> 3) + (step >> 2) * (magnitude & 1) + (step >> 1) * (magnitude >> 1 & 1)
    difference = difference + step * (magnitude >> 2)
    moved = predictor + np.where(code & 8, -difference, difference)
    return moved.clip(-32768, 32767).astype(np.int32), (index + _INDEX_STEP[code]).clip(0, 88).astype(np.int32)
