"""Prompt template sets, by name; `{}` stands for the query.

`imagenet80`: the 80 of the CLIP paper, as open_clip ships them; SCLIP, ClearCLIP, NACLIP, ResCLIP, SC-CLIP, CLIPtrase,
ProxyCLIP and Trident use them in this order. `imagenet85`: five more, about scenes (MaskCLIP, CLIP Surgery).
`imagenet7`: the seven of them that CLIP's authors found to do best together, as open_clip ships them. `photo`: one
(GEM). `scenes15`: fifteen, of things in scenes and of their sizes (CLIPer). `plain`: the query itself.
For pictures from above, those of CLIP's authors (prompts.md of github.com/openai/CLIP): `eurosat3` of satellites, and
`resisc18` of satellites and aeroplanes.
"""

from open_clip import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

from ..errors import InputError

_IMAGENET = tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
_SCENES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
_SIZED = ("a photo of a {size} {{}}.", "This is a photo of a {size} {{}}.", "There is a {size} {{}} in the scene.")
_FIFTEEN = (
    *("a clean origami {}.", "a photo of a {}.", "This is a photo of a {}", "There is a {} in the scene"),
    *("There is the {} in the scene", "a photo of a {} in the scene"),
    *(template.format(size=size) for size in ("small", "medium", "large") for template in _SIZED),
)
_ABOVE = ("satellite imagery", "aerial imagery", "satellite photo", "aerial photo", "satellite view", "aerial view")
TEMPLATES = {
    "imagenet80": _IMAGENET,
    "imagenet85": _IMAGENET + _SCENES,
    "imagenet7": tuple(template("{}") for template in SIMPLE_IMAGENET_TEMPLATES),
    "photo": ("a photo of a {}.",),
    "scenes15": _FIFTEEN,
    "plain": ("{}",),
    "eurosat3": tuple(f"a centered satellite photo of {article}{{}}." for article in ("", "a ", "the ")),
    "resisc18": tuple(f"{view} of {article}{{}}." for article in ("", "a ", "the ") for view in _ABOVE),
}


def templates(name: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """The set of that name, or the given templates themselves, each with one `{}`."""
    if isinstance(name, str):
        if name not in TEMPLATES:
            raise InputError(f"there is no template set {name!r}; choose one of {', '.join(TEMPLATES)}")
        return TEMPLATES[name]
    if not name:
        raise InputError("there is no template: give one at least, such as 'a photo of a {}.'")
    for template in name:
        if not isinstance(template, str) or [template.count(part) for part in ("{}", "{", "}")] != [1, 1, 1]:
            raise InputError(f"the template {template!r} must be a text with one {{}} where the query goes")
    return tuple(name)
