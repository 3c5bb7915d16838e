"""`SAMRefinement` beside a stub for SAM's encoder."""

from stub_guide import StubGuide

from sclip_seg.picture.refine.sam import SAMRefinement


def refinement_by(checkpoint: str | None, **options: object) -> SAMRefinement:
    """The refinement by a checkpoint's decoder."""
    return SAMRefinement(checkpoint, guide=dict(type=StubGuide), **options)
