"""Our side of time to accuracy: through `loop.fit`, looked at every so many steps."""
import functools
import time

import jax
import optax

from common import data, datasets, loop, strategies, tasks
from common.evaluate import evaluator
from common.wrappers import with_augment, with_transform
from levels.level3_vision.augment import random_crop
from levels.level3_vision.lenet import LeNet5
from projects.level3_cifar10 import config, experiment, models
from tools.bench import inputs
from tools.bench.forms import Pair


def mnist_to_99(pair: Pair, dataset: datasets.Dataset):
    rate = models.one_cycle(pair.sizes['rate'], pair.sizes['climb'], pair.repeats * pair.steps)
    shifts = functools.partial(random_crop, padding=pair.sizes['crop'])
    task = with_augment(tasks.classifier(LeNet5(), optax.adam(rate)), shifts)
    return with_transform(task, inputs.scaled), pair.steps


def cifar10_to_60(pair: Pair, dataset: datasets.Dataset):
    c = config.get_config('subset')
    return models.build(c, c.model, c.steps, *experiment.pixels(dataset.train['image'])), c.steps_per_call


WORK = {'mnist_to_99': (mnist_to_99, 'mnist'), 'cifar10_to_60': (cifar10_to_60, 'cifar10_subset')}


def serve(pair: Pair, bell, data_dir: str) -> None:
    make, name = WORK[pair.name]
    seed, dataset = pair.sizes['seed'], datasets.load(name, data_dir=data_dir)
    task, chunk = make(pair, dataset)
    score = evaluator(task, dataset.test, batch_size=min(1000, len(dataset.test['label'])))
    began = time.perf_counter()

    def resumed(_: int) -> None:    # compiled, and before the first step
        bell.send(ready={'compile_s': time.perf_counter() - began, 'steps_per_call': chunk})
        bell.wait()

    def look(step: int, carry) -> None:
        bell.report(lambda: {'accuracy': float(score(carry)['accuracy'])})
        bell.wait()

    order = data.Order(len(dataset.train['label']), pair.sizes['batch'], seed=seed)
    loop.fit(task, data.resident(dataset.train, order), steps=pair.repeats * pair.steps, key=jax.random.key(seed),
             strategy=strategies.jit(), steps_per_call=chunk, hooks=[loop.Hook(pair.steps, look)], resumed=resumed)
