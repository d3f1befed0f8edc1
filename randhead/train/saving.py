"""Saving in the background: the next step waits until the state is copied, and a thread writes the copy.

One checkpoint is written at a time.  An error of the thread is raised by the next call that waits for it: the next
save, or the end of the training.
"""

from collections.abc import Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any

import torch
from torch import Tensor, nn

from randhead import runs
from randhead.config import Config
from randhead.config.resolved import ResolvedSettings
from randhead.errors import DivergedError, RunError
from randhead.runs import Run, SelectedEpoch, checkpoint, own_files, replacement
from randhead.train import log
from randhead.train.state import TrainState, optimiser_tensors


class Saver:
    """Writes the checkpoints of a training, and the weights of its best epochs, in a thread.

    A context, at whose end nothing is being written any more, however the training ends.

    Args:
        config: the configuration, which every file contains.
        settings: the resolved settings, likewise.
    """

    def __init__(self, config: Config, settings: ResolvedSettings):
        self.config, self.settings = config, settings
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saving")
        self._writing: Future[Run] | None = None
        self._copies: dict[str, Tensor] = {}  # of the last checkpoint: new memory takes twice as long to fill
        self._model_of: int | None = None  # the epoch whose weights were written as those of the run

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, *exc: object) -> None:
        # Its error is not raised: the training has waited for it already, or ends with another error.
        self._thread.shutdown()

    def wait(self) -> Run | None:
        """Wait until nothing is being written.

        Returns:
            The run of the checkpoint that was being written, if there was one.

        Raises:
            DivergedError: if one of its weights is not a finite number; nothing of it was written.
            RunError: if it could not be written.
        """
        if self._writing is None:
            return None
        wait_for([self._writing])  # if a signal interrupts this, it is still being written
        writing, self._writing = self._writing, None
        return writing.result()

    def save(
        self, run: Run, state: TrainState, model: nn.Module, optimizer: torch.optim.Optimizer, *, is_best: bool = False
    ) -> Run:
        """Copy the state of a training and begin to write its checkpoint, once the one before is written.

        Args:
            run: the run.
            state: the progress of the training.
            model: the model.
            optimizer: the optimiser.
            is_best: whether the model has the best weights of `state`: they are written as those of the run too, after
                the checkpoint.

        Returns:
            The run: after the first checkpoint of a training that replaces another one, which is waited for since it
            moves the folder, it is the replaced one.

        Raises:
            DivergedError: if a weight of the checkpoint before is not a finite number.
            RunError: if the checkpoint before could not be written.
        """
        self.wait()
        description = runs.describe(self.config, self.settings)
        weights = checkpoint.prefixed(state.best_weights if is_best else model.state_dict(), "model/")
        tensors = {
            **(weights if is_best else host_copies(weights, self._copies)),
            **checkpoint.prefixed(state.best_weights, "best/"),  # which nothing changes
            **host_copies(checkpoint.prefixed(optimiser_tensors(optimizer), "optim/"), self._copies),
        }
        copied = _event(model)
        document = {**description, "progress": state.to_json()}
        selected = state.best if is_best else None
        self._writing = self._thread.submit(self._write, run, state.step, tensors, document, selected, copied)
        if replacement.is_staged(run):
            return self.wait() or run
        return run

    def save_model(self, run: Run, state: TrainState) -> None:
        """Write the best weights as those of the run, unless that was done with their checkpoint.

        Raises:
            DivergedError: if a weight of the last checkpoint is not a finite number.
            RunError: if the last checkpoint or the weights could not be written.
        """
        self.wait()
        selected = state.selected()
        if self._model_of == selected.epoch:
            return
        if self.config.machine.checkpoint_epochs > 1:  # the best epoch may be one that was not saved
            own_files.delete_results(run)
        self._write_model(run, selected, state.best_weights)

    def _write(
        self,
        run: Run,
        step: int,
        tensors: dict[str, Tensor],
        document: Mapping[str, Any],
        selected: SelectedEpoch | None,
        copied: torch.cuda.Event | None,
    ) -> Run:
        """Write a checkpoint, delete what it replaces, and write the weights of an epoch that was selected."""
        if copied is not None:
            copied.synchronize()
        if not all(tensor.isfinite().all() for name, tensor in tensors.items() if name.startswith("model/")):
            hint = "use a lower `optim.lr` and start over with `fresh=True`"
            raise DivergedError(f"the weights are not finite after step {step}", hint=hint)
        _check_folder(run)
        log.sync(run.metrics_path)
        checkpoint.save(checkpoint.step_path(run.checkpoints, step), tensors, document)
        checkpoint.prune(run.checkpoints, self.config.machine.keep_checkpoints, step=step)
        run = replacement.commit(run)
        if selected is not None:
            own_files.delete_results(run)
            self._write_model(run, selected, checkpoint.select(tensors, "best/"))
        return run

    def _write_model(self, run: Run, selected: SelectedEpoch, weights: Mapping[str, Tensor]) -> None:
        """Write the selected weights with everything that is needed to use them."""
        document = {**runs.describe(self.config, self.settings), "selected": selected.to_json()}
        checkpoint.save(run.model_path, weights, document)
        self._model_of = selected.epoch


def host_copies(tensors: Mapping[str, Tensor], copies: MutableMapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Copy tensors to the host, in the order of the device's work: of a GPU to pinned memory, without waiting for it.

    Args:
        tensors: named tensors.
        copies: earlier copies of the same names, whose memory is used again; new ones are added.

    Returns:
        Tensors of the same names on the CPU, which no later step changes.
    """
    copies = {} if copies is None else copies
    found = {}
    for name, tensor in tensors.items():
        host = copies.get(name)
        if host is None:
            on_gpu = tensor.is_cuda
            host = torch.empty_like(tensor, dtype=tensor.dtype, device="cpu", pin_memory=on_gpu, requires_grad=False)
        found[name] = copies[name] = host.copy_(tensor.detach(), non_blocking=True)
    return found


def _check_folder(run: Run) -> None:
    """Raise RunError if a run folder is gone: writing would make another one, without its configuration."""
    if not run.config_path.exists():
        raise RunError(
            f"{run.path}: moved or deleted while it was trained, so that nothing more is saved",
            hint="the same call resumes it if the folder is put back, else it starts over",
        )


def _event(model: nn.Module) -> torch.cuda.Event | None:
    """An event after the copies from a GPU, for which the thread waits; None on a CPU, where they are done."""
    device = next(model.parameters()).device
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event
