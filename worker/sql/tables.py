"""The table of results as this version reads and writes it; the migrations create it."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

metadata: Final = sa.MetaData()

JSON: Final = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MONEY: Final = sa.Numeric(12, 6, asdecimal=False)
MOMENT: Final = sa.DateTime(timezone=True)

videos: Final = sa.Table(
    "videos",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("tenant", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("message", sa.Text),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("prompt", sa.Text),
    sa.Column("parameters", JSON, nullable=False),
    sa.Column("metadata", JSON, nullable=False),
    sa.Column("generation_id", sa.Text),
    sa.Column("video_url", sa.Text),
    sa.Column("archive_path", sa.Text),
    sa.Column("archive_url", sa.Text),
    sa.Column("size_bytes", sa.BigInteger),
    sa.Column("sha256", sa.Text),
    sa.Column("content_type", sa.Text),
    sa.Column("media", JSON),
    sa.Column("cost_usd", MONEY),
    sa.Column("charged", sa.Text, nullable=False),
    sa.Column("polls", sa.Integer, nullable=False),
    sa.Column("accepted_at", MOMENT, nullable=False),
    sa.Column("submitted_at", MOMENT),
    sa.Column("rendered_at", MOMENT),
    sa.Column("finished_at", MOMENT),
    sa.Column("written_at", MOMENT, nullable=False, server_default=sa.func.now()),
    sa.Column("account", sa.Text, nullable=False, server_default="default"),
    sa.Index("videos_by_finished_at", "finished_at"),
    sa.Index("videos_by_tenant", "tenant", "finished_at"),
)
"""One row for each ended job: its request, result, file and cost."""
