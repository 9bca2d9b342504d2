"""A TCP relay that stands between a client and the broker and misbehaves on request."""

import contextlib
import socket
import struct
import threading


class Relay:
    """Forwards every connection made to `port` on loopback to the broker.

    `cut` resets both sides, as a dying machine or a pulled cable in front of a firewall would: neither
    side sees a connection.close. `mute` swallows what the client says from then on, so that the broker
    sees a peer that is connected but silent, while the client keeps hearing the broker.
    """

    def __init__(self, host, port):
        self._upstream = (host, port)
        self._muted = threading.Event()
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        self.cut()

    def mute(self):
        """Swallow whatever clients send from now on."""
        self._muted.set()

    def cut(self):
        """Reset every connection that goes through the relay. New ones are still accepted."""
        doomed, self._sockets = self._sockets, []
        for sock in doomed:
            with contextlib.suppress(OSError):
                # Lingering for zero seconds turns the close into a reset.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
            sock.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                broker = socket.create_connection(self._upstream)
            except OSError:
                return  # the listener was closed
            self._sockets += [client, broker]
            for source, sink in ((client, broker), (broker, client)):
                from_client = source is client
                threading.Thread(
                    target=self._pump, args=(source, sink, from_client), daemon=True
                ).start()

    def _pump(self, source, sink, from_client):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not (from_client and self._muted.is_set()):
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
