"""What the author of a method needs, and nothing else.

Nothing here runs, records or places anything.

A method answers four questions: which part of the server's model does each client get (:meth:`Method.select` and
:meth:`Method.extract`), how do the parts come back (:meth:`Method.aggregate`), and what is the full model
(:meth:`Method.full_model`). Everything else (data, batches, optimiser, evaluation, costs) belongs to the harness, so
that two methods differ only where their papers differ. What a method may say beyond that lies in a class for each that
asks: :class:`LocalTraining`, :class:`Exchange`, :class:`Evaluated`, :class:`Draws`, :class:`Claims`.

A file in ``methods/``, or one named with ``--plugin``, that defines a subclass of :class:`Method` is found without
any registration.
"""

from bench.api.claims import Claims
from bench.api.draws import Draws
from bench.api.evaluation import Evaluated
from bench.api.exchange import Exchange
from bench.api.local_training import LocalTraining
from bench.api.method import Method
from bench.api.values import Client, Cohort, Measures, Selection, Server, Skip, Update, copy_of
from bench.parameters import parameter
from bench.seeding import Streams

__all__ = [
    "Claims",
    "Client",
    "Cohort",
    "Draws",
    "Evaluated",
    "Exchange",
    "LocalTraining",
    "Measures",
    "Method",
    "Selection",
    "Server",
    "Skip",
    "Streams",
    "Update",
    "copy_of",
    "parameter",
]
