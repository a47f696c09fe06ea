"""Which nodes the stack, or a component of it, may run on: node pool, constraints and affinities, as Nomad has them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from obsctl.config.shapes import Clash, Misfit, PlainLine, Shape, Strict, Word

Operator = Literal[
    "=", "!=", ">", ">=", "<", "<=", "regexp", "version", "semver",
    "set_contains", "set_contains_all", "set_contains_any", "is_set", "is_not_set",
]  # fmt: skip
WITHOUT_VALUE = ("is_set", "is_not_set")
Attribute = Annotated[
    str,
    Shape(
        r"\$\{(node|attr|meta)\.[A-Za-z0-9_.-]+\}",
        'must be what Nomad knows of a node, like "${node.class}", "${attr.cpu.arch}" or "${meta.rack}"',
    ),
]


class Constraint(Strict):
    """What a node must have."""

    attribute: Attribute = Field(examples=["${node.class}"])
    """What of the node is looked at: `${node.class}`, `${attr.NAME}`, `${meta.NAME}`."""
    operator: Operator = "="
    """How it is compared, as in a job of Nomad."""
    value: PlainLine | None = Field(default=None, examples=["observability"])
    """What it is compared with; is_set and is_not_set have none."""

    @model_validator(mode="after")
    def _value_fits_operator(self) -> Constraint:
        if (self.value is None) != (self.operator in WITHOUT_VALUE):
            words = "is needed by this operator" if self.value is None else "is not for this operator"
            raise Clash(Misfit(("value",), words, ("operator",)))
        return self


def _counts(weight: int) -> int:
    if not weight:
        raise ValueError("must not be 0, which counts nothing")
    return weight


class Affinity(Constraint):
    """What a node had better have."""

    weight: Annotated[int, Field(strict=True, ge=-100, le=100), AfterValidator(_counts)] = 50
    """How much it counts: 100 is most; below 0 it is what a node had better not have."""


class Placement(Strict):
    """Which nodes are taken."""

    node_pool: Word | None = Field(default=None, examples=["observability"])
    """The node pool; default: Nomad's own, which is called default. A component's replaces that of the stack."""
    constraints: tuple[Constraint, ...] = ()
    """What a node must have. Those of a component come beside those of the stack."""
    affinities: tuple[Affinity, ...] = ()
    """What a node had better have. Those of a component come beside those of the stack."""

    def with_own(self, own: Placement) -> Placement:
        """That of a component in the stack that has this."""
        return Placement(
            node_pool=own.node_pool or self.node_pool,
            constraints=(*self.constraints, *own.constraints),
            affinities=(*self.affinities, *own.affinities),
        )
