"""The sandbox's settings: address, time scale, behaviour."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class SandboxSettings(BaseSettings):
    """The settings, read from `RUSHES_SANDBOX__*` and overridden by the command line.

    Times marked "upstream time" are divided by `time_scale`: at 20, a minute passes in three seconds.
    """

    model_config = SettingsConfigDict(env_prefix="RUSHES_SANDBOX__", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8900, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    api_key: SecretStr = Field(SecretStr("sandbox-key"), min_length=1, description="The only key that is accepted.")
    time_scale: float = Field(1.0, gt=0, le=100_000, description="How many times faster upstream time runs.")
    seed: int = Field(1, description="Same seed, same ids, latencies and pictures.")
    latency_median_s: float = Field(
        105.0, ge=0, le=86_400, description="Median latency; half of the videos take longer (upstream time)."
    )
    latency_sigma: float = Field(0.35, ge=0, le=3, description="Sigma of the lognormal latency; 0 makes all equal.")
    latency_minimum_s: float = Field(30.0, ge=0, le=86_400, description="Minimum latency (upstream time).")
    url_life_s: float = Field(
        3600.0, gt=0, le=8_640_000, description="A video's URL answers 403 after this time (upstream time)."
    )
    log_delay_s: float = Field(
        5.0, ge=0, le=86_400, description="Delay until a row appears in /v2/logs (upstream time)."
    )
    log_after: Literal["completion", "acceptance"] = Field("completion", description="When the log's delay starts.")
    balance_usd: float = Field(1_000_000.0, ge=0, description="Balance of the account before the first purchase.")
    strict_paths: bool = Field(default=False, description="An id is found only on the path it was submitted on.")
    state_dir: Path | None = Field(
        None, description="Folder that keeps generations and clips over a restart; unset: memory only."
    )
    render: Literal["prompt", "shared"] = Field(
        "prompt", description="A video for each prompt, or one tiny clip per shape for benchmarks."
    )
    render_processes: int = Field(
        max(1, min(4, os.cpu_count() or 1)), ge=1, le=64, description="Clips rendered at once, at low priority."
    )
    clip_cache_bytes: int = Field(
        2_000_000_000, ge=100_000, description="Rendered clips kept on disk; beyond this the oldest are deleted."
    )
