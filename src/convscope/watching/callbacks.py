"""The same watch as a callback of other trainers: Lightning, and Keras 3 on its torch backend. Neither is imported here.

    trainer = Trainer(callbacks=[LightningCallback()])          trainer.fit(module, loader)
    model.fit(x, y, callbacks=[callback := KerasCallback()])    callback.run.result()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convscope.errors import UsageError

if TYPE_CHECKING:
    from convscope.watch import Watch


class LightningCallback:
    """What does Lightning's loop do? A callback that watches every optimiser of the trainer; `run` is the watch.

    A trainer asks a callback for methods by name. `as_callback()` of a base class is not needed: where Lightning insists on
    its own base, write `class Mine(LightningCallback, lightning.Callback): pass`. `settings`: those of `watch`.

    >>> LightningCallback(full=True).settings
    {'full': True}
    """

    run: Watch | None = None

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    @property
    def state_key(self) -> str:
        return "convscope.watch"

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch."""
        from convscope.watch import Watch

        self.run = Watch(pl_module, list(trainer.optimizers), **self.settings).__enter__()

    def on_train_epoch_end(self, trainer: Any, _module: Any) -> None:
        """An epoch ends; what the trainer has logged by then is noted."""
        if self.run is not None:
            self.run.note(**{_spoken(k): float(v) for k, v in dict(trainer.callback_metrics).items()})
            self.run.epoch()

    def on_train_end(self, _trainer: Any, _module: Any) -> None:
        """Stop."""
        if self.run is not None:
            self.run.close()

    def on_exception(self, trainer: Any, pl_module: Any, _exception: BaseException) -> None:
        """Stop as well; what was seen is kept."""
        self.on_train_end(trainer, pl_module)

    def __getattr__(self, name: str) -> Any:
        """Every other moment of Lightning's loop: nothing to do."""
        if name.startswith(("on_", "setup", "teardown", "state_dict", "load_state_dict")):
            return lambda *_args, **_settings: {} if name == "state_dict" else None
        raise AttributeError(name)


class KerasCallback:
    """What does `model.fit` do, on Keras 3 with the torch backend? A callback; `run` is the watch.

    Keras's optimisers are not torch's, so a step is what lies between the begin and the end of a batch. Errors: UsageError
    for another backend. `settings`: those of `watch`.

    >>> KerasCallback(every=10).settings
    {'every': 10}
    """

    run: Watch | None = None

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.model: Any = None
        self.params: Any = None

    def set_model(self, model: Any) -> None:
        """Keras gives the model."""
        import torch

        if not isinstance(model, torch.nn.Module):
            raise UsageError("the watch sees Keras models on the torch backend", f"got {type(model).__name__}",
                             "set KERAS_BACKEND=torch before keras is imported")
        self.model = model

    def set_params(self, params: Any) -> None:
        """Keras gives epochs and steps."""
        self.params = params

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Begin to watch."""
        from convscope.watch import Watch

        self.run = Watch(self.model, None, **self.settings)
        self.run.own([v.value for v in self.model.trainable_variables], self._rate)
        self.run.__enter__()

    def _rate(self) -> float:
        return float(self.model.optimizer.learning_rate)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """The weights before the step."""
        if self.run is not None:
            self.run.batch_begins()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """The step has been taken; its gradients are still there."""
        if self.run is not None:
            self.run.batch_ends()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """What Keras reports is noted."""
        if self.run is not None:
            self.run.note(**{_spoken(k): float(v) for k, v in (logs or {}).items() if k != "loss"})
            self.run.epoch()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Stop."""
        if self.run is not None:
            self.run.close()

    def __getattr__(self, name: str) -> Any:
        """Every other moment of `fit`, `evaluate` and `predict`: nothing to do."""
        if name.startswith("on_"):
            return lambda *_args, **_settings: None
        raise AttributeError(name)


def _spoken(name: str) -> str:
    """'val_accuracy' is 'held_out_accuracy' here."""
    return "held_out_" + name.removeprefix("val_") if name.startswith("val_") else name
