"""The table of results."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "videos",
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
        sa.Column("cost_usd", sa.Numeric(12, 6, asdecimal=False)),
        sa.Column("charged", sa.Text, nullable=False),
        sa.Column("polls", sa.Integer, nullable=False),
        sa.Column("accepted_at", MOMENT, nullable=False),
        sa.Column("submitted_at", MOMENT),
        sa.Column("rendered_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("written_at", MOMENT, nullable=False, server_default=sa.func.now()),
    )
    op.create_index("videos_by_finished_at", "videos", ["finished_at"])
    op.create_index("videos_by_tenant", "videos", ["tenant", "finished_at"])


def downgrade() -> None:
    """Drop it, with everything in it."""
    op.drop_table("videos")
