"""Images wait until there is room for their pixels, in the order in which they came."""

import threading
import time

import pytest

from service.model.room import PixelRoom


class Holder(threading.Thread):
    """Holds room until it is told to leave."""

    def __init__(self, room, pixels):
        super().__init__(daemon=True)
        self.room, self.pixels = room, pixels
        self.inside, self.leave = threading.Event(), threading.Event()
        self.start()

    def run(self):
        with self.room.hold(self.pixels):
            self.inside.set()
            self.leave.wait(10)

    def end(self):
        self.leave.set()
        self.join(10)


def test_images_that_fit_are_decoded_at_the_same_time():
    room = PixelRoom(10)
    holders = [Holder(room, pixels) for pixels in (5, 3, 2, 0)]
    assert all(holder.inside.wait(5) for holder in holders)
    for holder in holders:
        holder.end()


def test_an_image_waits_until_there_is_room():
    room = PixelRoom(10)
    first = Holder(room, 6)
    assert first.inside.wait(5)
    second = Holder(room, 5)
    assert not second.inside.wait(0.1)
    first.end()
    assert second.inside.wait(5)
    second.end()


def test_one_image_that_is_larger_than_the_room_has_it_for_itself():
    room = PixelRoom(10)
    large = Holder(room, 1000)
    assert large.inside.wait(5)
    small = Holder(room, 1)
    assert not small.inside.wait(0.1)
    large.end()
    assert small.inside.wait(5)
    small.end()


def test_small_images_do_not_overtake_a_large_one():
    room = PixelRoom(10)
    running = Holder(room, 5)
    assert running.inside.wait(5)
    large = Holder(room, 10)
    time.sleep(0.1)
    small = Holder(room, 1)
    assert not small.inside.wait(0.1)
    running.end()
    assert large.inside.wait(5)
    assert not small.inside.wait(0.1)
    large.end()
    assert small.inside.wait(5)
    small.end()


def test_a_failure_frees_its_room():
    room = PixelRoom(10)
    with pytest.raises(ValueError, match="damaged"), room.hold(10):
        raise ValueError("damaged")
    with room.hold(10):
        pass


def test_many_threads_never_hold_more_than_there_is():
    room, lock, held, peak = PixelRoom(10), threading.Lock(), 0, 0

    def decode(seed):
        nonlocal held, peak
        for turn in range(50):
            pixels = 1 + (7 * seed + 3 * turn) % 10
            with room.hold(pixels):
                with lock:
                    held += pixels
                    peak = max(peak, held)
                time.sleep(0.0002)
                with lock:
                    held -= pixels

    threads = [threading.Thread(target=decode, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert held == 0
    assert 5 < peak <= 10
