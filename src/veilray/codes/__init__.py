"""Kept codes: public functions of a picture to a few numbers, fitted on public images, shipped with every release."""

from veilray.codes.base import CODE_FILE, KEPT_CODES, KeptCode, card_of_code, load_code, save_code
from veilray.codes.choice import Choice, choose_keep, pseudo_tasks
from veilray.codes.content import CONTENTS, ContentCode
from veilray.codes.gram import decoder_gram, gram_diagonal
from veilray.codes.invariant import Invariant
from veilray.codes.latent import GramCode, LatentCode, LevelsCode
from veilray.codes.pixels import Pixels
from veilray.codes.reference import Reference
from veilray.codes.vae import VaeMean

__all__ = [
    "CODE_FILE",
    "CONTENTS",
    "KEPT_CODES",
    "Choice",
    "ContentCode",
    "GramCode",
    "Invariant",
    "KeptCode",
    "LatentCode",
    "LevelsCode",
    "Pixels",
    "Reference",
    "VaeMean",
    "card_of_code",
    "choose_keep",
    "decoder_gram",
    "gram_diagonal",
    "load_code",
    "pseudo_tasks",
    "save_code",
]
