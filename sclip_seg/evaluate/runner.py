"""The loop over the pictures of a run: what cannot be read or scored is named, and passed over where that is allowed.

A file that is no good costs that file. In the workers, a fault becomes a value and travels with its batch; the other
pictures of the batch are scored and kept before anything is said about it.
"""

import logging
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from mmengine.dist import all_gather_object
from mmengine.runner import Runner, TestLoop
from mmengine.runner.amp import autocast

from ..errors import InputError
from ..files import reason_of


@contextmanager
def building() -> Iterator[None]:
    """Raises InputError with whatever the parts of a config say of a value of the wrong kind."""
    try:
        yield
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(f"the config does not build: {error} ({place.filename}, line {place.lineno})") from error


@dataclass(frozen=True)
class BadFile:
    """A picture that was not scored, by its index in the dataset, and why: the reason names the file."""

    index: int
    picture: str
    reason: str


class Evaluation(Runner):
    """mmengine's runner with a loop that passes over up to `skip_bad` pictures, all ranks together.

    It writes no config into the work folder: an older result may lie there, to which that would not belong.
    """

    skip_bad = 0

    def dump_config(self) -> None:
        """Nothing: `sharing.Journal` keeps the config of a run, and `work_folder.keep_result` that of a result."""

    def _log_env(self, env_cfg: dict) -> None:
        """mmengine's, which asks compilers for their versions, where anybody reads it."""
        if self.logger.isEnabledFor(logging.INFO):
            super()._log_env(env_cfg)

    def build_test_loop(self, loop: TestLoop | dict) -> TestLoop:
        """mmengine's own loop is replaced by the one here; any other is taken as it is."""
        if not isinstance(loop, dict) or loop.get("type") != "TestLoop":
            return super().build_test_loop(loop)
        keys = {key: value for key, value in loop.items() if key != "type"}
        return ForgivingLoop(self, self._test_dataloader, self._test_evaluator, **keys)


class ForgivingLoop(TestLoop):
    """`skipped` are the pictures that were passed over, of all ranks once the run is through, in their order."""

    def __init__(self, runner: Evaluation, *arguments, **keys) -> None:
        super().__init__(runner, *arguments, **keys)
        self.skipped: list[BadFile] = []
        dataset = self.dataloader.dataset
        dataset.pipeline = Named(dataset.pipeline)
        self.dataloader.collate_fn = partial(sort_out, self.dataloader.collate_fn)

    def run(self) -> dict:
        """The metrics over what could be scored. Raises InputError for more bad files than are allowed."""
        self.begin()
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
        return self.end()

    def begin(self) -> None:
        """What comes before the first picture."""
        self.runner.call_hook("before_test")
        self.runner.call_hook("before_test_epoch")
        self.runner.model.eval()

    def end(self) -> dict:
        """The metrics, after the last picture; all ranks together."""
        shares = all_gather_object(self.skipped)
        self.skipped = sorted((bad for share in shares for bad in share), key=lambda bad: bad.index)
        if len(self.skipped) > self.runner.skip_bad:
            raise self._refusal(self.skipped[-1], len(self.skipped) - 1)
        total = len(self.dataloader.dataset)
        if len(self.skipped) == total:
            raise InputError(f"none of the {total} pictures could be scored; the first: {self.skipped[0].reason}")
        metrics = self.evaluator.evaluate(total - len(self.skipped))
        self.runner.call_hook("after_test_epoch", metrics=metrics)
        self.runner.call_hook("after_test")
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Scores a batch, picture by picture; what is no good is passed over when the others are done."""
        bad = data_batch.pop("bad", [])
        if "inputs" not in data_batch:
            raise InputError("test_dataloader.dataset.pipeline gives no picture: it ends with PackSegInputs")
        if data_batch["inputs"]:
            self.runner.call_hook("before_test_iter", batch_idx=idx, data_batch=data_batch)
            with autocast(enabled=self.fp16):
                outputs = self.runner.model.test_step(data_batch)
            good = []
            for place, sample in enumerate(outputs):
                try:
                    self.evaluator.process(data_samples=[sample], data_batch=data_batch)
                    good.append(place)
                except InputError as error:
                    bad.append(BadFile(sample.sample_idx, sample.img_path, str(error)))
            outputs = [outputs[place] for place in good]
            data_batch = {key: [values[place] for place in good] for key, values in data_batch.items()}
            self.runner.call_hook("after_test_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)
        for one in bad:
            self._pass_over(one)

    def _pass_over(self, bad: BadFile) -> None:
        if len(self.skipped) >= self.runner.skip_bad:
            raise self._refusal(bad, len(self.skipped))
        self.skipped.append(bad)
        warnings.warn(f"passed over: {bad.reason}", UserWarning, stacklevel=2)

    def _refusal(self, bad: BadFile, before: int) -> InputError:
        so_far = f", which makes {before + 1} with those passed over before" if before else ""
        return InputError(
            f"{bad.reason}{so_far}. Mend or replace it and go on with --resume, or pass over such files with "
            f"--skip-bad {before + 1} or more"
        )


class Named:
    """A dataset's pipeline that gives a `BadFile` where a step fails, and says of which picture."""

    def __init__(self, pipeline: Callable[[dict], dict]) -> None:
        self.pipeline = pipeline

    def __call__(self, info: dict) -> dict | BadFile:
        picture, label, index = info["img_path"], info.get("seg_map_path"), info["sample_idx"]
        try:
            return self.pipeline(info)
        except InputError as error:
            return BadFile(index, picture, str(error))
        except MemoryError:  # no fault of the file
            raise
        except Exception as error:  # the decoders and steps raise what they like
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{reason_of(error, picture)} ({type(error).__name__}, {where.filename}, line {where.lineno})"
            return BadFile(index, picture, f"the picture {picture} or its label map {label} cannot be used: {what}")


def sort_out(collate: Callable[[Sequence], dict], batch: Sequence[dict | BadFile]) -> dict:
    """A batch of what could be read, with the others under `bad`."""
    good = [sample for sample in batch if not isinstance(sample, BadFile)]
    bad = [sample for sample in batch if isinstance(sample, BadFile)]
    return {**(collate(good) if good else {"inputs": [], "data_samples": []}), "bad": bad}
