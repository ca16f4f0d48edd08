"""What the API's cost is measured against: a FastAPI route that reads an order and writes it to Redis, and no more."""

import os
from typing import Final

import redis.asyncio
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
client: Final = redis.asyncio.Redis.from_url(os.environ["RUSHES_REDIS__URL"])


class Order(BaseModel):
    """As little of an order as there can be."""

    prompt: str
    model: str
    seconds: str


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Alive."""
    return {"status": "alive"}


@app.post("/write")
async def write(order: Order) -> Order:
    """One write."""
    await client.set("bench:bare", order.prompt, ex=60)
    return order
