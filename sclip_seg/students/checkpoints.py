"""Checkpoints of a student hold tensors, numbers and text, so that nobody has to trust one to load it."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class PlainCheckpoints(Hook):
    """mmengine keeps its log's objects in them, and a config that it runs as code when it resumes; here neither is."""

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint["message_hub"] = dict(log_scalars={}, runtime_info={}, resumed_keys={})
        checkpoint["meta"].pop("cfg", None)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint["meta"].pop("config", None)
