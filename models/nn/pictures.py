"""Pictures: a small convolutional network that lays pictures close to each other when the same people take what they show.

It learns by telling, in a batch of pairs, which pictures belong to the same person (InfoNCE), each item less the log of how often
it comes up (Yi et al., RecSys 2019). Co-purchase rather than categories, since what is on which shelf the shop knows already,
and rather than two views of one picture, which teaches what a thing is and not who likes it. Broken or missing files leave an
item without a vector; they are counted. Shapes: J items at the fit, C later ones, M with a picture, B pairs, S size, D width.
"""

import logging
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from counterfoil.errors import ConfigError, IntegrityError
from models.data import Content, Interactions, TrainingSet
from models.families.content import ByVectors, fit_by, load_by, require
from models.families.pictures import PicturesConfig
from models.nn.adam import Adam
from models.nn.threads import one_thread

log = logging.getLogger(__name__)
AT_ONCE = 512
UNREADABLE = (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError)


@dataclass(frozen=True, kw_only=True)
class Album:
    """Pictures that could be read: `item_M` says whose, ascending; `pixel_M3SS` is uint8. `broken` items named one in vain."""

    item_M: np.ndarray
    pixel_M3SS: np.ndarray
    broken: int


class Network(nn.Module):
    """Convolutions that halve the picture until little is left, their mean over what is left, and a projection."""

    def __init__(self, config: PicturesConfig) -> None:
        super().__init__()
        channels = [3, config.channels, 2 * config.channels, 4 * config.channels]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(below, above, 3, stride=2, padding=1) for below, above in pairwise(channels)
        )
        # over all channels of one picture: unlike over a batch, an answer does not depend on who else asks
        self.norms = nn.ModuleList(nn.GroupNorm(1, above) for above in channels[1:])
        self.projection = nn.Linear(2 * channels[-1], config.width)

    def forward(self, pixel_B3SS: Tensor) -> Tensor:
        """Return vectors of length one, [B, D], of pixels in [0, 1]."""
        x_BCSS = 2.0 * pixel_B3SS - 1.0
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x_BCSS = F.gelu(norm(convolution(x_BCSS)))
        pooled_BC = torch.cat([x_BCSS.mean((2, 3)), x_BCSS.amax((2, 3))], dim=1)
        return F.normalize(self.projection(pooled_BC), dim=1)


class PictureEncoder:
    """The network, asked about the pictures of new items."""

    def __init__(self, config: PicturesConfig, network: Network) -> None:
        self.config = config
        self.network = network.eval()

    def encode(self, content: Content, item_C: np.ndarray) -> np.ndarray:
        """Return vectors of these items, float32 [C, D]; zeros for items without a picture that can be read."""
        return self.vectors(album(content, item_C, self.config), len(item_C))

    def vectors(self, seen: Album, items: int) -> np.ndarray:
        """Return vectors of the items of an album, zeros for the others, float32 [items, D]."""
        out = np.zeros((items, self.config.width), np.float32)
        with one_thread(), torch.inference_mode():
            for start in range(0, len(seen.item_M), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                out[seen.item_M[part]] = self.network(_floats(seen.pixel_M3SS[part])).numpy()
        return out

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors`."""
        weights = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")


def album(content: Content, item_C: np.ndarray, config: PicturesConfig) -> Album:
    """Read the pictures of these items; `item_M` counts within `item_C`."""
    found, pixels, broken = [], [], 0
    for number, item in enumerate(item_C.tolist()):
        if not content.image_I[item]:
            continue
        pixel_3SS = _read(Path(config.folder) / content.image_I[item], config.size)
        if pixel_3SS is None:
            broken += 1
        else:
            found.append(number)
            pixels.append(pixel_3SS)
    shape = (0, 3, config.size, config.size)
    return Album(
        item_M=np.array(found, np.int64),
        pixel_M3SS=np.stack(pixels) if pixels else np.zeros(shape, np.uint8),
        broken=broken,
    )


def fit(config: PicturesConfig, training: TrainingSet, seed: int) -> ByVectors:
    """Read the pictures and learn from who took which of them together.

    ConfigError when there is none that can be read, more than may be, or nobody who took two items with one.
    """
    instead = "a family that goes by who took what"
    content = require(training, "pictures", lambda said: any(said.image_I), "images", instead)
    named = sum(map(bool, content.image_I))
    if named > config.most_pictures:
        raise ConfigError(
            f"pictures would read {named:,} and may read {config.most_pictures:,}; raise most_pictures where there is memory"
        )
    seen = album(content, np.arange(len(content)), config)
    if seen.broken:
        log.warning("%d of %d pictures cannot be read; their items get no vector", seen.broken, named)
    if not len(seen.item_M):
        raise ConfigError(
            f"none of {named:,} pictures can be read (the first is {next(filter(None, content.image_I))!r});"
            f" set the folder that they lie in, or take {instead}"
        )
    with one_thread():
        encoder = PictureEncoder(config, trained(config, seen, training.interactions, seed))

        def learn(known: TrainingSet) -> np.ndarray:
            if known is training:
                return encoder.vectors(seen, len(content))
            blind = PictureEncoder(config, trained(config, seen, known.interactions, seed))
            return blind.vectors(seen, len(content))

        return fit_by(config, training, learn, encoder, from_content=False)


def trained(config: PicturesConfig, seen: Album, interactions: Interactions, seed: int) -> Network:
    """Take the steps, with a rate that falls to zero along a cosine; ConfigError when there is no pair to learn from."""
    random = np.random.default_rng(seed)
    network = _network(config, seed)
    pairs = Pairs(interactions, seen.item_M)
    optimiser = Adam(network.parameters(), config.rate, betas=(0.9, 0.999), decay=0.01)
    for step in range(config.steps):
        one_B, other_B = pairs.draw(config.batch, random)
        picture_2B = np.concatenate([one_B, other_B])
        pixel_2B3SS = _varied(_floats(seen.pixel_M3SS[picture_2B]), random)
        one_BD, other_BD = network(pixel_2B3SS).chunk(2)
        loss = contrast(one_BD, other_BD, picture_2B, pairs.share_M, config.temperature)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step(0.5 * (1 + np.cos(np.pi * step / config.steps)))
    return network


class Pairs:
    """Pictures that one person took, two by two. `share_M` is how often each comes up."""

    def __init__(self, interactions: Interactions, item_M: np.ndarray) -> None:
        picture_I = np.full(interactions.items, -1, np.int64)
        picture_I[item_M] = np.arange(len(item_M))
        picture_N = picture_I[interactions.item_N]
        taken = np.unique(
            np.stack([interactions.person_N[picture_N >= 0], picture_N[picture_N >= 0]]), axis=1
        )
        person_N, self.picture_N = taken
        count_P = np.bincount(person_N, minlength=interactions.people)
        stop_P = np.cumsum(count_P)
        several = count_P[person_N] > 1
        self.at_Q = np.flatnonzero(several)  # entries of people who took two or more
        if not len(self.at_Q):
            raise ConfigError(
                "nobody took two items with pictures, so nothing tells which go together; bring more history or pictures"
            )
        self.start_N, self.count_N = (stop_P - count_P)[person_N], count_P[person_N]
        drawn_M = np.bincount(self.picture_N[self.at_Q], minlength=len(item_M))
        self.share_M = (drawn_M / drawn_M.sum()).astype(np.float32)

    def draw(self, size: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return `size` pictures, and for each another one of the same person, int64 [B]."""
        at_B = random.choice(self.at_Q, size)
        step_B = random.integers(1, self.count_N[at_B])
        start_B = self.start_N[at_B]
        other_B = start_B + (at_B - start_B + step_B) % self.count_N[at_B]
        return self.picture_N[at_B], self.picture_N[other_B]


def contrast(
    one_BD: Tensor, other_BD: Tensor, picture_2B: np.ndarray, share_M: np.ndarray, temperature: float
) -> Tensor:
    """Return the mean loss of telling each one's other among all others of the batch, and the other way round.

    The same picture as the right one is no wrong one, and is left out.
    """
    one_B, other_B = torch.from_numpy(picture_2B).chunk(2)
    log_share_M = torch.from_numpy(np.log(np.maximum(share_M, 1e-12)))
    near_BB = one_BD @ other_BD.T / temperature
    right_B = torch.arange(len(near_BB))
    loss = near_BB.new_zeros(())
    for x_BB, picture_B in ((near_BB, other_B), (near_BB.T, one_B)):
        same_BB = (picture_B[:, None] == picture_B) & ~torch.eye(len(picture_B), dtype=torch.bool)
        logit_BB = (x_BB - log_share_M[picture_B]).masked_fill(same_BB, -torch.inf)
        loss = loss + 0.5 * F.cross_entropy(logit_BB, right_B)
    return loss


def load(folder: Path) -> ByVectors:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config, vector_JD, buyers_J = load_by(folder, PicturesConfig, sparse=False)
    network = Network(config)
    try:
        network.load_state_dict(load_file(folder / "weights.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise IntegrityError(
            f"weights.safetensors cannot be read ({error}); restore the artefact by its digest"
        ) from error
    return ByVectors(config, vector_JD, buyers_J, PictureEncoder(config, network))


def _read(path: Path, size: int) -> np.ndarray | None:
    """Return a picture's pixels, uint8 [3, S, S]; None when there is no such file or it is no picture."""
    if not path.is_file():  # neither addresses nor pipes, which would be waited for
        return None
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (size, size))  # JPEGs are decoded no larger than needed
            pixel_SS3 = np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    except UNREADABLE:
        return None
    return np.ascontiguousarray(pixel_SS3.transpose(2, 0, 1))


def _floats(pixel_B3SS: np.ndarray) -> Tensor:
    return torch.from_numpy(pixel_B3SS).float() / 255.0


def _varied(pixel_B3SS: Tensor, random: np.random.Generator) -> Tensor:
    """Mirror half of the pictures and shift all a little, so that the network cannot learn them by heart."""
    size = pixel_B3SS.shape[-1]
    mirrored_B = torch.from_numpy(random.random(len(pixel_B3SS)) < 0.5)
    x_B3SS = torch.where(mirrored_B[:, None, None, None], pixel_B3SS.flip(3), pixel_B3SS)
    most = max(1, size // 8)
    down, right = random.integers(0, 2 * most + 1, 2).tolist()
    padded = F.pad(x_B3SS, (most, most, most, most), mode="replicate")
    return padded[:, :, down : down + size, right : right + size]


def _network(config: PicturesConfig, seed: int) -> Network:
    """Return a network whose weights are drawn by the seed alone (He et al. 2015)."""
    network = Network(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, float(np.sqrt(2.0 / weight[0].numel())), generator=generator)
            elif name.endswith("bias"):
                weight.zero_()
    return network
