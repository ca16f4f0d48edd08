"""The connection of a purchase, which knows whether the request may have been sent."""

from config.outbound import PunctualAdapter
from producer.client.proxies import Proxies


class ConnectionWitness(PunctualAdapter):
    """Sends one purchase over its own connection, never repeats it, and remembers whether it connected.

    If the server has just closed a pooled connection, its failure proves nothing about a POST; a fresh one either
    connects or provably sent nothing.
    """

    def __init__(self, *, reply_s: float, proxies: Proxies) -> None:
        self.connected = False
        super().__init__(connections=1, reply_s=reply_s, proxies=proxies)

    def _note_connected(self) -> None:
        self.connected = True
