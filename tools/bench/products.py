"""Floating-point operations of a traced program: its matrix products and convolutions, each as often as it runs.

What XLA counts is of the program that it made, with the body of a loop once; this is of the program as it was written.
Of `platform_dependent` it takes the branch for any platform; a component that looks at the backend itself
(`level3_vision.conv`: Winograd's products on a CPU, fewer than the convolution's) counts as it is here.  Elementwise
work and sorts are left out: trees, for example, have no product at all and count 0.
"""
import math

from jax.extend import core

__all__ = ['count']


def _dot(eqn) -> float:
    """2 m k n, for each of a batch."""
    (contracted, _), _ = eqn.params['dimension_numbers']
    lhs = eqn.invars[0].aval.shape
    return 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(lhs[i] for i in contracted)


def _conv(eqn) -> float:
    """2 per number of the output and per place and input channel of a filter, borders included; zeros that a dilation
    puts between the numbers of the input (the gradient of a stride) are not multiplied."""
    out_features = eqn.invars[1].aval.shape[eqn.params['dimension_numbers'].rhs_spec[0]]
    taps = math.prod(eqn.invars[1].aval.shape) / out_features
    return 2.0 * math.prod(eqn.outvars[0].aval.shape) * taps / math.prod(eqn.params['lhs_dilation'])


def _inner(eqn) -> list:
    """The programs inside of an equation."""
    found = []
    for value in eqn.params.values():
        for v in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(v, (core.Jaxpr, core.ClosedJaxpr)):
                found.append(v)
    return found


def _branch(eqn) -> float | None:
    """Of a choice by platform the branch for the others, of any other the dearest."""
    platforms = eqn.params.get('branches_platforms')
    branches = [count(b) for b in eqn.params['branches']]
    if platforms is not None:
        return branches[platforms.index(None)]
    return None if None in branches else max(branches)


def count(jaxpr) -> float | None:
    """FLOPs of a (Closed)Jaxpr; None where a loop whose length is known only when it runs has a product in it."""
    total = 0.0
    for eqn in getattr(jaxpr, 'jaxpr', jaxpr).eqns:
        name = eqn.primitive.name
        if name == 'dot_general':
            n = _dot(eqn)
        elif name == 'conv_general_dilated':
            n = _conv(eqn)
        elif name == 'cond':
            n = _branch(eqn)
        else:
            inside = [count(j) for j in _inner(eqn)]
            n = None if None in inside else sum(inside)
            if name == 'scan' and n is not None:
                n *= eqn.params['length']
            elif name == 'while' and n:
                n = None
        if n is None:
            return None
        total += n
    return total
