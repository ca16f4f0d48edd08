"""The baseline of the API's cost: a FastAPI route that reads a request and writes it to Redis."""

import os
from typing import Final

import redis.asyncio
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
client: Final = redis.asyncio.Redis.from_url(os.environ["RUSHES_REDIS__URL"])


class VideoRequest(BaseModel):
    """A minimal video request."""

    prompt: str
    model: str
    seconds: str


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer that the process runs."""
    return {"status": "alive"}


@app.post("/write")
async def write(request: VideoRequest) -> VideoRequest:
    """Write once."""
    await client.set("bench:bare", request.prompt, ex=60)
    return request
