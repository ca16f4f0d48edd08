"""The upstream account that a job was bought with."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; rows of older workers get the default account."""
    op.add_column("videos", sa.Column("account", sa.Text, nullable=False, server_default="default"))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("videos", "account")
