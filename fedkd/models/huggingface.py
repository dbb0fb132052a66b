"""Models of Hugging Face's transformers, from a configuration: with random weights, no download."""

from collections.abc import Collection
from inspect import signature
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError
from ..tasks.samples import PAD
from .padded import there
from .shapes import Shape, token_shape


def huggingface(
    shape: Shape,
    outputs: int,
    *,
    architecture: str = "bert",
    dim: int = 64,
    layers: int = 2,
    heads: int = 2,
    per_token: bool = False,
) -> nn.Module:
    """Read sequences with a small model of the transformers library (fedkd[text]).

    Parameters
    ----------
    shape : Tokens
        Shape of a text, and the vocabulary.
    outputs : int
        Numbers that it returns for a text: its logits.
    architecture : str
        The library's name of it: bert, distilbert, roberta, gpt2, llama, ...
    dim : int
        Numbers of a state.
    layers : int
        Layers.
    heads : int
        Heads of attention.
    per_token : bool
        Whether it is the architecture's causal language model, and no classifier.
    """
    length, vocabulary = token_shape("huggingface", shape)
    library = transformers()
    try:
        config = library.AutoConfig.for_model(architecture)
    except ValueError:
        problem = "transformers knows no such model type; try bert, distilbert or gpt2"
        raise ConfigError("model.architecture", architecture, problem) from None
    for name, value in {
        "vocab_size": vocabulary,
        "hidden_size": dim,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": dim // max(heads, 1),
        "intermediate_size": 4 * dim,
        "hidden_dim": 4 * dim,  # DistilBERT's word for it
        "max_position_embeddings": length + 2,  # RoBERTa counts places from 2
        "num_labels": outputs,
        "pad_token_id": PAD,
        "use_cache": False,
        "is_decoder": per_token,  # else BERT's kin look ahead
    }.items():
        setattr(config, name, value)
    kind = library.AutoModelForCausalLM if per_token else library.AutoModelForSequenceClassification
    try:
        made: nn.Module = kind.from_config(config)
    except ValueError:  # it has no such head
        problem = "cannot predict next tokens; try gpt2 or llama"
        raise ConfigError("model.architecture", architecture, problem) from None
    return made


def transformers() -> Any:
    """Import the library; `ConfigError` where it is missing."""
    try:
        import transformers
    except ImportError as error:
        problem = "needs transformers, which is not installed: pip install 'fedkd[text]'"
        raise ConfigError("model", "huggingface", problem) from error
    return transformers


class Logits(nn.Module):
    """A model that takes ``input_ids`` and returns an object with ``logits``, as others are.

    Parameters
    ----------
    model : nn.Module
        Gets ``attention_mask`` too, if it takes one.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.masked = "attention_mask" in _taken(model)

    def forward(self, x: Tensor) -> Tensor:
        """Token ids ``[batch, length]`` to logits ``[batch, outputs]``."""
        mask = {"attention_mask": there(x).long()} if self.masked else {}
        returned = self.model(input_ids=x, **mask)
        logits: Tensor = getattr(returned, "logits", returned)
        return logits


def adapted(model: nn.Module) -> nn.Module:
    """Return a model as fedkd calls it: one whose forward names ``input_ids`` is wrapped."""
    return Logits(model) if "input_ids" in _taken(model) else model


def _taken(model: nn.Module) -> Collection[str]:
    try:
        return signature(model.forward).parameters
    except (TypeError, ValueError):  # scripted modules have none
        return ()
