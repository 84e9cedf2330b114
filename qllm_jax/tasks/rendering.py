"""A small anti-aliased rasteriser: pictures of environments without a plotting library.

Agent colours are Okabe and Ito's palette in the order in which the report colours its series, so
that agent i looks the same in a frame and in a credit curve.
"""

import numpy as np

BACKGROUND = (252, 252, 250)
GRID = (238, 239, 236)
INK = (31, 35, 40)
MUTED = (107, 114, 128)
SOFT = (206, 210, 216)
AGENT_COLOURS = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
    (0, 0, 0),
)
# 3 x 5 glyphs, one row per character group, "1" is ink.
_GLYPHS = {
    "0": "111 101 101 101 111",
    "1": "010 110 010 010 111",
    "2": "111 001 111 100 111",
    "3": "111 001 011 001 111",
    "4": "101 101 111 001 001",
    "5": "111 100 111 001 111",
    "6": "111 100 111 101 111",
    "7": "111 001 010 010 010",
    "8": "111 101 111 101 111",
    "9": "111 101 111 001 111",
    "-": "000 000 111 000 000",
    "+": "000 010 111 010 000",
    ".": "000 000 000 000 010",
}


def agent_colour(index: int) -> tuple[int, int, int]:
    """Colour of the `index`-th agent."""
    return AGENT_COLOURS[index % len(AGENT_COLOURS)]


def lighter(colour: tuple[int, int, int], amount: float) -> tuple[int, int, int]:
    """`colour` mixed with white; `amount` 1 is white."""
    red, green, blue = (round(part + (255 - part) * amount) for part in colour)
    return red, green, blue


class Canvas:
    """An RGB image in world units, y upwards; shapes are blended with one pixel of softness."""

    def __init__(self, left: float, bottom: float, right: float, top: float, width: int = 320):
        """Args: the world's window; `width` in pixels, the height follows from the aspect."""
        self.scale = width / (right - left)
        self.left, self.top = left, top
        height = round((top - bottom) * self.scale)
        self.image = np.empty((height, width, 3), np.float32)
        self.image[:] = BACKGROUND
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        self._x = left + (columns + 0.5) / self.scale  # world coordinates of pixel centres
        self._y = top - (rows + 0.5) / self.scale

    def _blend(self, distance: np.ndarray, colour, alpha: float) -> None:
        """Paint where the signed distance (world units, negative inside) says so."""
        cover = np.clip(0.5 - distance * self.scale, 0.0, 1.0)[..., None] * alpha
        self.image += cover * (np.asarray(colour, np.float32) - self.image)

    def disc(self, x: float, y: float, radius: float, colour, alpha: float = 1.0) -> None:
        """A filled circle."""
        self._blend(np.hypot(self._x - x, self._y - y) - radius, colour, alpha)

    def ring(self, x, y, radius: float, thickness: float, colour, alpha: float = 1.0) -> None:
        """A circle's outline."""
        distance = np.abs(np.hypot(self._x - x, self._y - y) - radius) - thickness / 2
        self._blend(distance, colour, alpha)

    def line(self, x0, y0, x1, y1, thickness: float, colour, alpha: float = 1.0) -> None:
        """A straight stroke with round ends."""
        dx, dy = x1 - x0, y1 - y0
        along = ((self._x - x0) * dx + (self._y - y0) * dy) / max(dx * dx + dy * dy, 1e-12)
        along = np.clip(along, 0.0, 1.0)
        distance = np.hypot(self._x - x0 - along * dx, self._y - y0 - along * dy)
        self._blend(distance - thickness / 2, colour, alpha)

    def box(self, left, bottom, right, top, colour, alpha: float = 1.0, round_by=0.0) -> None:
        """A filled rectangle with corners rounded by `round_by`."""
        outside_x = np.maximum(left + round_by - self._x, self._x - right + round_by)
        outside_y = np.maximum(bottom + round_by - self._y, self._y - top + round_by)
        corner = np.hypot(np.maximum(outside_x, 0), np.maximum(outside_y, 0))
        inside = np.minimum(np.maximum(outside_x, outside_y), 0)
        self._blend(corner + inside - round_by, colour, alpha)

    def grid(self, step: float, colour=GRID) -> None:
        """Thin lines at whole multiples of `step`."""
        for values in (self._x, self._y):
            distance = np.abs((values / step + 0.5) % 1.0 - 0.5) * step
            self._blend(distance - 0.5 / self.scale, colour, 1.0)

    def text(self, x: float, y: float, height: float, text: str, colour) -> None:
        """Digits and signs, centred at `(x, y)`; other characters are left blank."""
        pixel = max(1, round(height * self.scale / 5))
        width = (4 * len(text) - 1) * pixel
        row = round((self.top - y) * self.scale - 2.5 * pixel)
        column = round((x - self.left) * self.scale - width / 2)
        for character in text:
            for line, bits in enumerate(_GLYPHS.get(character, "").split()):
                for place, bit in enumerate(bits):
                    if bit == "1":
                        top, side = row + line * pixel, column + place * pixel
                        self.image[max(top, 0) : top + pixel, max(side, 0) : side + pixel] = colour
            column += 4 * pixel

    def agent(self, x: float, y: float, radius: float, index: int, label: bool = True) -> None:
        """An agent: a disc in its colour with a white rim and its number."""
        self.disc(x, y, radius, (255, 255, 255))
        self.disc(x, y, radius * 0.9, agent_colour(index))
        if label:
            self.text(x, y, radius * 0.8, str(index), (255, 255, 255))

    def pixels(self) -> np.ndarray:
        """The picture as `[H, W, 3]` uint8."""
        return np.clip(np.round(self.image), 0, 255).astype(np.uint8)
