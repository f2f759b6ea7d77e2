"""What is on the machine's screen, for those who look at it: pictures, recordings, the page of ``nopage watch``.

The screen is that of the first card with a method ``picture() -> (width, height, red-green-blue bytes) or None``
(machine/hardware/cards/display.py; one of yours may have it too).  While the card shows no graphics, it is the
80 by 25 characters at 0xb8000, as the firmware left them or the guest wrote them through /dev/mem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Optional

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


class Picture(NamedTuple):
    """A screen full of pixels."""

    width: int
    height: int
    pixels: bytes
    """``3 * width * height`` bytes: red, green and blue, line after line."""


def find_display(kernel: Kernel) -> Any:
    """The card with the screen; None on a board without one."""
    kernel.bus.wake()
    return next((each for each in kernel.pci_host.functions() if hasattr(each, "picture")), None)


class Screen:
    """The screen of one machine.  To be used in the thread that runs it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._card: Any = None
        self._seen: Any = None

    @property
    def there(self) -> bool:
        """Whether the board has a display at all."""
        if self._card is None:
            self._card = find_display(self._kernel)
        return self._card is not None

    def look(self) -> Optional[Picture]:
        """What is shown now; None without a display."""
        if not self.there:
            return None
        shown = self._card.picture()
        return self._text() if shown is None else Picture(*shown)

    def changed(self) -> Optional[Picture]:
        """What is shown now, when that is not what it was at the last call; else None."""
        if not self.there:
            return None
        visible = getattr(self._card, "visible", self._card.picture)()
        if visible is None:
            visible = self._cells()
        if visible == self._seen:
            return None
        self._seen = visible
        return self.look()

    def _cells(self) -> bytes:
        from machine.screen.text import CELLS, TEXT_MEMORY

        return bytes(self._kernel.ram.view[TEXT_MEMORY : TEXT_MEMORY + CELLS])

    def _text(self) -> Picture:
        from machine.screen.text import HEIGHT, WIDTH, text_pixels

        return Picture(WIDTH, HEIGHT, text_pixels(self._cells()))
