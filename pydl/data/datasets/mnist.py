"""MNIST and Fashion-MNIST: the four IDX files, mapped into memory where they are not gzipped."""

from __future__ import annotations

import os

from pydl.data.datasets.fetch import download as fetched, extract_archive
from pydl.data.datasets.images import Change, PathLike, StoredImages
from pydl.data.idx import read_mnist


class MNIST(StoredImages):
    """Handwritten digits: 60,000 for training and 10,000 for testing, 28x28 grey pixels.

    The files (see ``pydl.data.mnist`` for their names) lie in ``root/MNIST/raw`` or in ``root`` itself. Files that are
    not gzipped are mapped into memory: what a batch needs is read from disk, and the pages count as cache. They must
    not be cut off while they are in use.

    Args:
        root: The folder.
        train: The training files, else the test files (``t10k``).
        transform: As ``StoredImages`` takes it.
        target_transform: As ``StoredImages`` takes it.
        download: Fetch the files into ``root/MNIST/raw`` if they are not there, checked by the MD5 sums that
            torchvision publishes, and unzip them.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged, or images and labels do not fit each other.
        OSError: A download did not succeed.

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition, 1998.
    """

    url = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    resources = (
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    )
    classes: tuple[str, ...] = (
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    )

    def __init__(
        self,
        root: PathLike,
        train: bool = True,
        transform: Change = None,
        target_transform: Change = None,
        download: bool = False,
    ) -> None:
        folder = os.path.join(os.path.expanduser(os.fspath(root)), type(self).__name__, "raw")
        if download:
            self._download(folder)
        if not os.path.isdir(folder):
            folder = os.path.expanduser(os.fspath(root))
        pixels, labels = read_mnist(folder, train, len(self.classes), where=type(self).__name__, mapped=True)
        super().__init__(root, pixels, labels, transform, target_transform)
        self.train = train

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class."""
        return {name: number for number, name in enumerate(self.classes)}

    def _download(self, folder: str) -> None:
        for name, md5 in self.resources:
            plain = os.path.join(folder, name.removesuffix(".gz"))
            if not os.path.isfile(plain):
                extract_archive(fetched(self.url + name, folder, md5=md5), folder)


class FashionMNIST(MNIST):
    """Pictures of clothes in MNIST's format; the files lie in ``root/FashionMNIST/raw`` or in ``root`` itself.

    Arguments and errors are MNIST's.

    Reference:
        Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms,
        2017.
    """

    url = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    resources = (
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    )
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
