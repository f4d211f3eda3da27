"""The loader: its batches, its thread, and its place in the data."""

import gc
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings

import numpy as np
import pytest

from pydl import random as pydl_random
from pydl.autograd import Tensor
from pydl.data import (
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    default_collate,
)
from pydl.random import Generator


def numbers(count: int) -> TensorDataset:
    return TensorDataset(np.arange(count, dtype=np.float32)[:, None], np.arange(count))


def labels_of(loader: DataLoader) -> list[list[int]]:
    return [batch[1].numpy().tolist() for batch in loader]


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "pydl-loader"]


class Samples(Dataset):
    """A data set without gather; `fault` runs before each sample."""

    def __init__(self, count, fault=lambda index: None):
        self.count, self.fault = count, fault

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.fault(index)
        return np.full((2,), index, np.float32), index


@pytest.mark.parametrize("prefetch", [0, 1, 2, 50])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("count", "batch_size"), [(10, 3), (9, 3), (2, 5), (0, 4), (1, 1)])
def test_batches(count, batch_size, drop_last, prefetch):
    for data in (numbers(count), Samples(count)):
        loader = DataLoader(data, batch_size, drop_last=drop_last, prefetch=prefetch)
        whole = [list(range(count))[i : i + batch_size] for i in range(0, count, batch_size)]
        wanted = [b for b in whole if len(b) == batch_size or not drop_last]
        assert labels_of(loader) == wanted
        assert len(loader) == len(wanted) == len(iter(loader))
    assert not loader_threads()


def test_batches_are_tuples_of_tensors():
    for data in (numbers(4), Samples(4)):
        (batch,) = DataLoader(data, batch_size=4)
        assert isinstance(batch, tuple)
        assert all(isinstance(part, Tensor) for part in batch)
        assert batch[1].numpy().dtype == np.int64


def test_order_depends_on_the_seed_alone():
    def epochs(data, **options):
        loader = DataLoader(data, 4, True, generator=Generator(7), **options)
        return [labels_of(loader) for _ in range(3)]

    wanted = epochs(numbers(23), prefetch=0)
    assert sorted(label for batch in wanted[0] for label in batch) == list(range(23))
    assert wanted[0] != wanted[1] != wanted[2]
    for options in ({}, {"prefetch": 1}, {"prefetch_factor": 9}, {"num_workers": 3}):
        assert epochs(numbers(23), **options) == wanted
    assert epochs(Samples(23)) == wanted
    assert epochs(numbers(23), transform=lambda x, generator: x) == wanted
    assert epochs(numbers(23), collate_fn=default_collate) == wanted
    # Drawing elsewhere while the batches are made changes nothing.
    generator = Generator(7)
    loader = DataLoader(numbers(23), 4, shuffle=True, generator=generator)
    seen = []
    for batch in loader:
        generator.numpy.random(100)
        seen.append(batch[1].numpy().tolist())
    assert seen == wanted[0]


def test_the_default_generator_is_the_iterating_threads():
    loader = DataLoader(numbers(30), 30, shuffle=True)
    pydl_random.manual_seed(11)
    first = labels_of(loader)
    pydl_random.manual_seed(11)
    labels_of(DataLoader(numbers(30), 7))  # neither shuffled nor transformed: draws nothing
    assert labels_of(loader) == first
    assert labels_of(loader) != first


def test_samplers():
    assert labels_of(DataLoader(numbers(9), 2, sampler=[5, 1, 8])) == [[5, 1], [8]]
    assert len(DataLoader(numbers(9), 2, sampler=[5, 1, 8], drop_last=True)) == 1
    by_batch = DataLoader(numbers(9), batch_sampler=[[1], [2, 3]])
    assert labels_of(by_batch) == [[1], [2, 3]]
    assert len(by_batch) == 2


def test_collate_fn_gets_samples():
    loader = DataLoader(numbers(3), 2, collate_fn=lambda samples: [int(y.numpy()) for _, y in samples])
    assert list(loader) == [[0, 1], [2]]


def test_an_overridden_getitem_is_not_passed_by():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return Tensor(2 * x.numpy()), y

    (batch,) = DataLoader(Doubled(*numbers(3).tensors), 3)
    assert batch[0].numpy()[:, 0].tolist() == [0, 2, 4]
    (batch,) = DataLoader(Subset(Doubled(*numbers(3).tensors), [2]), 3)
    assert batch[0].numpy()[:, 0].tolist() == [4]


def test_transform_repeats_itself_for_any_prefetch():
    def noisy(x, generator):
        return x + generator.numpy.random(x.shape, dtype=np.float32)

    def epoch(prefetch, data):
        loader = DataLoader(data, 3, True, generator=Generator(1), prefetch=prefetch, transform=noisy)
        return [np.concatenate([x.numpy() for x, *_ in loader]) for _ in range(2)]

    wanted = epoch(0, numbers(10))
    for prefetch in (1, 2, 9):
        assert np.array_equal(wanted, epoch(prefetch, numbers(10)))
    assert np.unique(wanted[0] % 1).size == 10  # a batch has its own draws
    alone = DataLoader([Tensor(np.zeros(2))] * 2, 2, transform=lambda x, generator: x + 1)
    assert next(iter(alone)).numpy().tolist() == [[1, 1], [1, 1]]
    with pytest.raises(TypeError, match="transform needs batches that are a tensor"):
        list(DataLoader(["a"], transform=noisy))


# ---- the loader's thread ----


def no_threads_soon() -> bool:
    gc.collect()
    end = time.monotonic() + 5
    while loader_threads() and time.monotonic() < end:
        time.sleep(0.01)
    return not loader_threads()


class Drawing(Samples):
    """A data set that draws random numbers as it makes samples."""

    transform = None

    def __getitem__(self, index):
        return pydl_random.default_generator().numpy.random(2), index


def test_what_a_data_set_draws_follows_the_seed():
    def epoch(seed, **options):
        loader = DataLoader(Drawing(10), 3, generator=Generator(seed), **options)
        batches = list(loader)
        order = np.argsort(np.concatenate([y.numpy() for _, y in batches]))
        return np.concatenate([x.numpy() for x, _ in batches])[order]

    wanted = epoch(1, shuffle=True, prefetch=0)
    assert np.array_equal(epoch(1, shuffle=True), wanted)
    assert not np.array_equal(epoch(2, shuffle=True), wanted)
    assert np.unique(wanted).size == 20
    Drawing.transform = len  # it says that it changes its samples: no shuffling is needed
    try:
        assert np.array_equal(epoch(1, prefetch=0), epoch(1, prefetch=5))
    finally:
        Drawing.transform = None


def test_making_batches_leaves_the_default_generator_alone():
    pydl_random.manual_seed(3)
    expected = pydl_random.default_generator().numpy.random(3)
    pydl_random.manual_seed(3)
    before = pydl_random.default_generator()
    list(DataLoader(Drawing(10), 3, shuffle=True, generator=Generator(1), prefetch=0))
    assert pydl_random.default_generator() is before
    assert np.array_equal(before.numpy.random(3), expected)

    def fault(index):
        raise KeyError(index)

    with pytest.raises(KeyError):
        list(DataLoader(Samples(3, fault), shuffle=True, generator=Generator(1), prefetch=0))
    assert pydl_random.default_generator() is before


@pytest.mark.parametrize("prefetch", [0, 2])
def test_exceptions_arrive_with_their_traceback(prefetch):
    def fault(index):
        if index == 5:
            raise KeyError("sample five is broken")

    loader = DataLoader(Samples(9, fault), 2, prefetch=prefetch)
    iterator = iter(loader)
    assert [next(iterator)[1].numpy().tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(KeyError, match="sample five") as caught:
        next(iterator)
    text = "".join(traceback.format_exception(caught.value))
    assert "in fault" in text
    assert "__getitem__" in text
    assert loader.state_dict()["batch"] == 2
    del caught
    assert no_threads_soon()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_stop_iteration_does_not_end_the_loop_unseen(prefetch):
    def fault(index):
        raise StopIteration

    iterator = iter(DataLoader(Samples(3, fault), prefetch=prefetch))
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        next(iterator)
    assert list(iterator) == []
    assert no_threads_soon()


def test_leaving_early_ends_the_thread():
    for _ in DataLoader(numbers(1000)):
        break
    assert no_threads_soon()
    iterator = iter(DataLoader(numbers(1000)))
    assert loader_threads()
    del iterator
    assert no_threads_soon()

    def interrupted():
        for _ in DataLoader(numbers(1000)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert no_threads_soon()


def test_several_iterators_at_once():
    loader = DataLoader(numbers(20), 3, shuffle=True, generator=Generator(2))
    one, two = iter(loader), iter(loader)
    a, b = [], []
    for x, y in zip(one, two, strict=True):
        a += x[1].numpy().tolist()
        b += y[1].numpy().tolist()
    assert sorted(a) == sorted(b) == list(range(20))
    assert a != b
    nested = [(int(x[1].numpy()[0]), int(y[1].numpy()[0])) for x in loader for y in loader]
    assert len(nested) == 49
    assert no_threads_soon()


def test_no_more_is_made_ahead_than_asked():
    made = []
    iterator = iter(DataLoader(Samples(50, made.append), 1, prefetch=3))
    time.sleep(0.2)
    assert len(made) == 3
    next(iterator)
    time.sleep(0.2)
    assert len(made) == 4


@pytest.mark.parametrize("where", ["loop", "exit"])
def test_ctrl_c_and_exit_are_prompt(where):
    script = f"""
import _thread, sys, threading, time
import numpy as np
from pydl.data import DataLoader, TensorDataset
class Slow:
    def __len__(self): return 1000
    def __getitem__(self, index):
        time.sleep(0.02)
        return np.zeros(3)
iterator = iter(DataLoader(Slow(), 10))
next(iterator)
if {where == "loop"}:
    threading.Timer(0.1, _thread.interrupt_main).start()
    try:
        for _ in iterator: pass
    except KeyboardInterrupt:
        print("interrupted")
    begin = time.monotonic()
    del iterator
    assert time.monotonic() - begin < 3
    assert not [t for t in threading.enumerate() if t.name == "pydl-loader"]
print("end")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.split() == (["interrupted", "end"] if where == "loop" else ["end"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_told_and_does_not_hang():
    iterator = iter(DataLoader(Samples(20, lambda index: time.sleep(0.01)), 1, prefetch=1))
    next(iterator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: what is tested
        child = os.fork()
    if child == 0:
        try:
            list(iterator)
        except RuntimeError as error:
            os._exit(7 if "forked process" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert len(list(iterator)) == 19


# ---- the place in the data ----


@pytest.mark.parametrize("own", [True, False], ids=["own generator", "default generator"])
@pytest.mark.parametrize("stop", [0, 1, 3, 6])
def test_resume_in_the_middle_of_an_epoch(stop, own):
    def loader(seed):
        if not own:
            pydl_random.manual_seed(seed)
        return DataLoader(
            numbers(17),
            3,
            shuffle=True,
            generator=Generator(seed) if own else None,
            transform=lambda x, generator: x + generator.numpy.random(dtype=np.float32),
        )

    def rest(iterator):
        return [x.numpy().tolist() for x, _ in iterator]

    first = loader(5)
    list(first)
    iterator = iter(first)
    for _ in range(stop):
        next(iterator)
    place, state = first.state_dict(), pydl_random.get_rng_state()
    wanted = [rest(iterator), rest(first)]
    second = loader(99)
    second.load_state_dict(place)
    pydl_random.set_rng_state(state)
    assert second.state_dict()["batch"] == stop
    assert [rest(second), rest(second)] == wanted
    assert len(wanted[0]) == 6 - stop


def test_place_between_epochs_begins_a_new_one():
    first = DataLoader(numbers(9), 2, shuffle=True, generator=Generator(5))
    list(first)
    place = first.state_dict()
    assert (place["seed"], place["batch"]) == (None, 0)
    wanted = labels_of(first)
    second = DataLoader(numbers(9), 2, shuffle=True, generator=Generator(6))
    second.load_state_dict(place)
    assert labels_of(second) == wanted


@pytest.mark.parametrize("kind", ["sampler", "batch_sampler"])
def test_a_samplers_order_is_part_of_the_place(kind):
    class Draws:
        def __iter__(self):
            order = pydl_random.default_generator().numpy.permutation(9)
            return iter(order.tolist() if kind == "sampler" else np.array_split(order, 5))

        def __len__(self):
            return 9 if kind == "sampler" else 5

    def loader():
        return DataLoader(numbers(9), **{kind: Draws()}, **({"batch_size": 2} if kind == "sampler" else {}))

    first, second = loader(), loader()
    iterator = iter(first)
    next(iterator)
    place = first.state_dict()
    wanted = labels_of(iterator)
    assert len(wanted) == 4
    pydl_random.manual_seed(99)
    second.load_state_dict(place)
    assert labels_of(second) == wanted
    assert second.state_dict()["order"] is None
    with pytest.raises(ValueError, match="order: str"):
        second.load_state_dict({**place, "order": "forwards"})


def test_bad_places_change_nothing():
    loader = DataLoader(numbers(9), 2, shuffle=True, generator=Generator(5))
    good = loader.state_dict()
    for change, text in [
        ({"samples": 8}, r"this loader has .*9.* got .*8"),
        ({"batch_size": 3}, "this loader has"),
        ({"batch": -1}, "not a place"),
        ({"seed": 1.5}, "not a place"),
        ({"more": 1}, "expects entries"),
        ({"generator": Tensor(np.zeros(3, np.uint8))}, "expects shape"),
    ]:
        with pytest.raises(ValueError, match=text):
            loader.load_state_dict({**good, **change})
    assert labels_of(loader) == labels_of(DataLoader(numbers(9), 2, True, generator=Generator(5)))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": -(2**63)}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer, got 1.5"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
        ({"batch_size": None}, TypeError, "batch_size must be an integer, got None"),
        ({"prefetch": -1}, ValueError, "prefetch must be at least 0"),
        ({"prefetch_factor": -1}, ValueError, "prefetch_factor must be at least 0"),
        ({"num_workers": -1}, ValueError, "num_workers must be at least 0"),
        ({"shuffle": True, "sampler": [0]}, ValueError, "sampler and shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, ValueError, "batch_sampler excludes"),
        ({"generator": np.random.default_rng(0)}, TypeError, "expects a pydl.Generator"),
        ({"dataset": 3}, TypeError, "must have len and .index., got int"),
    ],
)
def test_bad_loaders(options, error, text):
    with pytest.raises(error, match="DataLoader: .*" + text):
        DataLoader(**{"dataset": numbers(4), **options})


def test_huge_batch_size_is_one_batch():
    for size in (2**31, 2**63 - 1, 10**30):
        assert labels_of(DataLoader(numbers(3), size)) == [[0, 1, 2]]
