"""Several evaluations that go through one data set together: pictures are read once, and the frozen networks run once.

What is shared is found as it is asked for (`towers.together`): nothing before a tail depends on the method. Tail, text,
stages, refinement, metric, journal and result stay each run's own, and so does its failure: the others go on.
"""

import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from mmengine.config import Config
from mmengine.dist import all_gather_object, get_rank

from ..bars import Bar
from ..command import BAD_INPUT, message_of
from ..errors import InputError, warn_once
from ..registry import Parts, one_of_each
from ..towers.together import Together, sharing
from ..words.text import TextBank
from .hooks import Progress
from .result import short_hash
from .run import Run
from .sharing import segmentor_of

FAULT = 1  # the exit status of a traceback


def in_groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Those that can go together, in their order."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(data_of(run.config), []).append(run)
    return list(groups.values())


def data_of(config: Config) -> str:
    """Names what is read and scored, and how precisely: runs may go together where it is the same."""
    loader = {key: value for key, value in config.test_dataloader.to_dict().items() if key != "sampler"}
    return short_hash([loader, config.test_evaluator, config.get("launcher"), config.model.get("precision")])


class Member:
    """A run of a group, and what has become of it: its `result`, or the `error` that ended it.

    `text` is what is said of it, `status` the exit status that it would have alone.
    """

    def __init__(self, run: Run, printed: set[str]) -> None:
        self.run, self.show = run, warn_once(printed)
        self.result: dict | None = None
        self.error: Exception | None = None
        self.text, self.status = "", 0
        self._place = ExitStack()

    def attempt(self, work: Callable[..., object], *arguments: object) -> None:
        """Does some of the run's work, of which only the run itself bears the consequences."""
        if self.error is not None:
            return
        try:
            with self._noticed():
                work(*arguments)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Ends the run, as it would end alone."""
        self.error, told = error, message_of(error)
        self.status = BAD_INPUT if told else FAULT
        self.text = f"error: {told}" if told else "".join(traceback.format_exception(error))
        self.leave()

    def enter(self) -> None:
        """Takes the run's folder, and builds its runner."""
        self._place.enter_context(self.run.place())
        self.run.build()

    def begin(self) -> None:
        """All that comes before the first picture."""
        runner = self.run.runner
        progress = next(hook for hook in runner.hooks if isinstance(hook, Progress))
        progress.quiet = True
        runner.call_hook("before_run")
        runner.load_or_resume()
        runner.test_loop.begin()
        self.done = runner.test_dataloader.sampler.done

    def see(self, index: int, batch: dict) -> None:
        """Scores those pictures of a batch that it has not yet."""
        samples = batch.get("data_samples", [])
        mine = [place for place, sample in enumerate(samples) if sample.sample_idx not in self.done]
        own = {key: [values[place] for place in mine] for key, values in batch.items() if key != "bad"}
        own["data_samples"] = [sample.new() for sample in own.get("data_samples", [])]
        own["bad"] = [one for one in batch["bad"] if one.index not in self.done]
        if mine or own["bad"]:
            self.run.runner.test_loop.run_iter(index, own)

    def end(self) -> None:
        """The result, once all pictures were seen."""
        metrics = self.run.runner.test_loop.end()
        self.run.runner.call_hook("after_run")
        self.result = self.run.finish(metrics)
        self.text = self.run.report(self.result) if self.result else ""

    def leave(self) -> None:
        """Gives the folder back; of a refused run, what it has put there is gone."""
        error, place = self.error, self._place.pop_all()
        try:
            place.__exit__(type(error), error, error.__traceback__) if error else place.close()
        except Exception as raised:
            if raised is not error:
                raise

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        """Every warning is one of this run's, whoever was warned before."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = self.show
            yield


class Group:
    """Runs over the same data, from their folders to their results. The first error of a run is its own."""

    def __init__(self, runs: Sequence[Run]) -> None:
        printed: set[str] = set()
        self.members = [Member(run, printed) for run in runs]
        for run in runs:
            run.shared_by = len(runs)

    @property
    def alive(self) -> list[Member]:
        """Those that have not ended."""
        return [member for member in self.members if member.error is None and member.result is None]

    def measure(self) -> list[Member]:
        """All members, each with its result or its error. A result is that of the run alone, to the last bit."""
        try:
            with one_of_each(Parts(readers=True)):
                self._each(Member.enter)
            self._each(Member.begin)
            if self.alive:
                self._share_texts()
                self._look()
            self._agree()
            self._each(Member.end)
        finally:
            for member in self.members:
                member.leave()
        return self.members

    def _each(self, work: Callable[[Member], object]) -> None:
        for member in self.alive:
            member.attempt(work, member)

    def _look(self) -> None:
        """Shows every picture to each that has not seen it."""
        together, loader = Together(), self.alive[0].run.runner.test_dataloader
        loader.sampler.done = frozenset.intersection(*(member.done for member in self.alive))
        hidden = get_rank() != 0
        with Bar(total=len(loader.sampler), unit="picture", desc="pictures", hidden=hidden) as bar, sharing(together):
            for index, batch in enumerate(loader):
                for member in self.alive:
                    member.attempt(member.see, index, batch)
                together.forget()
                bar.update(len(batch.get("data_samples", [])) + len(batch["bad"]))
                if not self.alive:
                    return

    def _share_texts(self) -> None:
        """Equal banks of equal words become one, so that what was computed of it is known to be the same."""
        banks: list[TextBank] = []
        for member in self.alive:
            model = segmentor_of(member.run.runner)
            model.text = next((bank for bank in banks if bank.equals(model.text)), model.text)
            banks.append(model.text)

    def _agree(self) -> None:
        """A run that has ended on one rank has ended on all."""
        shares = all_gather_object([member.error is not None for member in self.members])
        for index, member in enumerate(self.members):
            if member.error is None and any(share[index] for share in shares):
                member.fail(InputError("another process of this run has ended it"))
