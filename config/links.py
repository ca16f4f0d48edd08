"""The links to a job's files in the archive."""

from typing import assert_never

from config.settings import Settings
from config.store import Store
from jobs.artifacts import Artifact, path_of
from jobs.job import Job
from jobs.payloads import content_url


def links_of(job: Job, settings: Settings, store: Store) -> dict[str, str]:
    """Return the URLs of a job's files by artifact name; empty if the deployment gives no links.

    Anybody with a signed URL can fetch the file, so it may be in a reply, never in a log or an event.

    Raises:
        StoreError: the store has no credentials to sign with.
    """
    if job.stored is None or job.removed_at is not None:
        return {}
    found = {artifact: _link(job, artifact, settings, store) for artifact in (Artifact.VIDEO, *job.artifacts)}
    return {artifact.value: link for artifact, link in found.items() if link is not None}


def _link(job: Job, artifact: Artifact, settings: Settings, store: Store) -> str | None:
    assert job.stored is not None
    match settings.archive.links:
        case "none":
            return None
        case "signed":
            return store.signed_url(path_of(artifact, job.stored.path), life_s=settings.archive.link_life_s)
        case "api":
            variant = "" if artifact is Artifact.VIDEO else f"?variant={artifact.value}"
            return content_url(settings.api.public_url, job.id) + variant
        case unexpected:
            assert_never(unexpected)
